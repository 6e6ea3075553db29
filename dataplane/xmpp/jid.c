/* SPDX-License-Identifier: Apache-2.0 */
#include "jid.h"

#include <errno.h>

#include <stringprep.h>

static size_t find(struct gw_bytes b, char c)
{
    const uint8_t *at = b.len ? memchr(b.p, c, b.len) : NULL;
    return at ? (size_t)(at - b.p) : b.len;
}

int gw_jid_split(struct gw_bytes text, struct gw_jid *out)
{
    size_t slash = find(text, '/');
    struct gw_bytes bare = gw_bytes(text.p, slash);
    size_t at = find(bare, '@');

    *out = (struct gw_jid){.domain = bare};
    if (slash < text.len) {
        out->resource = gw_bytes(text.p + slash + 1, text.len - slash - 1);
        if (out->resource.len == 0)
            return -EINVAL;
    }
    if (at < bare.len) {
        out->local = gw_bytes(bare.p, at);
        out->domain = gw_bytes(bare.p + at + 1, bare.len - at - 1);
        if (out->local.len == 0)
            return -EINVAL;
    }
    if (out->domain.len == 0)
        return -EINVAL;
    if (out->local.len > GW_JID_PART_BYTES_MAX || out->domain.len > GW_JID_PART_BYTES_MAX ||
        out->resource.len > GW_JID_PART_BYTES_MAX)
        return -EINVAL;
    return 0;
}

/* ---- the three profiles ---- */

/* What a profile does with ASCII: a bit for each character that it allows, and whether capitals become
 * small letters. */
struct ascii {
    uint64_t allowed[2];
    bool lower;
};

#define BIT(c)          (UINT64_C(1) << ((c) & 63))
#define BITS(from, to)  ((BIT(to) - BIT(from)) | BIT(to))

/* RFC 6122 appendix A.5 excludes these from localparts, besides space and controls. */
static const struct ascii local_ascii = {
    {BITS('!', '?') & ~(BIT('"') | BIT('&') | BIT('\'') | BIT('/') | BIT(':') | BIT('<') | BIT('>')),
     BITS('A', '~')},
    true,
};

/* Host names, and IP addresses as RFC 6122 section 2.2 allows them. */
static const struct ascii domain_ascii = {
    {BITS('0', '9') | BIT('-') | BIT('.') | BIT(':'),
     BITS('a', 'z') | BITS('A', 'Z') | BIT('_') | BIT('[') | BIT(']')},
    true,
};

static const struct ascii resource_ascii = {{BITS(' ', '?'), BITS('@', '~')}, false};

/* The character to write, or 0 to refuse. */
static inline char map(const struct ascii *a, uint8_t c)
{
    if ((a->allowed[c >> 6] & BIT(c)) == 0)
        return 0;
    return (char)(a->lower && c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Prepare one part into out (GW_JID_PART_BYTES_MAX + 1 bytes). Returns its length or -EINVAL. */
static int prep_part(struct gw_bytes in, char *out, const struct ascii *ascii,
                     const Stringprep_profile *profile)
{
    if (in.len == 0 || in.len > GW_JID_PART_BYTES_MAX)
        return -EINVAL;
    bool wide = false;
    for (size_t i = 0; i < in.len; i++) {
        if (in.p[i] & 0x80) {
            wide = true;
            out[i] = (char)in.p[i];
        } else if ((out[i] = map(ascii, in.p[i])) == 0) {
            return -EINVAL;
        }
    }
    out[in.len] = '\0';
    if (!wide)
        return (int)in.len;
    if (stringprep(out, GW_JID_PART_BYTES_MAX + 1, 0, profile) != STRINGPREP_OK)
        return -EINVAL;
    /* Preparation may turn a wide character into an ASCII one that the profile excludes. */
    size_t len = strlen(out);
    for (size_t i = 0; i < len; i++)
        if (!(out[i] & 0x80) && map(ascii, (uint8_t)out[i]) == 0)
            return -EINVAL;
    return len == 0 ? -EINVAL : (int)len;
}

int gw_jid_prep_resource(struct gw_bytes text, char *out)
{
    return prep_part(text, out, &resource_ascii, stringprep_xmpp_resourceprep);
}

int gw_jid_prep_local(struct gw_bytes text, char *out)
{
    return prep_part(text, out, &local_ascii, stringprep_xmpp_nodeprep);
}

int gw_jid_prep(struct gw_bytes text, struct gw_jid_text *out)
{
    struct gw_jid j;
    if (gw_jid_split(text, &j) != 0)
        return -EINVAL;
    out->local_len = out->resource_len = 0;
    char *w = out->text;
    int n;
    if (j.local.len) {
        if ((n = gw_jid_prep_local(j.local, w)) < 0)
            return -EINVAL;
        out->local_len = (uint16_t)n;
        w += n;
        *w++ = '@';
    }
    /* A trailing dot is not part of the domain: RFC 6122 section 2.2. */
    if (j.domain.len > 1 && j.domain.p[j.domain.len - 1] == '.')
        j.domain.len--;
    if ((n = prep_part(j.domain, w, &domain_ascii, stringprep_nameprep)) < 0)
        return -EINVAL;
    out->domain_len = (uint16_t)n;
    w += n;
    out->bare_len = (uint16_t)(w - out->text);
    if (j.resource.len) {
        *w++ = '/';
        if ((n = gw_jid_prep_resource(j.resource, w)) < 0)
            return -EINVAL;
        out->resource_len = (uint16_t)n;
        w += n;
    }
    *w = '\0';
    out->len = (uint16_t)(w - out->text);
    return 0;
}

int gw_jid_prep_bare(struct gw_bytes text, const char *domain, struct gw_jid_text *out)
{
    if (find(text, '@') < text.len)
        return gw_jid_prep(text, out) == 0 && out->resource_len == 0 ? 0 : -EINVAL;
    char joined[GW_JID_BYTES_MAX + 1];
    size_t domain_len = strlen(domain);
    if (text.len == 0 || text.len > GW_JID_PART_BYTES_MAX || domain_len > GW_JID_PART_BYTES_MAX)
        return -EINVAL;
    memcpy(joined, text.p, text.len);
    joined[text.len] = '@';
    memcpy(joined + text.len + 1, domain, domain_len);
    size_t len = text.len + 1 + domain_len;
    return gw_jid_prep(gw_bytes(joined, len), out) == 0 && out->resource_len == 0 ? 0 : -EINVAL;
}
