# SPDX-License-Identifier: Apache-2.0
"""The same conversations by clients of three libraries, each as it is: slixmpp, libstrophe and
@xmpp/client. Each library talks with each."""

import asyncio
import itertools

from base import InteropTest, eventually

LIBRARIES = ("slixmpp", "libstrophe", "xmpp.js")
RESUMING = ("slixmpp", "xmpp.js")


class Conversations(InteropTest):
    async def client(self, library, user, resume=False):
        """A client that answers receipt requests, and asks for them."""
        if library == "slixmpp":
            return await self.slix(user, sm="resume" if resume else False, receipts=True).login()
        make = self.strophe if library == "libstrophe" else self.xmppjs
        return await make(user, options=("--receipts",)).login()

    async def test_chat_and_receipts_both_ways(self):
        for one, other in itertools.combinations_with_replacement(LIBRARIES, 2):
            with self.subTest(one=one, other=other):
                users = self.broker.users(2)
                pair = await asyncio.gather(self.client(one, users[0]), self.client(other, users[1]))
                for i in range(5):
                    for a, b in ((0, 1), (1, 0)):
                        said = (f"m{a}{i}", f"word {i} of {users[a]}: <&> äöü \U0001f426")
                        pair[a].say(self.jid(users[b]), said[1], said[0])
                        self.assertEqual(await pair[b].next_text(), said)
                        self.assertEqual(await pair[a].next_receipt(), said[0])

    async def test_messages_and_receipts_wait(self):
        """Offline: the message for its recipient, and then its receipt for its sender."""
        for library in LIBRARIES:
            with self.subTest(library=library):
                a, b = self.broker.users(2)
                sender = await self.client(library, a)
                for i in range(10):
                    sender.say(self.jid(b), f"waits {i}", f"m{i}")
                await self.settled(a, 10)
                await sender.leave()
                recipient = await self.client(library, b)
                for i in range(10):
                    self.assertEqual(await recipient.next_text(), (f"m{i}", f"waits {i}"))
                await self.settled(b, 10)
                sender = await self.client(library, a)
                self.assertEqual([await sender.next_receipt() for _ in range(10)],
                                 [f"m{i}" for i in range(10)])

    async def settled(self, user, count):
        """Waits until so many messages of the user are stored, as the ledger says it."""
        def are_stored():
            return len(self.broker.ctl("receipts", "--account", self.jid(user))["receipts"]) >= count
        await eventually(are_stored, f"{count} messages of {user} are stored")

    async def test_streams_that_go_on(self):
        for library in RESUMING:
            with self.subTest(library=library):
                a, b = self.broker.users(2)
                friend = await self.raw_login(a)
                client = await self.client(library, b, resume=True)
                for turn in range(3):
                    friend.message(self.jid(b), f"here{turn}", "while it is there")
                    self.assertEqual((await client.next_text())[0], f"here{turn}")
                    await client.drop()
                    for i in range(5):
                        friend.message(self.jid(b), f"gone{turn}.{i}", "while it is gone")
                    await client.come_back()
                    for i in range(5):
                        self.assertEqual((await client.next_text())[0], f"gone{turn}.{i}")
                    client.say(self.jid(a), "and back", f"back{turn}")
                    self.assertEqual((await friend.next_message()).get("id"), f"back{turn}")
                sessions = self.broker.ctl("session", "list", "--account", b)["sessions"]
                self.assertEqual(len(sessions), 1)
