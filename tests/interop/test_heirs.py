# SPDX-License-Identifier: Apache-2.0
"""What a session leaves of its own when it ends is for those of its account that stay (RFC 6121,
section 8.5.3.2.1; XEP-0198, section 5)."""

from base import InteropTest
from raw import CLIENT

DELAY = "{urn:xmpp:delay}delay"
SID = "{urn:xmpp:sid:0}stanza-id"
ENABLE = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"


class Heirs(InteropTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        a, self.user = self.broker.users(2)
        self.sender = await self.raw_login(a)

    async def here(self, resource, **kwargs):
        return await self.raw_login(self.user, resource=resource, sm=True, **kwargs)

    def say(self, stream, ids):
        for message_id in ids:
            self.sender.message(stream.jid, message_id, message_id)

    async def came(self, stream):
        return [e.get("id") for e in await stream.fence() if e.tag == CLIENT + "message"]

    async def take(self, stream, count):
        return [await stream.next_message() for _ in range(count)]

    async def test_what_was_not_confirmed_comes_to_the_other(self):
        desk, phone = await self.here("desk"), await self.here("phone")
        for i in range(10):
            self.say(desk, [f"m{i}"])
            self.sender.message(self.jid(self.user), f"all{i}", "for both")
        of_desk = await self.take(desk, 20)
        self.assertEqual([m.get("id") for m in await self.take(phone, 10)],
                         [f"all{i}" for i in range(10)])
        desk.handled -= 14  # m0, all0, m1, all1, m2, all2
        await desk.acknowledge()
        await phone.acknowledge()
        desk.reset()
        left = await self.take(phone, 7)
        self.assertEqual([m.get("id") for m in left], [f"m{i}" for i in range(3, 10)])
        ids = {m.get("id"): m.find(SID).get("id") for m in of_desk}
        for message in left:
            self.assertEqual(message.find(SID).get("id"), ids[message.get("id")])
            self.assertIsNotNone(message.find(DELAY))
        # The desk is gone: what is for it now comes behind that.
        self.say(desk, ["late"])
        await self.sender.ping()
        self.assertEqual(await self.came(phone), ["late"])
        await phone.acknowledge()
        self.assertEqual(await self.came(await self.here("later")), [])

    async def test_nothing_confirmed_comes_again(self):
        desk, phone = await self.here("desk"), await self.here("phone")
        self.say(desk, ["m0", "m1"])
        await self.take(desk, 2)
        await desk.acknowledge()
        await desk.end()
        self.say(desk, ["after"])
        await self.sender.ping()
        self.assertEqual(await self.came(phone), ["after"])

    async def test_who_becomes_unavailable_leaves_it_too(self):
        desk, phone = await self.here("desk"), await self.here("phone")
        self.say(desk, ["m0", "m1"])
        await self.take(desk, 2)
        desk.write("<presence type='unavailable'/>")
        self.assertEqual([m.get("id") for m in await self.take(phone, 2)], ["m0", "m1"])
        await phone.acknowledge()
        await desk.end()
        self.assertEqual(await self.came(phone), [])

    async def test_each_heir_gets_it_once(self):
        desk = await self.here("desk")
        others = [await self.here(f"other{i}") for i in range(3)]
        shy = await self.here("shy", presence=False)
        await shy.announce(-1)
        self.say(desk, [f"m{i}" for i in range(40)])
        await self.take(desk, 40)
        desk.reset()
        for other in others:
            self.assertEqual([m.get("id") for m in await self.take(other, 40)],
                             [f"m{i}" for i in range(40)])
        await others[0].end()  # it has not confirmed what it inherited, and neither have the others
        for other in others[1:]:
            self.assertEqual(await self.came(other), [])
        self.assertEqual(await self.came(shy), [])

    async def test_one_after_the_other(self):
        """Of two that end, each leaves its own; who was away looks after them when it is back."""
        desk, sofa, phone = [await self.here(name) for name in ("desk", "sofa", "phone")]
        for i in range(5):
            self.say(desk, [f"desk{i}"])
            self.say(sofa, [f"sofa{i}"])
        self.sender.message(self.jid(self.user), "all", "and one for all")
        for stream in (desk, sofa):
            await self.take(stream, 6)
        await self.take(phone, 1)
        await phone.announce(-1)
        desk.reset()
        sofa.reset()
        await self.only(phone)
        await phone.announce(0)
        came = [m.get("id") for m in await self.take(phone, 10)]
        for name in ("desk", "sofa"):
            self.assertEqual([i for i in came if name in i], [f"{name}{i}" for i in range(5)])
        self.assertEqual(await self.came(phone), [])

    async def only(self, stream):
        """Waits until the server has noticed that the others are gone."""
        while len(self.broker.ctl("session", "list", "--account", self.user)["sessions"]) > 1:
            await stream.fence()

    async def test_a_stream_that_nobody_resumes(self):
        phone = await self.here("phone")
        desk = await self.raw_login(self.user, resource="desk", presence=False)
        desk.write(ENABLE)
        await desk.until("{urn:xmpp:sm:3}enabled")
        await desk.announce()
        self.say(desk, ["m0", "m1", "m2"])
        await self.take(desk, 3)
        desk.reset()
        self.say(desk, ["m3"])
        await self.sender.ping()
        self.assertEqual(await self.came(phone), [])  # it may come back for them
        await self.here("desk", presence=False)  # and does not: its resource is another's
        self.assertEqual([m.get("id") for m in await self.take(phone, 4)],
                         ["m0", "m1", "m2", "m3"])
