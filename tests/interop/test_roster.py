# SPDX-License-Identifier: Apache-2.0
"""Rosters and presence: limits, many changes at once, and a client that knows nothing of our tests."""

import asyncio

from base import BystanderTest, InteropTest, eventually
from raw import CLIENT, STANZA_ERRORS, local

ROSTER = "{jabber:iq:roster}"


class Limits(BystanderTest):
    async def _set(self, stream, number, name):
        stream.write(f"<iq type='set' id='s{number}'><query xmlns='jabber:iq:roster'>"
                     f"<item jid='c{number}@{self.broker.domain}' name='{name}'/></query></iq>")
        answer, _ = await stream.until(CLIENT + "iq", id=f"s{number}")
        if answer.get("type") == "result":
            return None
        error = answer.find(CLIENT + "error")
        return next(local(e) for e in error if e.tag.startswith(STANZA_ERRORS))

    async def _items(self, stream):
        stream.write("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        answer, _ = await stream.until(CLIENT + "iq", id="r")
        return {e.get("jid"): e.get("name") for e in answer.iter(ROSTER + "item")}

    async def test_bytes(self):
        """64 KiB by default: what goes over them is refused, and changes nothing."""
        user = self.broker.user()
        stream = await self.raw_login(user)
        name = "n" * 1000
        taken = 0
        while (why := await self._set(stream, taken, name)) is None:
            taken += 1
            self.assertLess(taken, 66)
        self.assertEqual(why, "resource-constraint")
        self.assertGreater(taken, 60)
        self.assertEqual(await self._set(stream, 0, name + "n" * 20), None)  # there is some room
        self.assertEqual(await self._set(stream, taken, "n"), None)
        items = await self._items(await self.raw_login(user))
        self.assertEqual(len(items), taken + 1)
        self.assertEqual(len(items[f"c0@{self.broker.domain}"]), 1020)

    async def test_names(self):
        stream = await self.raw_login(self.broker.user())
        self.assertEqual(await self._set(stream, 1, "n" * 1023), None)
        self.assertEqual(await self._set(stream, 2, "n" * 1024), "not-acceptable")
        self.assertEqual(await self._set(stream, 3, "&amp;" * 1023), None)
        items = await self._items(stream)
        self.assertEqual(items[f"c3@{self.broker.domain}"], "&" * 1023)
        self.assertEqual(len(items), 2)

    async def test_a_presence_that_is_too_large(self):
        stream = await self.raw_login(self.broker.user())
        stream.write(f"<presence id='p'><status>{'x' * 20000}</status></presence>")
        answer = await stream.expect(CLIENT + "presence", type="error", id="p")
        self.assertIsNotNone(answer.find(f"{CLIENT}error/{STANZA_ERRORS}policy-violation"))

    async def test_requests_of_strangers(self):
        """What is asked again and again is kept, and delivered, once."""
        a, b = self.broker.users(2)
        asker = await self.raw_login(a)
        for i in range(50):
            asker.write(f"<presence type='subscribe' to='{self.jid(b)}' id='p{i}'/>")
        await asker.ping()
        asked = await self.raw_login(b, presence=False)
        await asked.announce()
        came = [e for e in await asked.fence() if e.get("type") == "subscribe"]
        self.assertEqual([e.get("from") for e in came], [self.jid(a)])


class Contacts(BystanderTest):
    async def _befriend(self, user, contact):
        """The contact gets what the user shows. Both are streams."""
        contact.write(f"<presence type='subscribe' to='{self.jid(user[0])}'/>")
        await user[1].until(CLIENT + "presence", type="subscribe")
        user[1].write(f"<presence type='subscribed' to='{contact.jid.partition('/')[0]}'/>")
        await contact.until(CLIENT + "presence", type="subscribed")

    async def test_who_flaps_costs_little_and_is_seen_as_it_is_in_the_end(self):
        names = self.broker.users(9)
        user = (names[0], await self.raw_login(names[0]))
        contacts = [await self.raw_login(name) for name in names[1:]]
        for contact in contacts:
            await self._befriend(user, contact)
        user[1].write("".join(f"<presence><status>{i}</status></presence>" for i in range(500)))
        for contact in contacts:
            seen = []
            while not seen or seen[-1] != 499:
                element, _ = await contact.until(CLIENT + "presence", **{"from": user[1].jid})
                status = element.findtext(CLIENT + "status")
                seen += [int(status)] if status else []
            self.assertEqual(seen, sorted(set(seen)), "never an older one behind a newer one")
        user[1].reset()
        for contact in contacts:
            await contact.until(CLIENT + "presence", type="unavailable", **{"from": user[1].jid})


class Slixmpp(InteropTest):
    async def test_two_become_contacts(self):
        a, b = self.broker.users(2)
        first, second = self.slix(a), self.slix(b)
        for client in (first, second):  # it accepts requests and asks back by itself
            await client.login()
            await client.get_roster(timeout=20)
        first.send_presence_subscription(pto=self.jid(b))
        for client, other in ((first, self.jid(b)), (second, self.jid(a))):
            item = client.client_roster[other]
            await eventually(lambda item=item: item["subscription"] == "both", "both are subscribed")
            await eventually(lambda item=item: bool(item.resources), "presence of the other")
        await asyncio.wait_for(first.del_roster_item(self.jid(b)), 20)
        item = second.client_roster[self.jid(a)]
        await eventually(lambda: item["subscription"] == "none", "both are not")
