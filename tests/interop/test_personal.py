# SPDX-License-Identifier: Apache-2.0
"""vCards and private data (XEP-0054, XEP-0049): real clients, limits, two sessions at a time."""

import asyncio

from base import InteropTest
from raw import CLIENT
from test_login import condition_of

PRIVATE = "{jabber:iq:private}"


class Personal(InteropTest):
    async def ask(self, stream, kind, name, payload):
        stream.write(f"<iq type='{kind}' id='{name}'>{payload}</iq>")
        answer, _ = await stream.until(CLIENT + "iq", id=name)
        return answer

    async def test_slixmpp_vcard(self):
        a, b = self.broker.users(2)
        romeo, juliet = self.slix(a), self.slix(b)
        for client in (romeo, juliet):
            client.register_plugin("xep_0054")
            await client.login()
        card = romeo["xep_0054"].make_vcard()
        card["FN"] = "Romeo Montague"
        await romeo["xep_0054"].publish_vcard(card, timeout=20)
        seen = await juliet["xep_0054"].get_vcard(self.jid(a), timeout=20)
        self.assertEqual(seen["vcard_temp"]["FN"], "Romeo Montague")

    async def test_a_large_one_is_kept_a_larger_one_refused(self):
        stream = await self.raw_login(self.broker.user(), presence=False)
        card = "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>{}</BINVAL></PHOTO></vCard>"
        answer = await self.ask(stream, "set", "fits", card.format("A" * 65_000))
        self.assertEqual(answer.get("type"), "result")
        answer = await self.ask(stream, "set", "bomb", card.format("B" * 65_600))
        self.assertEqual(condition_of(answer), "policy-violation")
        answer = await self.ask(stream, "get", "kept", "<vCard xmlns='vcard-temp'/>")
        self.assertEqual("".join(answer.itertext()), "A" * 65_000)

    async def test_private_data_has_limits_of_number_and_bytes(self):
        stream = await self.raw_login(self.broker.user(), presence=False)
        many = "".join(f"<a xmlns='urn:example:{i}'/>" for i in range(64))
        query = "<query xmlns='jabber:iq:private'>{}</query>"
        self.assertEqual((await self.ask(stream, "set", "many", query.format(many))).get("type"),
                         "result")
        answer = await self.ask(stream, "set", "more",
                                query.format("<a xmlns='urn:example:more'/>"))
        self.assertEqual(condition_of(answer), "policy-violation")
        answer = await self.ask(stream, "set", "bomb",
                                query.format(f"<a xmlns='urn:example:1'>{'x' * 65_500}</a>"))
        self.assertEqual(condition_of(answer), "policy-violation")
        answer = await self.ask(stream, "get", "kept", query.format("<a xmlns='urn:example:1'/>"))
        self.assertEqual(answer.find(PRIVATE + "query")[0].tag, "{urn:example:1}a")

    async def test_two_sessions_write_at_a_time_and_nothing_is_lost(self):
        user = self.broker.user()
        streams = [await self.raw_login(user, presence=False) for _ in range(2)]

        async def write(stream, first):
            for i in range(first, first + 10):
                while True:
                    answer = await self.ask(
                        stream, "set", f"w{i}", "<query xmlns='jabber:iq:private'>"
                        f"<a xmlns='urn:example:{i}'>{i}</a></query>")
                    if answer.get("type") == "result":
                        break
                    self.assertEqual(condition_of(answer), "resource-constraint")
        await asyncio.gather(write(streams[0], 0), write(streams[1], 10))
        for i in range(20):
            answer = await self.ask(streams[0], "get", f"r{i}", "<query xmlns='jabber:iq:private'>"
                                    f"<a xmlns='urn:example:{i}'/></query>")
            self.assertEqual("".join(answer.itertext()), str(i))

    async def test_requests_in_a_row_are_answered_in_their_order(self):
        stream = await self.raw_login(self.broker.user(), presence=False)
        for i in range(20):
            stream.write(f"<iq type='set' id='s{i}'><vCard xmlns='vcard-temp'><FN>{i}</FN></vCard></iq>"
                         f"<iq type='get' id='g{i}'><vCard xmlns='vcard-temp'/></iq>")
        for i in range(20):
            await stream.expect(CLIENT + "iq", id=f"s{i}", type="result")
            answer = await stream.expect(CLIENT + "iq", id=f"g{i}", type="result")
            self.assertEqual("".join(answer.itertext()), str(i))
