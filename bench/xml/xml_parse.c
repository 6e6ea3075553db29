/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream parser beside expat: the same chat traffic, in the same pieces, in one run, taking turns.
 *
 * Both do the same for each stanza: names are resolved to namespace and local part, text and attribute
 * values are collected unescaped, and elements, attributes and bytes are summed up. The sums must be equal.
 *
 *   xml_parse [ROUNDS [ours|expat]]    the last word: one of them alone, for callgrind
 */
#include <string.h>

#include "../measure.h"
#include "../../dataplane/xmpp/xml.h"
#include "expat_stream.h"
#include "traffic.h"

#define STANZAS       4000u
#define BYTES_MAX     (STANZAS * 1024u)
#define SEGMENT_BYTES 1448u /* of TCP over Ethernet, with timestamps */
#define ROUNDS        15
#define REPEATS       4 /* of the traffic, in one round */

static char traffic[BYTES_MAX + TRAFFIC_STANZA_BYTES_MAX];
static size_t traffic_len, stanza_ends[STANZAS];

/* What both must find. */
struct sums {
    uint64_t stanzas, elements, attributes, name_bytes, ns_bytes, value_bytes, text_bytes;
};

static char collected[256 * 1024];

/* ---- expat ---- */

struct expat_run {
    struct sums sums;
    unsigned depth;
    size_t text_len;
};

static void add_name(struct sums *s, const char *name)
{
    const char *at = strchr(name, EXPAT_SEPARATOR);
    s->ns_bytes += at != NULL ? (uint64_t)(at - name) : 0;
    s->name_bytes += strlen(at != NULL ? at + 1 : name);
}

static void on_start(void *ctx, const char *name, const char **attrs)
{
    struct expat_run *r = ctx;
    if (r->depth++ == 0)
        return;
    if (r->depth == 2)
        r->text_len = 0;
    r->sums.elements++;
    add_name(&r->sums, name);
    for (; attrs[0] != NULL; attrs += 2) {
        size_t len = strlen(attrs[1]);
        add_name(&r->sums, attrs[0]);
        check(r->text_len + len <= sizeof(collected));
        memcpy(collected + r->text_len, attrs[1], len);
        r->text_len += len;
        r->sums.attributes++;
        r->sums.value_bytes += len;
    }
}

static void on_end(void *ctx, const char *name)
{
    struct expat_run *r = ctx;
    (void)name;
    r->sums.stanzas += --r->depth == 1;
}

static void on_text(void *ctx, const char *text, int len)
{
    struct expat_run *r = ctx;
    if (r->depth < 2)
        return;
    check(r->text_len + (size_t)len <= sizeof(collected));
    memcpy(collected + r->text_len, text, (size_t)len);
    r->text_len += (size_t)len;
    r->sums.text_bytes += (uint64_t)len;
}

static void expat_feed(void *ctx, const char *p, size_t len)
{
    XML_Parser parser = ctx;
    check(XML_Parse(parser, p, (int)len, 0) == XML_STATUS_OK);
}

/* ---- ours, as xmpp/input.c uses it ---- */

struct our_run {
    struct sums sums;
    struct gw_xml_frame frame;
    size_t kept_len;
    bool header_seen;
    uint8_t kept[64 * 1024];
};

static struct gw_xml xml;

static size_t collect(struct gw_bytes raw, bool attribute, bool plain, size_t at)
{
    if (plain) {
        check(at + raw.len <= sizeof(collected));
        memcpy(collected + at, raw.p, raw.len);
        return raw.len;
    }
    int len = gw_xml_unescape(raw, attribute, collected + at, sizeof(collected) - at);
    check(len >= 0);
    return (size_t)len;
}

static bool is_declaration(const struct gw_xml_attr *a)
{
    return (a->prefix.len == 0 && gw_bytes_eq(a->name, GW_LIT("xmlns"))) ||
           gw_bytes_eq(a->prefix, GW_LIT("xmlns"));
}

static void add_unit(struct our_run *r)
{
    size_t at = 0;
    if (!r->header_seen || xml.unit != GW_XML_STANZA) {
        r->header_seen = true;
        return;
    }
    r->sums.stanzas++;
    r->sums.elements += xml.node_count;
    for (unsigned n = 0; n < xml.node_count; n++) {
        const struct gw_xml_elem *e = &xml.nodes[n];
        r->sums.name_bytes += e->name.len;
        r->sums.ns_bytes += e->ns.len;
        for (unsigned i = 0; i < e->attr_count; i++) {
            const struct gw_xml_attr *a = &xml.attrs[e->attr_first + i];
            if (is_declaration(a))
                continue;
            size_t len = collect(a->value, true, !a->escaped, at);
            r->sums.attributes++;
            r->sums.name_bytes += a->name.len;
            r->sums.ns_bytes += a->ns.len;
            r->sums.value_bytes += len;
            at += len;
        }
        if (e->after != n + 1) /* this traffic has no text beside elements */
            continue;
        size_t len = collect(e->content, false, e->plain_text, at);
        r->sums.text_bytes += len;
        at += len;
    }
}

static size_t keep(struct our_run *r, const uint8_t *p, size_t len)
{
    bool whole;
    size_t used = gw_xml_frame_feed(&r->frame, p, len, r->header_seen, &whole);
    check(r->kept_len + used <= sizeof(r->kept));
    memcpy(r->kept + r->kept_len, p, used);
    r->kept_len += used;
    if (!whole)
        return used;
    check(gw_xml_parse(&xml, r->kept, r->kept_len, r->header_seen) == 1);
    add_unit(r);
    r->kept_len = 0;
    return used;
}

static void our_feed(void *ctx, const char *bytes, size_t len)
{
    struct our_run *r = ctx;
    const uint8_t *p = (const uint8_t *)bytes, *end = p + len;
    while (p < end) {
        if (r->kept_len > 0) {
            p += keep(r, p, (size_t)(end - p));
            continue;
        }
        int rc = gw_xml_parse(&xml, p, (size_t)(end - p), r->header_seen);
        check(rc >= 0);
        if (rc == 0) {
            r->frame = (struct gw_xml_frame){0};
            p += keep(r, p, (size_t)(end - p));
            continue;
        }
        add_unit(r);
        p += xml.consumed;
    }
}

/* ---- rounds ---- */

typedef void feed_fn(void *ctx, const char *p, size_t len);

/* The traffic as full segments, or each stanza in a segment of its own (and those that are too big cut). */
static void feed_all(feed_fn *feed, void *ctx, bool full_segments)
{
    feed(ctx, STREAM_HEADER, sizeof(STREAM_HEADER) - 1);
    for (unsigned k = 0; k < REPEATS; k++) {
        unsigned stanza = 0;
        for (size_t at = 0, len; at < traffic_len; at += len) {
            size_t end = full_segments ? traffic_len : stanza_ends[stanza];
            len = end - at < SEGMENT_BYTES ? end - at : SEGMENT_BYTES;
            feed(ctx, traffic + at, len);
            stanza += at + len == end;
        }
    }
}

static double run_expat(bool full_segments, struct sums *sums)
{
    struct expat_run r = {0};
    XML_Parser parser = expat_stream_new(&r, on_start, on_end, on_text);
    double start = now_s();
    feed_all(expat_feed, parser, full_segments);
    double spent = now_s() - start;
    XML_ParserFree(parser);
    *sums = r.sums;
    return spent;
}

static double run_ours(bool full_segments, struct sums *sums)
{
    static struct our_run r;
    memset(&r, 0, sizeof(r));
    double start = now_s();
    feed_all(our_feed, &r, full_segments);
    double spent = now_s() - start;
    check(r.kept_len == 0);
    *sums = r.sums;
    return spent;
}

static void make_traffic(void)
{
    uint64_t random = 1;
    for (unsigned i = 0; i < STANZAS; i++) {
        traffic_len += traffic_stanza(&random, traffic + traffic_len);
        check(traffic_len <= BYTES_MAX);
        stanza_ends[i] = traffic_len;
    }
}

/* True when the bar is reached. */
static bool compare(const char *what, bool full_segments, unsigned rounds)
{
    static double ours[1000], expat[1000];
    struct sums a = {0}, b = {0};
    for (unsigned i = 0; i < rounds; i++) {
        expat[i] = run_expat(full_segments, &a);
        ours[i] = run_ours(full_segments, &b);
        check(memcmp(&a, &b, sizeof(a)) == 0);
    }
    double mib = (double)traffic_len * REPEATS / 1048576, stanzas = (double)a.stanzas;
    double e = percentile(expat, rounds, 0.5), o = percentile(ours, rounds, 0.5);
    printf("%s: ours %.0f MiB/s, %.0f ns a stanza; expat %.0f MiB/s, %.0f ns; ratio %.2f, wanted at least "
           "3: %s\n",
           what, mib / o, 1e9 * o / stanzas, mib / e, 1e9 * e / stanzas, e / o,
           e / o >= 3 ? "reached" : "MISSED");
    return e / o >= 3;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS;
    struct sums sums;
    check(rounds >= 1 && rounds <= 1000);
    make_traffic();
    if (argc > 2) {
        for (unsigned i = 0; i < rounds; i++)
            (strcmp(argv[2], "ours") == 0 ? run_ours : run_expat)(true, &sums);
        printf("%" PRIu64 " stanzas\n", sums.stanzas * rounds);
        return 0;
    }
    printf("%u stanzas, %zu bytes each, %s\n", STANZAS, traffic_len / STANZAS,
           XML_ExpatVersion());
    bool good = compare("full segments", true, rounds);
    good &= compare("a stanza a segment", false, rounds);
    return good ? 0 : 1;
}
