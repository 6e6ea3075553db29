# SPDX-License-Identifier: Apache-2.0
"""Messages that live for a second. `Background` wants a broker that spills at once, `Read` one that
never does: what the log holds only a reader finds."""

from base import InteropTest, eventually
from raw import CLIENT

COUNT = 5


class _Aged(InteropTest):
    def waiting(self, user):
        return self.broker.ctl("user", "show", user)["messages"]["waiting"]

    def counter(self, name):
        return self.broker.ctl("counters", "--all")["counters"]["home"][name]

    def states(self, user):
        receipts = self.broker.ctl("receipts", "--account", user)["receipts"]
        return [r["state"] for r in receipts]

    async def read(self, user):
        """The messages that come to a session of this user."""
        recipient = await self.raw_login(user, sm=True)
        await recipient.ping()
        came = await recipient.ping()
        return [e for e in came if e.tag == CLIENT + "message"], recipient


class Background(_Aged):
    async def test_what_is_too_old_leaves_and_the_ledger_says_so(self):
        before = self.counter("expired")
        sender, b = await self.store_for_absent(COUNT)
        await eventually(lambda: self.waiting(b) == 0, "the messages have expired")
        self.assertEqual(self.counter("expired"), before + COUNT)
        await eventually(lambda: self.states(b) == ["expired"] * COUNT, "all receipts say so")
        came, recipient = await self.read(b)
        self.assertEqual(came, [])
        sender.message(self.jid(b), "young", "come now")
        self.assertEqual((await recipient.next_message()).get("id"), "young")
        await recipient.acknowledge()
        await eventually(lambda: self.states(b)[-1] == "delivered", "the young one was delivered")

    async def test_nobody_else_loses_anything(self):
        """While others' mail expires, what is sent comes, in order."""
        a, c = self.broker.users(2)
        left = [b for _, b in [await self.store_for_absent(COUNT) for _ in range(8)]]
        sender = await self.raw_login(a)
        reader = await self.raw_login(c, sm=True)
        number = 0
        while any(self.waiting(b) for b in left):
            for _ in range(20):
                sender.message(self.jid(c), f"m{number}", "text")
                number += 1
            for i in range(number - 20, number):
                self.assertEqual((await reader.next_message()).get("id"), f"m{i}")
            await reader.acknowledge()
            self.assertLess(number, 100000)


class Read(_Aged):
    async def test_what_is_too_old_is_not_delivered(self):
        _, b = await self.store_for_absent(COUNT)
        accepted = max(r["accepted_us"] for r in
                       self.broker.ctl("receipts", "--account", b)["receipts"])

        def is_old():
            return self.broker.ctl("store", "stats")["expiry"]["before_us"] > accepted
        await eventually(is_old, "the messages are too old")
        before = self.counter("expired_unread")
        self.assertEqual(self.waiting(b), COUNT)
        came, _ = await self.read(b)
        self.assertEqual(came, [])
        await eventually(lambda: self.waiting(b) == 0, "they are removed")
        self.assertEqual(self.counter("expired_unread"), before + COUNT)
        await eventually(lambda: self.states(b) == ["expired"] * COUNT, "the ledger says so")
