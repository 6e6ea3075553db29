/* SPDX-License-Identifier: Apache-2.0 */
/* One line of a file of accounts; see user.import in schema.c for the format. */
#ifndef GW_CONTROL_IMPORT_LINE_H
#define GW_CONTROL_IMPORT_LINE_H

#include "../dataplane/xmpp/jid.h"
#include "../storage/account.h"
#include "config.h"
#include "password.h"

#define IMPORT_LINE_BYTES_MAX 8192

struct import_line {
    struct gw_jid_text jid;
    bool has_password;
    struct password password;
    struct gw_scram_keys scram[GW_SCRAM_HASH_COUNT]; /* when it has none */
};

/* text is without its line end. 1 and *out, 0 for a comment or an empty line, -EINVAL and what is
 * wrong in err. */
int import_line_parse(struct gw_bytes text, const struct gw_config *config, struct import_line *out,
                      char err[160]);

#endif
