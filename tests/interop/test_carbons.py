# SPDX-License-Identifier: Apache-2.0
"""Message carbons (XEP-0280) of a real client, over resumption, and in what order they come."""

from base import InteropTest
from raw import CLIENT, SM

CARBONS = "{urn:xmpp:carbons:2}"
FORWARD = "{urn:xmpp:forward:0}"
ENABLE = "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>"


def inside(message, direction):
    """The message that a carbon copy wraps."""
    copy = message.find(f"{CARBONS}{direction}/{FORWARD}forwarded/{CLIENT}message")
    assert copy is not None, f"no {direction} copy: {message.attrib}"
    return copy


class Carbons(InteropTest):
    async def enable(self, stream):
        stream.write(ENABLE)
        answer, _ = await stream.until(CLIENT + "iq", id="carbons")
        self.assertEqual(answer.get("type"), "result")

    async def test_slixmpp(self):
        a, b = self.broker.users(2)
        desk = self.slix(a, resource="desk")
        desk.register_plugin("xep_0280")
        await desk.login()
        await desk["xep_0280"].enable(timeout=20)
        copies = []
        for kind in ("received", "sent"):
            desk.add_event_handler(f"carbon_{kind}",
                                   lambda m, k=kind: copies.append((k, m[f"carbon_{k}"]["body"])))
        phone = await self.raw_login(a, resource="phone")
        peer = await self.raw_login(b)
        peer.message(phone.jid, "m1", "to the phone")
        await phone.next_message()
        phone.message(peer.jid, "m2", "from the phone")
        await peer.next_message()
        await phone.ping()
        peer.message(self.jid(a), "m3", "to both")
        self.assertEqual((await desk.next_message())["body"], "to both")
        self.assertEqual(copies, [("received", "to the phone"), ("sent", "from the phone")])

    async def test_kept_when_a_stream_is_resumed(self):
        a, b = self.broker.users(2)
        desk = await self.raw_login(a, presence=False)
        desk.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        previd = (await desk.expect(SM + "enabled", resume="true")).get("id")
        await desk.announce()
        await self.enable(desk)
        handled = desk.handled
        desk.reset()
        desk = await self.raw()
        await desk.authenticate(a)
        desk.write(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{handled}'/>")
        await desk.until(SM + "resumed")
        phone = await self.raw_login(a, presence=False)
        phone.message(self.jid(b), "m", "said on the phone")
        copy = inside(await desk.next_message(), "sent")
        self.assertEqual(copy.findtext(CLIENT + "body"), "said on the phone")

    async def test_in_the_order_in_which_they_were_sent(self):
        a, b = self.broker.users(2)
        peer = await self.raw_login(b, sm=True)
        desk = await self.raw_login(a)
        await self.enable(desk)
        phone = await self.raw_login(a, presence=False)
        for i in range(100):
            phone.message(peer.jid, f"m{i}", "one of many")
            if i % 10 == 0:
                phone.write(f"<message to='{peer.jid}' type='chat' id='s{i}'>"
                            "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        wanted = [n for i in range(100) for n in ([f"m{i}", f"s{i}"] if i % 10 == 0 else [f"m{i}"])]
        copies = [inside(await desk.next_message(), "sent").get("id") for _ in wanted]
        self.assertEqual(copies, wanted)
        self.assertEqual([(await peer.next_message()).get("id") for _ in wanted], wanted)

    async def test_a_large_message_is_copied_whole(self):
        a, b = self.broker.users(2)
        desk = await self.raw_login(a)
        await self.enable(desk)
        phone = await self.raw_login(a, presence=False)
        phone.message(self.jid(b), "large", "x" * 200_000)
        copy = inside(await desk.next_message(), "sent")
        self.assertEqual(len(copy.findtext(CLIENT + "body")), 200_000)
