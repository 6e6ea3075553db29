/* SPDX-License-Identifier: Apache-2.0 */
#include "traffic.h"

#include <stdbool.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/base/text.h"

/* In a form: @j a bare JID, @f a full one, @i an id, @b a body, @o some base64, @n a small number,
 * @t a time, @h a hash. */
struct form {
    unsigned share; /* of 100 stanzas */
    const char *text;
};

static const struct form forms[] = {
    {14, "<message to='@j' id='@i' type='chat'><body>@b</body>"
         "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
         "<origin-id xmlns='urn:xmpp:sid:0' id='@i'/>"
         "<active xmlns='http://jabber.org/protocol/chatstates'/></message>"},
    {12, "<message xml:lang=\"en\" to=\"@f\" type=\"chat\" id=\"@i\"><origin-id xmlns=\"urn:xmpp:sid:0\" "
         "id=\"@i\" /><request xmlns=\"urn:xmpp:receipts\" /><body>@b</body><thread>@i</thread>"
         "<active xmlns=\"http://jabber.org/protocol/chatstates\" /></message>"},
    {6, "<message xmlns='jabber:client' id='@i' to='@j' type='chat'><body>&gt; @b\n@b</body>"
        "<reply xmlns='urn:xmpp:reply:0' to='@f' id='@i'/><fallback xmlns='urn:xmpp:fallback:0' "
        "for='urn:xmpp:reply:0'><body start='0' end='@n'/></fallback>"
        "<markable xmlns='urn:xmpp:chat-markers:0'/><request xmlns='urn:xmpp:receipts'/>"
        "<origin-id xmlns='urn:xmpp:sid:0' id='@i'/></message>"},
    {8, "<message to='@j' id='@i' type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'>"
        "<header sid='@n'><key rid='@n'>@o</key><key rid='@n' prekey='true'>@o</key><key rid='@n'>@o</key>"
        "<iv>@h</iv></header><payload>@o</payload></encrypted><store xmlns='urn:xmpp:hints'/>"
        "<encryption xmlns='urn:xmpp:eme:0' name='OMEMO' namespace='eu.siacs.conversations.axolotl'/>"
        "<body>I sent you an OMEMO encrypted message but your client doesn&apos;t seem to support that."
        "</body><origin-id xmlns='urn:xmpp:sid:0' id='@i'/></message>"},
    {14, "<message to='@f' id='@i' type='chat'><received xmlns='urn:xmpp:receipts' id='@i'/>"
         "<store xmlns='urn:xmpp:hints'/></message>"},
    {10, "<message to='@j' id='@i' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='@i'/>"
         "<store xmlns='urn:xmpp:hints'/></message>"},
    {10, "<message to='@j' type='chat' id='@i'><composing xmlns='http://jabber.org/protocol/chatstates'/>"
         "<no-store xmlns='urn:xmpp:hints'/></message>"},
    {5, "<message to=\"@j\" type=\"chat\"><paused xmlns=\"http://jabber.org/protocol/chatstates\"/>"
        "<no-permanent-store xmlns=\"urn:xmpp:hints\"/><no-copy xmlns=\"urn:xmpp:hints\"/></message>"},
    {8, "<a xmlns='urn:xmpp:sm:3' h='@n'/>"},
    {5, "<r xmlns='urn:xmpp:sm:3'/>"},
    {4, "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' "
        "node='https://client.example' ver='@h'/><x xmlns='vcard-temp:x:update'><photo>@h</photo></x>"
        "<show>away</show><status>@b</status><idle xmlns='urn:xmpp:idle:1' since='@t'/></presence>"},
    {3, "<iq to='server.example' id='@i' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"},
    {1, "<iq id='@i' type='result' to='server.example'/>"},
};

static uint32_t below(uint64_t *random, uint32_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % limit);
}

static void put_digits(struct gw_text *t, uint64_t *random, const char *digits, unsigned n)
{
    uint32_t base = (uint32_t)strlen(digits);
    for (unsigned i = 0; i < n; i++)
        gw_text_put(t, gw_bytes(digits + below(random, base), 1));
}

static void put_jid(struct gw_text *t, uint64_t *random, bool full)
{
    static const char *const names[] = {"anna", "bertrand.k", "chloe-42", "dimitri", "e.okafor"};
    gw_text_str(t, names[below(random, 5)]);
    gw_text_str(t, "@server.example");
    if (!full)
        return;
    gw_text_str(t, below(random, 2) ? "/Conversations." : "/gajim.");
    put_digits(t, random, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij0123456789", 6);
}

/* Mostly short; one in eight in another script, with marks that must be escaped now and then. */
static void put_body(struct gw_text *t, uint64_t *random)
{
    static const char *const words[] = {"the ", "train ", "leaves at ", "ten, ", "could you ", "bring ",
                                        "that ", "book? ", "Yes. ", "tomorrow ", "we ", "meet "};
    static const char *const other[] = {"поезд ", "уходит ", "в десять, ", "не забудь ", "列車は", "十時に",
                                        "café ", "naïve ", "\xf0\x9f\x98\x80 ", "ok "};
    static const char *const marks[] = {"&amp; ", "&lt;3 ", "it&apos;s ", "\n", "&quot;so&quot; "};
    size_t len = below(random, 4) ? 20 + below(random, 120) : 20 + below(random, 1980);
    bool is_other = below(random, 8) == 0;
    size_t end = t->len + len;
    while (t->len < end) {
        if (below(random, 16) == 0)
            gw_text_str(t, marks[below(random, 5)]);
        else
            gw_text_str(t, is_other ? other[below(random, 10)] : words[below(random, 12)]);
    }
}

static void put_part(struct gw_text *t, uint64_t *random, char what)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    switch (what) {
    case 'j':
    case 'f':
        put_jid(t, random, what == 'f');
        return;
    case 'i':
        put_digits(t, random, "0123456789abcdef", 8);
        gw_text_str(t, "-");
        put_digits(t, random, "0123456789abcdef", 12);
        return;
    case 'b':
        put_body(t, random);
        return;
    case 'o':
        put_digits(t, random, base64, 80 + below(random, 300));
        return;
    case 'n':
        gw_text_uint(t, below(random, 1u << (1 + below(random, 30))));
        return;
    case 't':
        gw_text_str(t, "2026-03-01T10:20:30Z");
        return;
    default:
        put_digits(t, random, base64, 28);
        return;
    }
}

size_t traffic_stanza(uint64_t *random, char out[TRAFFIC_STANZA_BYTES_MAX])
{
    struct gw_text t = gw_text(out, TRAFFIC_STANZA_BYTES_MAX);
    uint32_t pick = below(random, 100);
    const struct form *f = forms;
    while (pick >= f->share)
        pick -= f++->share;
    for (const char *p = f->text, *at; *p != '\0'; p = at + 2) {
        at = strchr(p, '@');
        if (at == NULL) {
            gw_text_str(&t, p);
            break;
        }
        gw_text_put(&t, gw_bytes(p, (size_t)(at - p)));
        put_part(&t, random, at[1]);
    }
    check(!t.full);
    return t.len;
}
