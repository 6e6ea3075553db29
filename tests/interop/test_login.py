# SPDX-License-Identifier: Apache-2.0
"""Streams, SASL, resource binding, and what a fresh session asks (RFC 6120, RFC 6121, XEP-0030)."""

import base64

from base import InteropTest
from raw import BIND, CLIENT, SASL, SM, STANZA_ERRORS, STREAM, local
from scram import Scram


def failure_of(answer):
    """The condition of a SASL failure."""
    assert answer.tag == SASL + "failure", answer.tag
    return local(answer[0])


def condition_of(stanza):
    """The condition of a stanza error."""
    error = stanza.find(CLIENT + "error")
    assert stanza.get("type") == "error" and error is not None, stanza.attrib
    return next(local(child) for child in error if child.tag.startswith(STANZA_ERRORS))


class Login(InteropTest):
    async def test_slixmpp_scram_sha_256(self):
        client = self.slix(self.broker.user(), mechanism="SCRAM-SHA-256")
        self.assertEqual(await client.try_login(), "online")
        await client.leave()

    async def test_slixmpp_scram_sha_1(self):
        client = self.slix(self.broker.user(), mechanism="SCRAM-SHA-1")
        self.assertEqual(await client.try_login(), "online")
        await client.leave()

    async def test_libstrophe(self):
        user = self.broker.user()
        client = self.strophe(user)
        await client.login()
        self.assertTrue(client.jid.startswith(self.jid(user) + "/"))
        await client.leave()

    async def test_slixmpp_wrong_password(self):
        client = self.slix(self.broker.user(), password="wrong", mechanism="SCRAM-SHA-256")
        self.assertEqual(await client.try_login(), "not-authorized")

    async def test_libstrophe_wrong_password(self):
        client = await self.strophe(self.broker.user(), password="wrong").start()
        self.assertEqual((await client.event())["event"], "disconnected")

    async def test_wrong_password_and_unknown_user_look_the_same(self):
        known, unknown = await self.raw(), await self.raw()
        await known.features()
        await unknown.features()
        self.assertEqual(failure_of(await known.scram(self.broker.user(), "wrong")),
                         "not-authorized")
        self.assertEqual(failure_of(await unknown.scram("nobody-of-that-name", "wrong")),
                         "not-authorized")

    async def _challenge_for(self, user):
        stream = await self.raw()
        await stream.features()
        stream.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", user, "x").first())
        text = base64.b64decode((await stream.expect(SASL + "challenge")).text).decode()
        return dict(part.split("=", 1) for part in text.split(","))

    async def test_unknown_user_has_a_stable_salt_of_the_usual_form(self):
        known = await self._challenge_for(self.broker.user())
        first = await self._challenge_for("nobody-of-that-name")
        again = await self._challenge_for("nobody-of-that-name")
        other = await self._challenge_for("somebody-else-unknown")
        self.assertEqual(first["s"], again["s"])
        self.assertNotEqual(first["s"], other["s"])
        self.assertEqual(len(first["s"]), len(known["s"]))
        self.assertEqual(first["i"], known["i"])

    async def test_nonces_differ(self):
        user = self.broker.user()
        self.assertNotEqual((await self._challenge_for(user))["r"],
                            (await self._challenge_for(user))["r"])

    async def test_features_before_login(self):
        stream = await self.raw()
        features = await stream.features()
        offered = [m.text for m in features.find(SASL + "mechanisms")]
        self.assertIn("SCRAM-SHA-256", offered)
        self.assertIn("SCRAM-SHA-1", offered)
        self.assertLess(offered.index("SCRAM-SHA-256"), offered.index("SCRAM-SHA-1"))
        self.assertIsNone(features.find(BIND + "bind"))
        self.assertEqual(stream.header.get("from"), self.broker.domain)
        self.assertEqual(stream.header.get("version"), "1.0")
        self.assertTrue(stream.header.get("id"))

    async def test_stream_ids_differ(self):
        ids = set()
        for _ in range(3):
            stream = await self.raw()
            await stream.features()
            ids.add(stream.header.get("id"))
        self.assertEqual(len(ids), 3)

    async def test_features_after_login(self):
        stream = await self.raw()
        features = await stream.authenticate(self.broker.user())
        self.assertIsNotNone(features.find(BIND + "bind"))
        self.assertIsNotNone(features.find(SM + "sm"))
        self.assertIsNone(features.find(SASL + "mechanisms"))

    async def test_unknown_mechanism(self):
        stream = await self.raw()
        await stream.features()
        stream.auth("X-NOT-A-MECHANISM", "")
        self.assertEqual(failure_of(await stream.next()), "invalid-mechanism")

    async def test_another_try_on_the_same_stream(self):
        stream = await self.raw()
        user = self.broker.user()
        await stream.features()
        self.assertEqual(failure_of(await stream.scram(user, "wrong")), "not-authorized")
        self.assertEqual((await stream.scram(user)).tag, SASL + "success")

    async def test_abort(self):
        stream = await self.raw()
        await stream.features()
        stream.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", self.broker.user(), "x").first())
        await stream.expect(SASL + "challenge")
        stream.write("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(failure_of(await stream.next()), "aborted")

    async def test_bad_base64(self):
        stream = await self.raw()
        await stream.features()
        stream.write("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"
                     "!!not base64!!</auth>")
        self.assertEqual(failure_of(await stream.next()), "incorrect-encoding")

    async def test_malformed_scram(self):
        for first in ("", "n,,", "n,,r=abc", "n,,n=,r=abc", "p=tls-unique,,n=u0,r=abc",
                      "n,,n=u0,r=" + "a" * 5000, "n,,m=ext,n=u0,r=abc", "garbage"):
            with self.subTest(first=first[:30]):
                stream = await self.raw()
                await stream.features()
                stream.auth("SCRAM-SHA-256", first)
                answer = await stream.next()
                if answer.tag == SASL + "challenge":  # an empty initial response
                    stream.respond("garbage")
                    answer = await stream.next()
                self.assertIn(failure_of(answer), ("malformed-request", "not-authorized"))

    async def test_proof_for_another_nonce(self):
        stream = await self.raw()
        await stream.features()
        exchange = Scram("SCRAM-SHA-256", self.broker.user(), self.broker.password)
        stream.auth("SCRAM-SHA-256", exchange.first())
        challenge = base64.b64decode((await stream.expect(SASL + "challenge")).text).decode()
        final = exchange.final(challenge)
        at = final.index("r=") + 2
        swapped = "A" if final[at] != "A" else "B"
        stream.respond(final[:at] + swapped + final[at + 1:])
        self.assertIn(failure_of(await stream.next()), ("not-authorized", "malformed-request"))

    async def test_plain_is_refused(self):
        stream = await self.raw()
        features = await stream.features()
        offered = [m.text for m in features.find(SASL + "mechanisms")]
        self.assertNotIn("PLAIN", offered)
        stream.auth("PLAIN", f"\0{self.broker.user()}\0{self.broker.password}")
        self.assertIn(failure_of(await stream.next()),
                      ("invalid-mechanism", "encryption-required"))


class Binding(InteropTest):
    async def test_resource_of_the_servers_making(self):
        user = self.broker.user()
        first, second = await self.raw_login(user), await self.raw_login(user)
        self.assertTrue(first.jid.startswith(self.jid(user) + "/"))
        self.assertTrue(second.jid.startswith(self.jid(user) + "/"))
        self.assertNotEqual(first.jid, second.jid)

    async def test_resource_asked_for(self):
        user = self.broker.user()
        stream = await self.raw_login(user, resource="desk")
        self.assertEqual(stream.jid, self.jid(user) + "/desk")

    async def test_clashing_resource(self):
        """RFC 6120, section 7.7.2.2: refuse, end the old session, or give another resource; but
        never two sessions with one full JID."""
        user = self.broker.user()
        old = await self.raw_login(user, resource="desk")
        new = await self.raw()
        await new.authenticate(user)
        answer = await new.bind("desk")
        if new.jid is None:
            self.assertEqual(condition_of(answer), "conflict")
            await old.ping()
        elif new.jid == old.jid:
            self.assertEqual(await old.stream_error(), "conflict")
            await new.ping()
        else:
            await old.ping()
            await new.ping()

    async def test_a_clash_frees_the_resource_for_later(self):
        user = self.broker.user()
        first = await self.raw_login(user, resource="desk")
        await first.end()
        second = await self.raw_login(user, resource="desk")
        self.assertEqual(second.jid, self.jid(user) + "/desk")

    async def test_too_long_resource(self):
        stream = await self.raw()
        await stream.authenticate(self.broker.user())
        answer = await stream.bind("x" * 1024)
        self.assertIn(condition_of(answer), ("bad-request", "jid-malformed"))

    async def test_stanza_before_binding(self):
        stream = await self.raw()
        user = self.broker.user()
        await stream.authenticate(user)
        stream.message(self.jid(user), "early", "too early")
        self.assertEqual(await stream.stream_error(), "not-authorized")


class FreshSession(InteropTest):
    async def test_roster_is_empty(self):
        client = await self.slix(self.broker.user()).login(presence=False)
        answer = await client.get_roster(timeout=20)
        self.assertEqual(answer["type"], "result")
        self.assertEqual(len(answer["roster"]["items"]), 0)

    async def test_ping(self):
        client = await self.slix(self.broker.user()).login()
        await client["xep_0199"].send_ping(self.broker.domain, timeout=20)

    async def test_ping_without_to(self):
        stream = await self.raw_login(self.broker.user())
        stream.write("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer, _ = await stream.until(CLIENT + "iq", id="p")
        self.assertEqual(answer.get("type"), "result")

    async def test_disco_info(self):
        client = await self.slix(self.broker.user()).login()
        info = await client["xep_0030"].get_info(jid=self.broker.domain, local=False, timeout=20)
        identities = {(i[0], i[1]) for i in info["disco_info"]["identities"]}
        self.assertIn(("server", "im"), identities)
        for feature in ("http://jabber.org/protocol/disco#info",
                        "http://jabber.org/protocol/disco#items", "urn:xmpp:ping"):
            self.assertIn(feature, info["disco_info"]["features"])

    async def test_disco_items(self):
        client = await self.slix(self.broker.user()).login()
        items = await client["xep_0030"].get_items(jid=self.broker.domain, local=False, timeout=20)
        self.assertEqual(items["type"], "result")

    async def test_unknown_request(self):
        stream = await self.raw_login(self.broker.user())
        for kind in ("get", "set"):
            stream.write(f"<iq type='{kind}' id='q{kind}' to='{self.broker.domain}'>"
                         "<query xmlns='urn:example:unknown'/></iq>")
            answer, _ = await stream.until(CLIENT + "iq", id=f"q{kind}")
            self.assertIn(condition_of(answer), ("service-unavailable", "feature-not-implemented"))

    async def test_request_without_payload(self):
        stream = await self.raw_login(self.broker.user())
        stream.write("<iq type='get' id='empty'/>")
        answer, _ = await stream.until(CLIENT + "iq", id="empty")
        self.assertEqual(condition_of(answer), "bad-request")

    async def test_stray_results_are_ignored(self):
        stream = await self.raw_login(self.broker.user())
        stream.write(f"<iq type='result' id='stray' to='{self.broker.domain}'/>")
        stream.write(f"<iq type='error' id='stray' to='{self.broker.domain}'/>")
        self.assertEqual([e.get("id") for e in await stream.ping() if e.tag == CLIENT + "iq"], [])

    async def test_closing_in_order(self):
        stream = await self.raw_login(self.broker.user())
        stream.write("</stream:stream>")
        with self.assertRaises(Exception):
            while True:
                await stream.next()
        self.assertTrue(stream.ended)
        await stream.closed()
        self.assertIsNone(stream.header.find(STREAM + "error"))
