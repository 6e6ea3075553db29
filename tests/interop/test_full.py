# SPDX-License-Identifier: Apache-2.0
"""Mailboxes with a limit of 20 messages: what is over it is refused, what was accepted is kept."""

from base import InteropTest
from raw import CLIENT

LIMIT = 20
CONDITION = "{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable"


class Full(InteropTest):
    async def _send(self, sender, to, numbers):
        """Sends these; returns the ids of those that were refused for want of room."""
        for i in numbers:
            sender.message(to, f"m{i}", f"text {i}")
        answers = await sender.ping()
        refused = [m for m in answers if m.tag == CLIENT + "message"]
        for m in refused:
            self.assertEqual(m.get("type"), "error")
            self.assertIsNotNone(m.find(f"{CLIENT}error/{CONDITION}"))
            self.assertEqual(m.find(CLIENT + "error").get("type"), "cancel")
        return [m.get("id") for m in refused]

    async def test_refused_when_full_and_taken_again_when_read(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        refused = await self._send(sender, self.jid(b), range(LIMIT + 5))
        self.assertEqual(refused, [f"m{i}" for i in range(LIMIT, LIMIT + 5)])
        recipient = await self.raw_login(b, sm=True)
        for i in range(LIMIT):
            self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")
        await recipient.acknowledge()
        await recipient.end()
        self.assertEqual(await self._send(sender, self.jid(b), range(100, 100 + LIMIT)), [])

    async def test_an_account_with_limits_of_its_own(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        self.assertEqual(await self._send(sender, self.jid(b), range(3)), [])
        self.broker.ctl("user", "set-limit", b, "--messages", "5")
        self.assertEqual(await self._send(sender, self.jid(b), range(3, 8)), ["m5", "m6", "m7"])
        shown = self.broker.ctl("user", "show", b)["messages"]
        self.assertEqual(shown, {"waiting": 5, "max": 5, "own": True})
        self.broker.ctl("user", "set-limit", b, "--messages", "0")
        self.assertEqual(await self._send(sender, self.jid(b), range(8, 8 + LIMIT - 5)), [])
        self.assertEqual(await self._send(sender, self.jid(b), [99]), ["m99"])

    async def test_bytes(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        self.broker.ctl("user", "set-limit", b, "--bytes", "3000")
        sender.message(self.jid(b), "large", "x" * 3000)
        (refused,) = await sender.ping()
        self.assertIsNotNone(refused.find(f"{CLIENT}error/{CONDITION}"))
        self.assertEqual(await self._send(sender, self.jid(b), range(3)), [])
        shown = self.broker.ctl("user", "show", b)
        self.assertEqual(shown["messages"]["waiting"], 3)
        each = shown["bytes"]["waiting"] // 3
        self.assertLess(each, 1000)
        room = 3000 // each
        self.assertEqual(await self._send(sender, self.jid(b), range(3, room + 2)),
                         [f"m{room}", f"m{room + 1}"])

    async def test_who_reads_has_no_limit(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        recipient = await self.raw_login(b, sm=True)
        for first in range(0, 5 * LIMIT, LIMIT):
            numbers = range(first, first + LIMIT)
            self.assertEqual(await self._send(sender, self.jid(b), numbers), [])
            for i in numbers:
                self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")
            await recipient.acknowledge()
