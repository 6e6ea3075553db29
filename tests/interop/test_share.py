# SPDX-License-Identifier: Apache-2.0
"""Mailboxes with a limit of 20 messages, of which one sender may have half."""

from base import InteropTest
from raw import CLIENT

SHARE = 10
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Share(InteropTest):
    async def _send(self, sender, to, numbers, extra=""):
        """Sends these; returns ids and conditions of those that were refused."""
        for i in numbers:
            sender.message(to, f"m{i}", f"text {i}{extra}")
        refused = [m for m in await sender.ping() if m.tag == CLIENT + "message"]
        return [(m.get("id"), m.find(CLIENT + "error")[0].tag.removeprefix(STANZAS),
                 m.find(CLIENT + "error").get("type")) for m in refused]

    def _over(self, numbers):
        return [(f"m{i}", "resource-constraint", "wait") for i in numbers]

    async def test_a_flood_leaves_room_for_others(self):
        a, b, c = self.broker.users(3)
        flood, friend = await self.raw_login(a), await self.raw_login(c)
        self.assertEqual(await self._send(flood, self.jid(b), range(200)),
                         self._over(range(SHARE, 200)))
        self.assertEqual(await self._send(friend, self.jid(b), range(3)), [])
        self.assertEqual(await self._send(flood, self.jid(b), range(200, 300)),
                         self._over(range(200, 300)))
        self.assertEqual(await self._send(friend, self.jid(b), range(3, SHARE)), [])
        self.assertEqual(await self._send(friend, self.jid(b), [99]),
                         [("m99", "service-unavailable", "cancel")])
        recipient = await self.raw_login(b, sm=True)
        came = [(await recipient.next_message()) for _ in range(2 * SHARE)]
        of_flood = [m.get("id") for m in came if m.get("from").startswith(a + "@")]
        self.assertEqual(of_flood, [f"m{i}" for i in range(SHARE)])
        await recipient.acknowledge()
        await recipient.end()
        self.assertEqual(await self._send(flood, self.jid(b), range(300, 300 + SHARE + 1)),
                         self._over([300 + SHARE]))

    async def test_what_is_spilled_keeps_its_senders_mark(self):
        a, b = self.broker.users(2)
        flood = await self.raw_login(a)
        self.assertEqual(await self._send(flood, self.jid(b), range(SHARE - 2)), [])
        self.broker.ctl("store", "backup")  # spills all that waits in the log
        self.assertEqual(await self._send(flood, self.jid(b), range(50, 55)),
                         self._over(range(52, 55)))

    async def test_large_messages_use_it_up_sooner(self):
        a, b, c = self.broker.users(3)
        self.broker.ctl("user", "set-limit", b, "--bytes", "20000")
        flood, friend = await self.raw_login(a), await self.raw_login(c)
        refused = await self._send(flood, self.jid(b), range(4), "x" * 3000)
        self.assertEqual(refused, self._over([3]))
        self.assertEqual(await self._send(friend, self.jid(b), range(2), "x" * 3000), [])

    async def test_notes_to_oneself_have_no_share(self):
        a = self.broker.user()
        stream = await self.raw_login(a, presence=False)
        self.assertEqual(await self._send(stream, self.jid(a), range(2 * SHARE)), [])
