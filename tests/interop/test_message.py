# SPDX-License-Identifier: Apache-2.0
"""One-to-one messages between real clients that are online, and those that nobody can get."""

from xml.sax.saxutils import escape

from base import InteropTest
from raw import CLIENT, StreamEnd
from test_login import condition_of

BODY = CLIENT + "body"


class Online(InteropTest):
    async def test_slixmpp_and_libstrophe_both_ways(self):
        a, b = self.broker.users(2)
        slix = await self.slix(a).login()
        strophe = await self.strophe(b).login()
        for i in range(10):
            slix.say(self.jid(b), f"to strophe {i}", f"s{i}")
            strophe.say(self.jid(a), f"to slix {i}", f"t{i}")
        self.assertEqual(await slix.bodies(10), [f"to slix {i}" for i in range(10)])
        for i in range(10):
            message = await strophe.next_message()
            self.assertEqual((message["id"], message["body"]), (f"s{i}", f"to strophe {i}"))
            self.assertEqual(message["from"], slix.boundjid.full)
            self.assertNotIn("delay", message)
        await strophe.leave()

    async def test_bodies_arrive_as_they_were(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.slix(a).login(), await self.slix(b).login()
        bodies = ["<&>\"' ]]> &amp;", "na\u00efve \u65e5\u672c\u8a9e \U0001f426", "a\nb\tc",
                  "x" * 60000, "e\u0301 \u00e9"]
        for i, body in enumerate(bodies):
            sender.say(self.jid(b), body, f"b{i}")
        self.assertEqual(await recipient.bodies(len(bodies)), bodies)

    async def test_unknown_payload_arrives_unharmed(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        sender.message(self.jid(b), "x", "hello",
                       "<x xmlns='urn:example:a' k='v&amp;w' xml:lang='de'><y xmlns='urn:example:b'>"
                       "<z/>t&lt;</y></x><p:q xmlns:p='urn:example:p' p:r='1'/>")
        message = await recipient.next_message()
        x = message.find("{urn:example:a}x")
        self.assertEqual(x.get("k"), "v&w")
        self.assertEqual(x.get("{http://www.w3.org/XML/1998/namespace}lang"), "de")
        self.assertEqual(x.find("{urn:example:b}y").find("{urn:example:b}z").tail, "t<")
        self.assertEqual(message.find("{urn:example:p}q").get("{urn:example:p}r"), "1")

    async def test_the_sender_is_who_the_server_says(self):
        a, b, c = self.broker.users(3)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        sender.write(f"<message from='{self.jid(c)}' to='{self.jid(b)}' id='f' type='chat'>"
                     "<body>forged</body></message>")
        try:
            await sender.ping()
            message = await recipient.next_message()
            self.assertEqual(message.get("from"), sender.jid)
        except StreamEnd:
            pass  # RFC 6120, section 8.1.2.1 allows the stream error invalid-from
        await recipient.ping()

    async def test_an_address_that_grows_when_it_is_written(self):
        """Each of these becomes six bytes: more than a message's block is first taken for."""
        a, b = self.broker.users(2)
        odd = "'\"&" * 300
        written = escape(odd, {"'": "&apos;", '"': "&quot;"})
        sender, recipient = await self.raw_login(a, resource=written), await self.raw_login(b)
        sender.message(self.jid(b), "o", "from an odd place")
        self.assertEqual((await recipient.next_message()).get("from"), f"{self.jid(a)}/{odd}")
        recipient.message(f"{self.jid(a)}/{written}", "p", "to an odd place")
        self.assertEqual((await sender.next_message()).get("to"), f"{self.jid(a)}/{odd}")

    async def test_to_a_full_jid(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        desk, phone = (await self.raw_login(b, resource="desk"),
                       await self.raw_login(b, resource="phone"))
        sender.message(desk.jid, "d", "for the desk")
        sender.message(phone.jid, "p", "for the phone")
        self.assertEqual((await desk.next_message()).findtext(BODY), "for the desk")
        self.assertEqual((await phone.next_message()).findtext(BODY), "for the phone")
        await sender.ping()
        for stream in (desk, phone):
            self.assertEqual([e for e in await stream.ping() if e.tag == CLIENT + "message"], [])

    async def test_to_a_resource_that_is_gone(self):
        """RFC 6121, section 8.5.3.2.1: a chat message is treated as if for the bare JID."""
        a, b = self.broker.users(2)
        sender, desk = await self.raw_login(a), await self.raw_login(b, resource="desk")
        sender.message(self.jid(b) + "/gone", "g", "anybody there?")
        self.assertEqual((await desk.next_message()).findtext(BODY), "anybody there?")

    async def test_negative_priority_does_not_take_what_is_for_all(self):
        """RFC 6121, section 8.5.2.1.1."""
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        shy = await self.raw_login(b, resource="shy", presence=False)
        await shy.announce(-1)
        sender.message(self.jid(b), "1", "for whom it concerns")
        await sender.ping()
        open_one = await self.raw_login(b, resource="open")
        self.assertEqual((await open_one.next_message()).findtext(BODY), "for whom it concerns")
        self.assertEqual([e for e in await shy.ping() if e.tag == CLIENT + "message"], [])

    async def test_to_oneself(self):
        stream = await self.raw_login(self.broker.user())
        stream.message(stream.jid, "me", "note to self")
        self.assertEqual((await stream.next_message()).findtext(BODY), "note to self")

    async def test_chat_state_behind_a_message(self):
        """What is not stored waits behind what is, so that order holds."""
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        active = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
        for i in range(20):
            sender.message(recipient.jid, f"m{i}", f"text {i}")
            sender.write(f"<message type='chat' to='{recipient.jid}' id='c{i}'>{active}</message>")
        ids = [(await recipient.next_message()).get("id") for _ in range(40)]
        self.assertEqual(ids, [f"{kind}{i}" for i in range(20) for kind in "mc"])

    async def test_many_senders_to_one(self):
        users = self.broker.users(6)
        recipient = await self.raw_login(users[0])
        senders = [await self.raw_login(user) for user in users[1:]]
        for i in range(50):
            for n, sender in enumerate(senders):
                sender.message(self.jid(users[0]), f"{n}-{i}", f"{i}")
        seen = {}
        for _ in range(50 * len(senders)):
            n, i = (await recipient.next_message()).get("id").split("-")
            seen.setdefault(n, []).append(int(i))
        for order in seen.values():
            self.assertEqual(order, list(range(50)))


class Undeliverable(InteropTest):
    async def test_unknown_account(self):
        stream = await self.raw_login(self.broker.user())
        stream.message(self.jid("nobody-of-that-name"), "lost", "hello?")
        message = await stream.next_message()
        self.assertEqual(message.get("id"), "lost")
        self.assertEqual(message.get("from"), self.jid("nobody-of-that-name"))
        self.assertEqual(condition_of(message), "service-unavailable")

    async def test_slixmpp_sees_the_error(self):
        client = await self.slix(self.broker.user()).login()
        client.say(self.jid("nobody-of-that-name"), "hello?", "lost")
        error = await client.errors.get()
        self.assertEqual((error["id"], error["error"]["condition"]),
                         ("lost", "service-unavailable"))

    async def test_unknown_domain(self):
        stream = await self.raw_login(self.broker.user())
        stream.message("somebody@elsewhere.example", "far", "hello?")
        self.assertIn(condition_of(await stream.next_message()),
                      ("remote-server-not-found", "service-unavailable"))

    async def test_malformed_address(self):
        stream = await self.raw_login(self.broker.user())
        for i, to in enumerate(("@" + self.broker.domain, "a@b@c", "x" * 1100 + "@" +
                                self.broker.domain, f"{'u0'}@{self.broker.domain}/")):
            stream.message(to, f"bad{i}", "hello?")
            message = await stream.next_message()
            self.assertEqual(message.get("id"), f"bad{i}")
            self.assertEqual(condition_of(message), "jid-malformed")

    async def test_groupchat_to_an_account(self):
        """RFC 6121, section 8.5.2.1.1: a groupchat message to a bare JID is refused."""
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        sender.message(self.jid(b), "gc", "hello all", kind="groupchat")
        self.assertEqual(condition_of(await sender.next_message()), "service-unavailable")
        await recipient.ping()

    async def test_an_error_is_never_answered(self):
        stream = await self.raw_login(self.broker.user())
        stream.write(f"<message type='error' id='e' to='{self.jid('nobody-of-that-name')}'>"
                     "<error type='cancel'><item-not-found "
                     "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        self.assertEqual([e.tag for e in await stream.ping() if e.tag == CLIENT + "message"], [])
