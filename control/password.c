/* SPDX-License-Identifier: Apache-2.0 */
#include "password.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stringprep.h>

static bool is_printable_ascii(struct gw_bytes s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    return true;
}

int password_prepare(struct gw_bytes in, struct password *out, const char **err)
{
    *err = "the password is longer than 1024 bytes";
    if (in.len > PASSWORD_BYTES_MAX)
        return -EINVAL;
    *err = "the password holds characters that SASLprep (RFC 4013) forbids";
    if (in.len > 0 && memchr(in.p, '\0', in.len) != NULL)
        return -EINVAL;
    memcpy(out->text, in.p, in.len);
    out->text[in.len] = '\0';
    if (!is_printable_ascii(in) &&
        stringprep(out->text, sizeof(out->text), STRINGPREP_NO_UNASSIGNED, stringprep_saslprep) != 0) {
        password_wipe(out);
        return -EINVAL;
    }
    *err = "the password is empty";
    out->len = strlen(out->text);
    if (out->len == 0)
        return -EINVAL;
    *err = NULL;
    return 0;
}

void password_wipe(struct password *p)
{
    OPENSSL_cleanse(p, sizeof(*p));
}
