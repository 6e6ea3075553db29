# SPDX-License-Identifier: Apache-2.0
"""Accounts at home on each lcore, with connections on each: all ways from one to another are taken, and
which they are is asked of the broker. With one lcore there is one way."""

import itertools

from base import InteropTest
from raw import CLIENT, SM

TRIES = 40


class Cross(InteropTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.lcores = range(len(self.broker.ctl("lcore", "stat")["lcores"]))

    def edge(self, stream):
        """Which lcore has this connection."""
        address, port = stream.writer.get_extra_info("sockname")[:2]
        return self.broker.ctl("conn", "list", "--remote", f"{address}:{port}")["connections"][0]["lcore"]

    def home(self, user):
        """Which lcore has this account, of which one session is there."""
        return self.broker.ctl("session", "list", "--account", user)["sessions"][0]["lcore"]

    async def on_each_edge(self, user):
        """Sessions of this user by the lcore of their connection."""
        sessions = {}
        for i in range(TRIES):
            if len(sessions) == len(self.lcores):
                return sessions
            stream = await self.raw_login(user, resource=f"r{i}", sm=True)
            sessions.setdefault(self.edge(stream), stream)
        self.fail("all connections are on one lcore")

    async def everywhere(self):
        """Sessions by home and edge, of one account for each home."""
        found = {}
        for _ in range(TRIES):
            user = self.broker.user()
            sessions = await self.on_each_edge(user)
            home = self.home(user)
            found.update({(home, edge): stream for edge, stream in sessions.items()
                          if (home, edge) not in found})
            if len(found) == len(self.lcores) ** 2:
                return found
        self.fail("all accounts are on one lcore")

    async def test_all_ways(self):
        senders, recipients = await self.everywhere(), await self.everywhere()
        every = set(itertools.product(self.lcores, self.lcores))
        self.assertEqual((set(senders), set(recipients)), (every, every))
        for i in range(10):
            for way, sender in senders.items():
                for recipient in recipients.values():
                    sender.message(recipient.jid, f"{way}-{i}", "across")
        for sender in senders.values():
            await sender.ping()
        for recipient in recipients.values():
            came = [e.get("id") for e in await recipient.fence() if e.tag == CLIENT + "message"]
            for way in senders:
                self.assertEqual([i for i in came if i.startswith(f"{way}-")],
                                 [f"{way}-{i}" for i in range(10)])

    async def test_a_stream_goes_on_from_each_lcore(self):
        a, b = self.broker.users(2)
        friend = await self.raw_login(a)
        stream = await self.raw_login(b, presence=False)
        stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        previd = (await stream.expect(SM + "enabled")).get("id")
        await stream.announce()
        seen, count = set(), 0
        for _ in range(TRIES):
            seen.add(self.edge(stream))
            if len(seen) == len(self.lcores):
                return
            handled = stream.handled
            friend.message(self.jid(b), f"m{count}", "on its way")
            stream = await self.raw()
            await stream.authenticate(b)
            stream.write(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{handled}'/>")
            await stream.expect(SM + "resumed")
            stream.handled = handled
            self.assertEqual((await stream.next_message()).get("id"), f"m{count}")
            count += 1
        self.fail("all connections are on one lcore")
