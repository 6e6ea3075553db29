/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../dataplane/xmpp/xml.h"
#include "../../dataplane/xmpp/xml_chars.h"

static struct gw_xml x;

static int parse(const char *s, bool in_stream)
{
    return gw_xml_parse(&x, (const uint8_t *)s, strlen(s), in_stream);
}

/* All of buf at once: whether it is whole, and after how many bytes. */
static bool frame(const void *buf, size_t len, size_t *used)
{
    struct gw_xml_frame f = {0};
    bool whole;
    *used = gw_xml_frame_feed(&f, buf, len, true, &whole);
    return whole;
}

static char text[4096];

static const char *str(struct gw_bytes b)
{
    cr_assert_lt(b.len, sizeof(text));
    memcpy(text, b.p ? b.p : (const uint8_t *)"", b.len);
    text[b.len] = '\0';
    return text;
}

Test(xml, header)
{
    const char *h = "<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' to='a.example' "
                    "xmlns:stream=\"http://etherx.jabber.org/streams\" version='1.0'>";
    cr_assert_eq(parse(h, false), 1);
    cr_assert_eq(x.unit, GW_XML_STREAM_OPEN);
    cr_assert_eq(x.consumed, strlen(h));
    cr_assert(gw_xml_is(&x, 0, GW_LIT("stream"), GW_LIT("http://etherx.jabber.org/streams")));
    char to[32];
    int n = gw_xml_attr_text(&x, 0, GW_LIT("to"), to, sizeof(to));
    cr_assert(gw_bytes_eq(gw_bytes(to, (size_t)n), GW_LIT("a.example")));
    cr_assert_eq(gw_xml_attr_text(&x, 0, GW_LIT("from"), to, sizeof(to)), -1);
}

Test(xml, tree)
{
    cr_assert_eq(parse("<message to='b@c' id=\"1\"><body>Hi &amp; bye</body><x xmlns='u:x'>"
                       "<y/><z a='1'>t</z></x><body xml:lang='de'>Hallo</body></message><next/>",
                       true),
                 1);
    cr_assert_eq(x.unit, GW_XML_STANZA);
    cr_assert(gw_xml_is(&x, 0, GW_LIT("message"), GW_LIT("jabber:client")));
    gw_xml_node n = gw_xml_child(&x, 0);
    cr_assert_str_eq(str(x.nodes[n].name), "body");
    cr_assert_not(x.nodes[n].plain_text);
    char out[64];
    int len = gw_xml_text(&x, n, out, sizeof(out));
    cr_assert(gw_bytes_eq(gw_bytes(out, (size_t)len), GW_LIT("Hi & bye")));
    n = gw_xml_next(&x, n);
    cr_assert(gw_xml_is(&x, n, GW_LIT("x"), GW_LIT("u:x")));
    cr_assert_str_eq(str(x.nodes[n].raw), "<x xmlns='u:x'><y/><z a='1'>t</z></x>");
    cr_assert_eq(gw_xml_text(&x, n, out, sizeof(out)), -1);
    gw_xml_node z = gw_xml_find(&x, n, GW_LIT("z"), GW_LIT("u:x"));
    cr_assert_neq(z, GW_XML_NONE);
    cr_assert_str_eq(str(x.nodes[z].content), "t");
    cr_assert_eq(gw_xml_next(&x, z), GW_XML_NONE);
    n = gw_xml_next(&x, n);
    cr_assert_str_eq(str(x.nodes[n].content), "Hallo");
    cr_assert_eq(gw_xml_next(&x, n), GW_XML_NONE);
    cr_assert_eq(gw_xml_find(&x, 0, GW_LIT("x"), GW_LIT("jabber:client")), GW_XML_NONE);
}

Test(xml, namespaces_are_scoped)
{
    cr_assert_eq(parse("<iq><a:q xmlns:a='one'><a:r xmlns:a='two' a:k='v'/><a:s/></a:q></iq>", true), 1);
    cr_assert_str_eq(str(x.nodes[1].ns), "one");
    cr_assert_str_eq(str(x.nodes[2].ns), "two");
    cr_assert_str_eq(str(x.attrs[x.nodes[2].attr_first + 1].ns), "two");
    cr_assert_str_eq(str(x.nodes[3].ns), "one");
    cr_assert_eq(parse("<iq><q xmlns:a='one'/><a:r/></iq>", true), -1, "out of scope");
}

struct bad {
    const char *in;
    enum gw_xml_error why;
};

static const struct bad bad[] = {
    {"x", GW_XML_BAD_FORMAT},
    {"<a></b>", GW_XML_NOT_WELL_FORMED},
    {"<a><b></a></b>", GW_XML_NOT_WELL_FORMED},
    {"<a b='1' b='2'/>", GW_XML_NOT_WELL_FORMED},
    {"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", GW_XML_NOT_WELL_FORMED},
    {"<a b=1/>", GW_XML_NOT_WELL_FORMED},
    {"<a b='1'c='2'/>", GW_XML_NOT_WELL_FORMED},
    {"<a b='<'/>", GW_XML_NOT_WELL_FORMED},
    {"<a b/>", GW_XML_NOT_WELL_FORMED},
    {"<a / >", GW_XML_NOT_WELL_FORMED},
    {"< a/>", GW_XML_NOT_WELL_FORMED},
    {"<1a/>", GW_XML_NOT_WELL_FORMED},
    {"<a:b:c xmlns:a='u'/>", GW_XML_NOT_WELL_FORMED},
    {"<p:a/>", GW_XML_NOT_WELL_FORMED},
    {"<a p:b=''/>", GW_XML_NOT_WELL_FORMED},
    {"<a xmlns:p=''/>", GW_XML_NOT_WELL_FORMED},
    {"<a xmlns:xmlns='u'/>", GW_XML_NOT_WELL_FORMED},
    {"<a xmlns:xml='u'/>", GW_XML_NOT_WELL_FORMED},
    {"<a>]]></a>", GW_XML_NOT_WELL_FORMED},
    {"<a>&#0;</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>&#x110000;</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>&#xD800;</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>&#;</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>& </a>", GW_XML_NOT_WELL_FORMED},
    {"<a>&nbsp;</a>", GW_XML_RESTRICTED},
    {"<a b='&foo;'/>", GW_XML_RESTRICTED},
    {"<a>\x01</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xeb\x3c\x3e</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xc0\xaf</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xed\xa0\x80</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xef\xbf\xbe</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xf5\x80\x80\x80</a>", GW_XML_NOT_WELL_FORMED},
    {"<a>\xff</a>", GW_XML_NOT_WELL_FORMED},
    {"<a><!-- c --></a>", GW_XML_RESTRICTED},
    {"<!-- c --><a/>", GW_XML_RESTRICTED},
    {"<a><?pi x?></a>", GW_XML_RESTRICTED},
    {"<?xml version='1.0'?><a/>", GW_XML_RESTRICTED},
    {"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", GW_XML_RESTRICTED},
    {"<a><!DOCTYPE b></a>", GW_XML_RESTRICTED},
    {"<![CDATA[x]]>", GW_XML_RESTRICTED},
    {"</b>", GW_XML_NOT_WELL_FORMED},
};

Test(xml, refused)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(parse(bad[i].in, true), -1, "%s", bad[i].in);
        cr_assert_eq(x.error, bad[i].why, "%s: %s", bad[i].in, gw_xml_error_condition(x.error));
    }
    cr_assert_eq(parse("<!DOCTYPE x><stream:stream>", false), -1);
    cr_assert_eq(x.error, GW_XML_RESTRICTED);
    cr_assert_eq(parse("<?xml version='1.0' encoding='ISO-8859-1'?><a>", false), -1);
    cr_assert_eq(x.error, GW_XML_ENCODING);
    cr_assert_eq(parse("GET / HTTP/1.1\r\n", false), -1);
    cr_assert_eq(x.error, GW_XML_NOT_WELL_FORMED);
}

static const char *const good[] = {
    "<a/>",
    " \n<a/>",
    "<a  b = 'c' d=\"e'f\" ></a >",
    "<a>1<b>2</b>3<c/>4</a>",
    "<a><![CDATA[<not>&a;]] ]]]></a>",
    "<a><![CDATA[]]></a>",
    "<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x1F600;</a>",
    "<a>\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80</a>",
    "<a b='\xc3\xa9&#10;x\ty'>]] ></a>",
    "<\xc3\xa9l\xc3\xa9ment/>",
    "<p:a xmlns:p='u'><p:b/></p:a>",
    "<a xmlns=''><b xml:lang='en'/></a>",
    "</stream:stream>",
    "</stream:stream >",
};

/* Every proper prefix asks for more; the framer never says "whole" before the parser agrees, and
 * says it in time, whether bytes come at once or one by one. */
Test(xml, every_split)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const uint8_t *p = (const uint8_t *)good[i];
        size_t len = strlen(good[i]);
        struct gw_xml_frame trickle = {0};
        for (size_t n = 1; n < len; n++) {
            size_t used;
            bool whole;
            int rc = gw_xml_parse(&x, p, n, true);
            if (rc == 1)
                cr_assert_eq(x.unit, GW_XML_SPACE, "%s at %zu", good[i], n);
            else
                cr_assert_eq(rc, 0, "%s at %zu", good[i], n);
            cr_assert_not(frame(p, n, &used), "%s at %zu", good[i], n);
            cr_assert_eq(gw_xml_frame_feed(&trickle, p + n - 1, 1, true, &whole), 1);
            cr_assert_not(whole);
        }
        cr_assert_eq(gw_xml_parse(&x, p, len, true), 1, "%s: %s", good[i], gw_xml_error_condition(x.error));
        cr_assert_eq(x.consumed, len);
        bool whole;
        cr_assert_eq(gw_xml_frame_feed(&trickle, p + len - 1, 1, true, &whole), 1);
        cr_assert(whole, "%s", good[i]);
    }
}

Test(xml, what_is_wrong_is_noticed_by_the_framer_or_at_the_end)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t used;
        cr_assert(frame(bad[i].in, strlen(bad[i].in), &used) ||
                      strstr(bad[i].in, "</b>") != NULL,
                  "%s", bad[i].in);
    }
}

Test(xml, limits)
{
    static char deep[4 * (GW_XML_DEPTH_MAX + 2) + 1], wide[8 * GW_XML_NODES_MAX];
    for (int i = 0; i <= GW_XML_DEPTH_MAX; i++)
        strcat(deep, "<a>");
    cr_assert_eq(parse(deep, true), -1);
    cr_assert_eq(x.error, GW_XML_LIMIT);
    size_t used;
    cr_assert(frame(deep, strlen(deep), &used));
    strcpy(wide, "<a>");
    for (int i = 0; i < GW_XML_NODES_MAX; i++)
        memcpy(wide + 3 + 4 * i, "<a/>", 5);
    cr_assert_eq(parse(wide, true), -1);
    cr_assert_eq(x.error, GW_XML_LIMIT);
    char name[GW_XML_NAME_BYTES_MAX + 8];
    memset(name, 'n', sizeof(name));
    memcpy(name, "<", 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(parse(name, true), -1);
    cr_assert_eq(x.error, GW_XML_LIMIT);
}

Test(xml, unescape_and_escape)
{
    char out[64], back[64];
    struct gw_bytes in = GW_LIT("a\r\nb\rc\t<![CDATA[&x]]>&#xe9;");
    int n = gw_xml_unescape(in, false, out, sizeof(out));
    cr_assert(gw_bytes_eq(gw_bytes(out, (size_t)n), GW_LIT("a\nb\nc\t&x\xc3\xa9")));
    n = gw_xml_unescape(GW_LIT("a\r\nb\tc&#9;"), true, out, sizeof(out));
    cr_assert(gw_bytes_eq(gw_bytes(out, (size_t)n), GW_LIT("a b c\t")));
    cr_assert_eq(gw_xml_unescape(GW_LIT("abc"), false, out, 2), -1);
    struct gw_bytes nasty = GW_LIT("<'\"&>x");
    size_t e = gw_xml_escape(nasty, out, sizeof(out));
    cr_assert(gw_bytes_eq(gw_bytes(out, e), GW_LIT("&lt;&apos;&quot;&amp;&gt;x")));
    n = gw_xml_unescape(gw_bytes(out, e), true, back, sizeof(back));
    cr_assert(gw_bytes_eq(gw_bytes(back, (size_t)n), nasty));
    cr_assert_eq(gw_xml_escape(nasty, out, 8), 0);
}

Test(xml, random_bytes_never_confuse_it)
{
    static const char alphabet[] = "<>/='\"&;#x[]!?-ab: \xc3\xa9";
    unsigned seed = 11;
    char buf[80];
    for (int i = 0; i < 300000; i++) {
        size_t len = 1 + (size_t)rand_r(&seed) % 60;
        buf[0] = '<';
        for (size_t k = 1; k < len; k++)
            buf[k] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
        size_t used;
        int rc = gw_xml_parse(&x, (uint8_t *)buf, len, true);
        bool whole = frame(buf, len, &used);
        cr_assert(rc != 1 || (whole && used == x.consumed), "%.*s", (int)len, buf);
        cr_assert(rc != 0 || !whole, "%.*s", (int)len, buf);
        if (rc == 1)
            cr_assert(x.consumed <= len && x.nodes[0].raw.len <= len);
    }
}
