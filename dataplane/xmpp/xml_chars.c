/* SPDX-License-Identifier: Apache-2.0 */
#include "xml_chars.h"

#include <strings.h>

#include "xml_scan.h"

/* What the second byte may be after each first byte: RFC 3629 section 4. */
static int utf8_shape(uint8_t first, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef) {
        if (first == 0xe0)
            *low = 0xa0;
        if (first == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (first == 0xf0)
            *low = 0x90;
        if (first == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return -1;
}

int gw_utf8_take(const uint8_t *p, size_t len, uint32_t *code)
{
    if (len == 0)
        return 0;
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    uint8_t low, high;
    int n = utf8_shape(p[0], &low, &high);
    if (n < 0)
        return -1;
    uint32_t v = p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((size_t)i == len)
            return 0;
        if (p[i] < low || p[i] > high)
            return -1;
        v = v << 6 | (p[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *code = v;
    return n;
}

int gw_utf8_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

bool gw_xml_is_char(uint32_t c)
{
    return c == 0x9 || c == 0xa || c == 0xd || (c >= 0x20 && c <= 0xd7ff) ||
           (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff);
}

struct range {
    uint32_t first, last;
};

static bool in_ranges(const struct range *r, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i].first && c <= r[i].last)
            return true;
    return false;
}

bool gw_xml_is_name_start(uint32_t c)
{
    static const struct range wide[] = {
        {0xc0, 0xd6},     {0xd8, 0xf6},     {0xf8, 0x2ff},    {0x370, 0x37d},
        {0x37f, 0x1fff},  {0x200c, 0x200d}, {0x2070, 0x218f}, {0x2c00, 0x2fef},
        {0x3001, 0xd7ff}, {0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff},
    };
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return in_ranges(wide, sizeof(wide) / sizeof(wide[0]), c);
}

bool gw_xml_is_name(uint32_t c)
{
    if (gw_xml_is_name_start(c))
        return true;
    if (c < 0x80)
        return (c >= '0' && c <= '9') || c == '-' || c == '.';
    return c == 0xb7 || (c >= 0x300 && c <= 0x36f) || (c >= 0x203f && c <= 0x2040);
}

/* ---- references ---- */

static uint32_t digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10u : UINT32_MAX;
}

/* Behind "&#": digits up to ';'. */
static int char_reference(const uint8_t *p, size_t len, uint32_t *code)
{
    size_t i = 2;
    uint32_t base = 10, v = 0;
    if (i < len && p[i] == 'x') {
        base = 16;
        i++;
    }
    size_t digits = i;
    for (; i < len && p[i] != ';'; i++) {
        uint32_t d = digit(p[i]);
        if (d >= base)
            return -1;
        v = v * base + d;
        if (v > 0x10ffff)
            return -1;
    }
    if (i == len)
        return i > 64 ? -1 : 0; /* endless leading zeros */
    if (i == digits || !gw_xml_is_char(v))
        return -1;
    *code = v;
    return (int)i + 1;
}

int gw_xml_reference(const uint8_t *p, size_t len, uint32_t *code)
{
    static const struct {
        const char *text;
        uint8_t len;
        char c;
    } known[] = {{"&lt;", 4, '<'}, {"&gt;", 4, '>'}, {"&amp;", 5, '&'}, {"&apos;", 6, '\''},
                 {"&quot;", 6, '"'}};
    if (len >= 2 && p[1] == '#')
        return char_reference(p, len, code);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = len < known[i].len ? len : known[i].len;
        if (memcmp(p, known[i].text, n) != 0)
            continue;
        if (n < known[i].len)
            return 0;
        *code = (uint8_t)known[i].c;
        return known[i].len;
    }
    return len >= 2 && gw_xml_is_name_start(p[1]) ? GW_XML_REFERENCE_UNKNOWN : -1;
}

/* White space that is written as itself: a line end becomes \n, in attributes any becomes a space. Returns
 * how many bytes it is. */
static size_t normalise_space(struct gw_bytes raw, bool attribute, char *c)
{
    bool crlf = raw.p[0] == '\r' && raw.len > 1 && raw.p[1] == '\n';
    *c = attribute ? ' ' : '\n';
    return crlf ? 2 : 1;
}

/* Bytes at the front of raw that stand for themselves. */
static size_t plain_run(struct gw_bytes raw, bool attribute, bool cdata)
{
    const __m128i text = _mm_setr_epi8('&', '<', '\r', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i value = _mm_setr_epi8('&', '\r', '\n', '\t', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i section = _mm_setr_epi8(']', '\r', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const struct gw_xml_input in = {raw.p, raw.p + raw.len};
    const uint8_t *stop = attribute ? gw_xml_find_any(&in, raw.p, value, 4)
                          : cdata   ? gw_xml_find_any(&in, raw.p, section, 2)
                                    : gw_xml_find_any(&in, raw.p, text, 3);
    return (size_t)(stop - raw.p);
}

/* What begins with a byte that may not stand for itself. Returns how many are read; 0: not well-formed. */
static size_t unescape_one(struct gw_bytes raw, bool attribute, bool *cdata, char put[4], int *put_len)
{
    uint32_t code;
    *put_len = 1;
    if (!*cdata && raw.p[0] == '&') {
        int used = gw_xml_reference(raw.p, raw.len, &code);
        if (used <= 0)
            return 0;
        *put_len = gw_utf8_put(code, put);
        return (size_t)used;
    }
    if (!*cdata && raw.p[0] == '<') {
        *put_len = 0;
        *cdata = raw.len >= 9 && memcmp(raw.p, "<![CDATA[", 9) == 0;
        return *cdata ? 9 : 0;
    }
    if (*cdata && raw.len >= 3 && memcmp(raw.p, "]]>", 3) == 0) {
        *put_len = 0;
        *cdata = false;
        return 3;
    }
    if (raw.p[0] == ']') {
        put[0] = ']';
        return 1;
    }
    return normalise_space(raw, attribute, put);
}

int gw_xml_unescape(struct gw_bytes raw, bool attribute, char *out, size_t cap)
{
    size_t n = 0;
    bool cdata = false;
    while (raw.len > 0) {
        char put[4];
        int put_len;
        size_t run = plain_run(raw, attribute, cdata);
        if (cap - n < run)
            return -1;
        memcpy(out + n, raw.p, run);
        n += run;
        raw = gw_bytes(raw.p + run, raw.len - run);
        if (raw.len == 0)
            break;
        size_t used = unescape_one(raw, attribute, &cdata, put, &put_len);
        if (used == 0 || cap - n < (size_t)put_len)
            return -1;
        memcpy(out + n, put, (size_t)put_len);
        n += (size_t)put_len;
        raw = gw_bytes(raw.p + used, raw.len - used);
    }
    return (int)n;
}

static struct gw_bytes escaped(const uint8_t *c)
{
    switch (*c) {
    case '<':
        return GW_LIT("&lt;");
    case '>':
        return GW_LIT("&gt;");
    case '&':
        return GW_LIT("&amp;");
    case '\'':
        return GW_LIT("&apos;");
    default:
        return GW_LIT("&quot;");
    }
}

size_t gw_xml_escape(struct gw_bytes in, char *out, size_t cap)
{
    const __m128i special = _mm_setr_epi8('<', '>', '&', '\'', '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const struct gw_xml_input all = {in.p, in.p + in.len};
    struct gw_text t = gw_text(out, cap);
    const uint8_t *p = in.p;
    while (p < all.end) {
        const uint8_t *stop = gw_xml_find_any(&all, p, special, 5);
        gw_text_put(&t, gw_bytes(p, (size_t)(stop - p)));
        if (stop == all.end)
            break;
        gw_text_put(&t, escaped(stop));
        p = stop + 1;
    }
    return t.full ? 0 : t.len;
}

void gw_text_escaped(struct gw_text *t, struct gw_bytes in)
{
    if (t->full || in.len == 0)
        return;
    size_t n = gw_xml_escape(in, t->p + t->len, t->cap - t->len);
    t->full = n == 0;
    t->len += n;
}

void gw_text_attr(struct gw_text *t, const char *opening, struct gw_bytes value)
{
    if (value.len == 0)
        return;
    gw_text_str(t, opening);
    gw_text_escaped(t, value);
    gw_text_put(t, GW_LIT("'"));
}

/* A raw value never holds the quote it was written in. */
void gw_text_raw_attr(struct gw_text *t, const struct gw_xml_attr *a)
{
    struct gw_bytes quote = a->value.len && memchr(a->value.p, '\'', a->value.len) ? GW_LIT("\"")
                                                                                   : GW_LIT("'");
    gw_text_put(t, GW_LIT(" "));
    if (a->prefix.len) {
        gw_text_put(t, a->prefix);
        gw_text_put(t, GW_LIT(":"));
    }
    gw_text_put(t, a->name);
    gw_text_put(t, GW_LIT("="));
    gw_text_put(t, quote);
    gw_text_put(t, a->value);
    gw_text_put(t, quote);
}

/* ---- the XML declaration ---- */

/* The quoted value behind `name =` in d, or an empty view. */
static struct gw_bytes pseudo_attr(struct gw_bytes d, const char *name)
{
    const uint8_t *at = memmem(d.p, d.len, name, strlen(name));
    if (at == NULL)
        return gw_bytes(NULL, 0);
    const uint8_t *end = d.p + d.len, *p = at + strlen(name);
    while (p < end && (*p == ' ' || *p == '='))
        p++;
    if (p == end || (*p != '\'' && *p != '"'))
        return gw_bytes(NULL, 0);
    const uint8_t *stop = memchr(p + 1, *p, (size_t)(end - p - 1));
    return stop ? gw_bytes(p + 1, (size_t)(stop - p - 1)) : gw_bytes(NULL, 0);
}

bool gw_xml_declaration_ok(struct gw_bytes d, enum gw_xml_error *error)
{
    struct gw_bytes version = pseudo_attr(d, "version");
    struct gw_bytes encoding = pseudo_attr(d, "encoding");
    *error = GW_XML_NOT_WELL_FORMED;
    if (d.len < 2 || d.p[d.len - 1] != '?' || !gw_bytes_eq(version, GW_LIT("1.0")))
        return false;
    for (size_t i = 1; i < d.len; i++)
        if (d.p[i] >= 0x80 || d.p[i] == '<')
            return false;
    *error = GW_XML_ENCODING;
    if (encoding.len != 0 &&
        !(encoding.len == 5 && strncasecmp((const char *)encoding.p, "utf-8", 5) == 0))
        return false;
    *error = GW_XML_OK;
    return true;
}
