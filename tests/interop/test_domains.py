# SPDX-License-Identifier: Apache-2.0
"""Two domains on one broker (RFC 6120 section 4.7.2): for one whose xmpp.further_domains is second.test."""

import copy
import tempfile

from base import InteropTest
from raw import CLIENT, PING, SASL, RawStream
from scram import Scram
from test_login import condition_of, failure_of

SECOND = "second.test"


class Domains(InteropTest):
    _count = 0

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.second = copy.copy(self.broker)
        self.second.domain = SECOND
        self.user = self.broker.user()
        self.second.password = "capulet"
        Domains._count += 1
        self.other = f"juliet{Domains._count}"  # each test has one of its own
        self.juliet = f"{self.other}@{SECOND}"
        self._import(f"{self.other}@{SECOND.upper()} password:capulet")

    def _import(self, line):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(line + "\n")
            file.flush()
            self.broker.ctl("user", "import", file.name)

    async def _to_second(self):
        stream = await RawStream.connect(self.second)
        self._streams.append(stream)
        return stream

    async def _juliet(self, resource):
        return await (await self._to_second()).login(self.other, resource)

    async def test_the_stream_says_whose_it_is(self):
        stream = await self._to_second()
        await stream.features()
        self.assertEqual(stream.header.get("from"), SECOND)

    async def test_a_stream_without_to_is_of_the_first(self):
        stream = await self.raw()
        stream.write("<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' "
                     "xmlns:stream='http://etherx.jabber.org/streams'>")
        await stream.next()
        self.assertEqual(stream.header.get("from"), self.broker.domain)

    async def test_a_third_is_unknown(self):
        stream = await self.raw()
        stream.open_stream("third.test")
        self.assertEqual(await stream.stream_error(), "host-unknown")

    async def test_messages_reach_the_other_domain_and_come_back(self):
        romeo, juliet = await self.raw_login(self.user), await self._juliet("balcony")
        self.assertEqual(juliet.jid, self.juliet + "/balcony")
        romeo.message(self.juliet, "a", "over the wall")
        self.assertEqual((await juliet.next_message()).get("from"), romeo.jid)
        juliet.message(self.jid(self.user), "b", "who is there")
        self.assertEqual((await romeo.next_message()).get("from"), juliet.jid)

    async def test_a_message_waits_in_the_other_domain(self):
        romeo = await self.raw_login(self.user)
        romeo.message(self.juliet, "waiting", "later")
        await romeo.ping()
        juliet = await self._juliet("later")
        self.assertEqual((await juliet.next_message()).get("id"), "waiting")
        await juliet.ping()

    async def test_a_name_is_an_account_in_its_own_domain_only(self):
        """Neither logs in as the other, and what is for one is not for the other."""
        stream = await self._to_second()
        await stream.features()
        answer = await stream.scram(self.user, self.broker.password)
        self.assertEqual(failure_of(answer), "not-authorized")
        romeo = await self.raw_login(self.user)
        romeo.message(f"{self.user}@{SECOND}", "nobody", "are you me")
        answer, _ = await romeo.until(CLIENT + "message", id="nobody")
        self.assertEqual(condition_of(answer), "service-unavailable")

    async def test_an_authorization_identity_of_the_other_domain_is_refused(self):
        stream = await self._to_second()
        await stream.features()
        exchange = Scram("SCRAM-SHA-256", self.other, "capulet")
        stream.auth("SCRAM-SHA-256", f"n,a={self.other}@{self.broker.domain},{exchange.first_bare}")
        self.assertEqual(failure_of(await stream.next()), "invalid-authzid")

    async def test_the_domain_stays_when_the_stream_begins_anew(self):
        stream = await self._to_second()
        await stream.features()
        self.assertEqual((await stream.scram(self.other)).tag, SASL + "success")
        stream.open_stream(self.broker.domain)
        self.assertEqual(await stream.stream_error(), "host-unknown")

    async def test_both_servers_answer(self):
        juliet = await self._juliet("asking")
        for domain in (SECOND, self.broker.domain):
            juliet.write(f"<iq type='get' id='{domain}' to='{domain}'>"
                         f"<ping xmlns='{PING[1:-1]}'/></iq>")
            await juliet.until(CLIENT + "iq", id=domain, type="result", **{"from": domain})
        juliet.write("<iq type='get' id='far' to='third.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer, _ = await juliet.until(CLIENT + "iq", id="far")
        self.assertEqual(condition_of(answer), "remote-server-not-found")

    async def test_the_server_asks_in_the_name_of_the_users_domain(self):
        romeo, juliet = await self.raw_login(self.user), await self._juliet("quiet")
        juliet.answers_pings = False
        romeo.message(juliet.jid, "m", "received?")
        ping, _ = await juliet.until(CLIENT + "iq", type="get")
        self.assertEqual(ping.get("from"), SECOND)
        juliet.write(f"<iq type='result' id='{ping.get('id')}' to='{SECOND}'/>")
        await juliet.ping()

    async def test_stanza_ids_of_either_domain_are_not_for_clients_to_give(self):
        romeo, juliet = await self.raw_login(self.user), await self._juliet("ids")
        forged = "".join(f"<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='{by}'/>" for by in (
            self.juliet, self.juliet.upper(), self.jid(self.user),
            self.broker.domain.upper() + "."))
        romeo.message(juliet.jid, "forged", "mine", forged)
        given = (await juliet.next_message()).findall("{urn:xmpp:sid:0}stanza-id")
        self.assertEqual([(g.get("by"), g.get("id") == "x") for g in given],
                         [(self.juliet, False)])

    async def test_operators_name_the_domain(self):
        self.assertEqual(self.broker.ctl("status")["further_domains"], [SECOND])
        listed = self.broker.ctl("user", "list", "--prefix", f"{self.other}@")
        self.assertEqual([u["account"] for u in listed["accounts"]], [self.juliet])
