# SPDX-License-Identifier: Apache-2.0
"""Acknowledgements by XEP-0198: who counts what, and what an impossible count brings."""

from base import InteropTest
from raw import CLIENT, SM, STANZA_ERRORS, STREAM, StreamEnd


class Counting(InteropTest):
    async def test_h_counts_every_stanza_since_enable(self):
        a, b = self.broker.users(2)
        stream = await self.raw_login(a, presence=False)
        await stream.ping()  # before <enable/>: does not count
        stream.write("<enable xmlns='urn:xmpp:sm:3'/>")
        await stream.expect(SM + "enabled")
        self.assertEqual((await stream.ask_ack())[0], 0)
        stream.write("<presence/>")
        self.assertEqual((await stream.ask_ack())[0], 1)
        for i in range(5):
            stream.message(self.jid(b), f"m{i}", "count me")
        self.assertEqual((await stream.ask_ack())[0], 6)
        await stream.ping()
        self.assertEqual((await stream.ask_ack())[0], 7)

    async def test_refused_stanzas_count_too(self):
        stream = await self.raw_login(self.broker.user(), sm=True, presence=False)
        stream.message(self.jid("nobody-of-that-name"), "lost", "hello?")
        stream.write("<iq type='get' id='u'><query xmlns='urn:example:unknown'/></iq>")
        self.assertEqual((await stream.ask_ack())[0], 2)

    async def test_refusals_around_enabling(self):
        """What came before <enable/> is not counted; what is refused behind it is, once its client
        has acknowledged the refusal, whether that came before <enabled/> or after."""
        a, b = (self.jid(f"nobody-of-that-name-{i}") for i in range(2))
        for _ in range(10):
            stream = await self.raw_login(self.broker.user(), presence=False)
            stream.answers_pings = False
            stream.message(a, "before", "does not count")
            stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            stream.message(b, "behind", "counts")
            came = set()
            while not {"before", "behind", SM + "enabled"} <= came:
                element = await stream.next()
                came |= {element.tag, element.get("id")}
            stream.write(f"<a xmlns='urn:xmpp:sm:3' h='{stream.handled}'/>")
            self.assertEqual((await stream.ask_ack())[0], 1)

    async def test_requests_do_not_count(self):
        stream = await self.raw_login(self.broker.user(), sm=True, presence=False)
        for _ in range(3):
            self.assertEqual((await stream.ask_ack())[0], 0)

    async def test_many_messages_and_requests(self):
        a, b = self.broker.users(2)
        stream = await self.raw_login(a, sm=True, presence=False)
        for i in range(500):
            stream.message(self.jid(b), f"m{i}", "one of many")
            if i % 7 == 0:
                stream.write("<r xmlns='urn:xmpp:sm:3'/>")
        last = 0
        while last < 500:
            try:
                stream.write("<r xmlns='urn:xmpp:sm:3'/>")
                answer, _ = await stream.until(SM + "a")
            except StreamEnd:
                self.fail("the stream ended")
            self.assertGreaterEqual(int(answer.get("h")), last)
            last = int(answer.get("h"))
        self.assertEqual(last, 500)

    async def test_slixmpp_is_acknowledged(self):
        a, b = self.broker.users(2)
        sender = await self.slix(a, sm=True).login()
        for i in range(10):
            sender.say(self.jid(b), f"text {i}", f"m{i}")
        await sender.barrier()
        sender["xep_0198"].request_ack()  # its own requests leave before what they are about
        acked = []
        while len(acked) < 10:
            stanza = await sender.acked.get()
            if stanza.name == "message":
                acked.append(stanza["id"])
        self.assertEqual(acked, [f"m{i}" for i in range(10)])

    async def test_the_server_asks_for_acknowledgements(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b, sm=True)
        sender.message(self.jid(b), "m", "have you got it?")
        asked = message = False
        while not (asked and message):
            element = await recipient.next()
            asked = asked or element.tag == SM + "r"
            message = message or element.tag == CLIENT + "message"

    async def test_without_it_the_server_pings(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        recipient.answers_pings = False
        sender.message(self.jid(b), "m", "have you got it?")
        message, _ = await recipient.until(CLIENT + "message")
        self.assertEqual(message.get("id"), "m")
        ping, _ = await recipient.until(CLIENT + "iq", type="get")
        recipient.write(f"<iq type='result' id='{ping.get('id')}' to='{ping.get('from')}'/>")
        await recipient.ping()
        recipient.reset()
        again = await self.raw_login(b)
        sender.message(self.jid(b), "last", "after all that")
        self.assertEqual((await again.next_message()).get("id"), "last")


class Refusals(InteropTest):
    async def test_resume_of_nothing(self):
        stream = await self.raw()
        await stream.authenticate(self.broker.user())
        stream.write("<resume xmlns='urn:xmpp:sm:3' h='0' previd='never-was'/>")
        await stream.expect(SM + "failed")
        await stream.bind()
        self.assertIsNotNone(stream.jid)

    async def test_more_acknowledged_than_sent(self):
        """XEP-0198, section 4: undefined-condition with handled-count-too-high."""
        stream = await self.raw_login(self.broker.user(), sm=True, presence=False)
        stream.write("<a xmlns='urn:xmpp:sm:3' h='1000'/>")
        error, _ = await stream.until(STREAM + "error")
        self.assertIsNotNone(error.find(SM + "handled-count-too-high"))
        await stream.closed()

    async def test_malformed_counts(self):
        for text in ("", "x", "-1", "4294967296", "1e3"):
            with self.subTest(h=text):
                stream = await self.raw_login(self.broker.user(), sm=True, presence=False)
                stream.write(f"<a xmlns='urn:xmpp:sm:3' h='{text}'/>")
                await stream.until(STREAM + "error")
                await stream.closed()
