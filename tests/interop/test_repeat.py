# SPDX-License-Identifier: Apache-2.0
"""What a sender repeats after a lost connection: acknowledged, and not delivered again."""

from base import InteropTest
from raw import CLIENT

BODY = CLIENT + "body"
ORIGIN = "<origin-id xmlns='urn:xmpp:sid:0' id='{}'/>"
DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/>"


class Repeats(InteropTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.sender, recipient = self.broker.users(2)
        self.to = self.jid(recipient)
        self.recipient = await self.raw_login(recipient, sm=True)

    def _counter(self):
        return self.broker.ctl("counters", "--all")["counters"]["home"]["repeated"]

    async def _send(self, *messages):
        """By a stream of its own, which ends without a word; each (id, body, more)."""
        stream = await self.raw_login(self.sender, sm=True, presence=False)
        for message_id, body, more in messages:
            name = f" id='{message_id}'" if message_id else ""
            stream.write(f"<message type='chat' to='{self.to}'{name}><body>{body}</body>{more}"
                         "</message>")
        self.assertEqual((await stream.ask_ack())[0], len(messages))
        stream.reset()

    async def _bodies(self):
        """What has come, up to a last message that no other is like."""
        await self._send(("end", "the end", ""))
        bodies = []
        while (body := (await self.recipient.next_message()).findtext(BODY)) != "the end":
            bodies.append(body)
        return bodies

    async def test_comes_once(self):
        before = self._counter()
        messages = [(f"m{i}", f"text {i}", "") for i in range(20)]
        await self._send(*messages)
        await self._send(*messages[10:], ("m20", "text 20", ""))
        self.assertEqual(await self._bodies(), [f"text {i}" for i in range(21)])
        self.assertEqual(self._counter() - before, 10)

    async def test_with_a_delay_as_the_standard_has_it(self):
        await self._send(("m", "late", ""))
        await self._send(("m", "late", DELAY))
        self.assertEqual(await self._bodies(), ["late"])

    async def test_known_by_its_origin_id(self):
        await self._send((None, "same", ORIGIN.format("o1")))
        await self._send((None, "same", ORIGIN.format("o1")))
        await self._send((None, "same", ORIGIN.format("o2")))
        self.assertEqual(await self._bodies(), ["same", "same"])

    async def test_what_only_looks_like_it_is_delivered(self):
        await self._send(("m", "one", ""), ("m", "one", ""))  # said twice by one stream
        await self._send(("m", "two", ""))
        await self._send(("n", "one", ""))
        await self._send((None, "one", ""))
        await self._send((None, "one", ""))
        self.assertEqual(await self._bodies(), ["one", "one", "two", "one", "one", "one"])

    async def test_of_somebody_else_is_another_message(self):
        await self._send(("m", "hello", ""))
        other = await self.raw_login(self.broker.user(), sm=True, presence=False)
        other.message(self.to, "m", "hello")
        self.assertEqual((await other.ask_ack())[0], 1)
        self.assertEqual(await self._bodies(), ["hello", "hello"])

    async def test_the_ledger_says_so(self):
        await self._send(("m", "hello", ""))
        await self._send(("m", "hello", ""))
        self.assertEqual(await self._bodies(), ["hello"])
        rows = self.broker.ctl("receipts", "--account", self.to, "--id", "m")["receipts"]
        self.assertEqual([row["id"] for row in rows], ["m"])
