#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The shared object shows the calls of its header and nothing else, and needs the C library alone
# (under a sanitizer also that).
set -eu
header=$(dirname "$0")/../../include/godwit_tcp.h
fail() {
    echo "$1"
    exit 1
}

shown=$(nm -D --defined-only "$1" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort)
promised=$(grep -oE '\bgw_stack_[a-z0-9_]+\(' "$header" | tr -d '(' | sort -u)
[ "$shown" = "$promised" ] || fail "shown:
$shown
promised:
$promised"
# grep says 1 when it leaves nothing, which is what is wanted.
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so|libasan|libubsan|libtsan)' || true)
[ -z "$needed" ] || fail "needs: $needed"
