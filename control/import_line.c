/* SPDX-License-Identifier: Apache-2.0 */
#include "import_line.h"

#include <errno.h>
#include <stdio.h>

#define PASSWORD_MARK "password:"

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct gw_bytes *s)
{
    while (s->len > 0 && is_blank(s->p[0]))
        *s = gw_bytes(s->p + 1, s->len - 1);
}

static struct gw_bytes take_word(struct gw_bytes *s)
{
    size_t len = 0;
    while (len < s->len && !is_blank(s->p[len]))
        len++;
    struct gw_bytes word = gw_bytes(s->p, len);
    *s = gw_bytes(s->p + len, s->len - len);
    return word;
}

static int parse_keys(struct gw_bytes text, struct import_line *out, char err[160])
{
    memset(out->scram, 0, sizeof(out->scram));
    for (unsigned n = 1; text.len > 0; n++) {
        struct gw_scram_keys keys;
        enum gw_scram_hash hash;
        const char *why;
        struct gw_bytes word = take_word(&text);
        skip_blanks(&text);
        if (gw_scram_keys_parse(word, &hash, &keys, &why) != 0) {
            snprintf(err, 160, "key %u %s", n, why);
            return -EINVAL;
        }
        if (out->scram[hash].iterations != 0) {
            snprintf(err, 160, "key %u is a second one for SCRAM-%s", n, gw_scram_hash_name(hash));
            return -EINVAL;
        }
        out->scram[hash] = keys;
    }
    return 1;
}

static int parse_password(struct gw_bytes text, struct import_line *out, char err[160])
{
    const char *why;
    out->has_password = true;
    if (password_prepare(text, &out->password, &why) == 0)
        return 1;
    snprintf(err, 160, "%s", why);
    return -EINVAL;
}

int import_line_parse(struct gw_bytes text, const struct gw_config *config,
                      struct import_line *out, char err[160])
{
    size_t mark = sizeof(PASSWORD_MARK) - 1;
    skip_blanks(&text);
    if (text.len == 0 || text.p[0] == '#')
        return 0;
    struct gw_bytes account = take_word(&text);
    skip_blanks(&text);
    out->has_password = false;
    if (gw_jid_prep_bare(account, config->domain, &out->jid) != 0) {
        snprintf(err, 160, "the account is not an address, nor the part before the @");
        return -EINVAL;
    }
    if (!gw_config_serves(config, gw_jid_domain(&out->jid))) {
        snprintf(err, 160, "the account is of another domain than %.100s", config->domain);
        return -EINVAL;
    }
    if (text.len == 0) {
        snprintf(err, 160, "neither keys nor a password follow the account");
        return -EINVAL;
    }
    if (text.len >= mark && memcmp(text.p, PASSWORD_MARK, mark) == 0)
        return parse_password(gw_bytes(text.p + mark, text.len - mark), out, err);
    return parse_keys(text, out, err);
}
