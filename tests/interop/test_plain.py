# SPDX-License-Identifier: Apache-2.0
"""SASL PLAIN, for a broker whose configuration allows it without TLS."""

from base import InteropTest
from raw import SASL, local


class Plain(InteropTest):
    async def test_slixmpp(self):
        client = self.slix(self.broker.user(), mechanism="PLAIN", plain=True)
        self.assertEqual(await client.try_login(), "online")
        await client.leave()

    async def test_slixmpp_wrong_password(self):
        client = self.slix(self.broker.user(), password="wrong", mechanism="PLAIN", plain=True)
        self.assertEqual(await client.try_login(), "not-authorized")

    async def test_offered_last(self):
        stream = await self.raw()
        features = await stream.features()
        offered = [m.text for m in features.find(SASL + "mechanisms")]
        self.assertEqual(offered[-1], "PLAIN")
        self.assertIn("SCRAM-SHA-256", offered)

    async def _plain(self, message):
        stream = await self.raw()
        await stream.features()
        stream.auth("PLAIN", message)
        return await stream.next()

    async def test_authorization_as_oneself(self):
        user = self.broker.user()
        answer = await self._plain(f"{self.jid(user)}\0{user}\0{self.broker.password}")
        self.assertEqual(answer.tag, SASL + "success")

    async def test_refusals(self):
        user, other = self.broker.users(2)
        password = self.broker.password
        for message, conditions in (
                (f"\0{user}\0wrong", {"not-authorized"}),
                ("\0nobody-of-that-name\0wrong", {"not-authorized"}),
                (f"{self.jid(other)}\0{user}\0{password}", {"invalid-authzid", "not-authorized"}),
                (f"\0{user}", {"malformed-request"}),
                ("", {"malformed-request"}),
                (f"\0{user}\0", {"malformed-request", "not-authorized"}),
                (f"\0{user}\0{password}\0more", {"malformed-request", "not-authorized"}),
                (b"\0u\xff\0" + password.encode(), {"malformed-request", "not-authorized"}),
                (f"\0{user}\0{'x' * 3000}", {"malformed-request", "not-authorized"})):
            with self.subTest(message=message[:40]):
                answer = await self._plain(message)
                if answer.tag == SASL + "challenge":  # an empty initial response
                    continue
                self.assertEqual(answer.tag, SASL + "failure")
                self.assertIn(local(answer[0]), conditions)

    async def test_scram_beside_it(self):
        client = self.slix(self.broker.user(), mechanism="SCRAM-SHA-256")
        self.assertEqual(await client.try_login(), "online")
