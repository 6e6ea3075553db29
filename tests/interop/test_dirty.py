# SPDX-License-Identifier: Apache-2.0
"""Connections that end without a word, at random moments: clients killed with unread bytes in their
sockets, and a network that is cut. Nothing is lost, nothing changes its place, and what comes again has
the same stanza-id."""

import random
import signal

from base import InteropTest
from netfilter import cut_port
from raw import CLIENT

STANZA_ID = "{urn:xmpp:sid:0}stanza-id"


class Book:
    """What was sent to an account, and what has come of it."""

    def __init__(self, test):
        self.test = test
        self.sent = 0
        self.came = {}  # number: stanza-id

    def session(self):
        self.last = -1

    def took(self, message_id, stanza_id):
        number = int(message_id.removeprefix("m"))
        self.test.assertGreater(number, self.last, "not in its place, or twice in one session")
        self.last = number
        self.test.assertEqual(self.came.setdefault(number, stanza_id), stanza_id)

    def close(self):
        self.test.assertEqual(sorted(self.came), list(range(self.sent)))


class Dirty(InteropTest):
    ROUNDS = 6

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.seed = random.randrange(2 ** 32)
        self.random = random.Random(self.seed)

    async def begin(self):
        a, self.user = self.broker.users(2)
        self.sender = await self.raw_login(a)
        self.book = Book(self)

    async def send(self, count):
        for _ in range(count):
            self.sender.message(self.jid(self.user), f"m{self.book.sent}",
                                "x" * self.random.choice((1, 100, 5000)))
            self.book.sent += 1
        await self.sender.ping()  # they are durable, and on their way

    async def read_all(self):
        """A last session gets what is left. How much that was."""
        self.book.session()
        before = len(self.book.came)
        stream = await self.raw_login(self.user, resource="r", sm=True)
        for e in await stream.fence():
            if e.tag == CLIENT + "message":
                self.book.took(e.get("id"), e.find(STANZA_ID).get("id"))
        await stream.acknowledge()
        self.book.close()
        await stream.end()
        return len(self.book.came) - before

    async def rounds_of_killing(self, make, options):
        await self.begin()
        for _ in range(self.ROUNDS):
            self.book.session()
            client = await make(self.user, resource="r", options=options).login()
            await self.send(self.random.randrange(20))
            client.process.send_signal(signal.SIGSTOP)
            await self.send(1 + self.random.randrange(20))
            if self.random.random() < 0.5:
                client.process.send_signal(signal.SIGCONT)
            client.process.kill()
            for event in await client.last_events():
                if event["event"] == "message":
                    self.book.took(event["id"], event["stanza_id"])
        await self.send(1)
        self.assertGreater(await self.read_all(), 0)

    async def test_clients_killed_with_unread_bytes(self):
        for name, make, options in (("libstrophe", self.strophe, ()),
                                    ("without stream management", self.strophe, ("--no-sm",)),
                                    ("xmpp.js", self.xmppjs, ())):
            with self.subTest(client=name, seed=self.seed):
                await self.rounds_of_killing(make, options)

    async def read_some(self, stream, sm):
        """It handles some of what comes; of that, it confirms some by stream management."""
        for _ in range(self.random.randrange(8)):
            message = await stream.next_message()
            self.book.took(message.get("id"), message.find(STANZA_ID).get("id"))
            if sm and self.random.random() < 0.2:
                stream.write(f"<a xmlns='urn:xmpp:sm:3' h='{stream.handled}'/>")

    async def rounds_of_cutting(self, sm):
        await self.begin()
        for _ in range(self.ROUNDS):
            self.book.session()
            await self.send(8)  # some may have been confirmed, and not come to be read here
            stream = await self.raw_login(self.user, resource="r", sm=sm)
            await self.read_some(stream, sm)
            with cut_port(stream.writer.get_extra_info("sockname")[1]):
                await self.send(self.random.randrange(20))
                stream.reset()
                if self.random.random() < 0.5:  # the old one is still there for the server
                    await self.read_all()
        await self.send(1)
        self.assertGreater(await self.read_all(), 0)

    async def test_a_network_that_is_cut(self):
        for sm in (True, False):
            with self.subTest(sm=sm, seed=self.seed):
                await self.rounds_of_cutting(sm)
