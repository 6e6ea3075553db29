# SPDX-License-Identifier: Apache-2.0
"""Connections that end badly, or never begin (RFC 9293), seen from the kernel's side."""

import asyncio
import socket

from base import BystanderTest
from raw import CLIENT, StreamEnd


class Connections(BystanderTest):
    async def test_refused_port(self):
        with self.assertRaises(ConnectionRefusedError):
            await asyncio.wait_for(asyncio.open_connection(self.broker.host, 5221), 20)

    async def test_reset_in_every_state_of_a_login(self):
        for stop in ("connected", "header", "challenge", "authenticated", "bound"):
            with self.subTest(stop=stop):
                user = self.broker.user()
                stream = await self.raw()
                if stop != "connected":
                    await stream.features()
                if stop == "challenge":
                    stream.auth("SCRAM-SHA-256", f"n,,n={user},r=abcdefghijk")
                    await stream.next()
                elif stop in ("authenticated", "bound"):
                    await stream.scram(user)
                    await stream.features()
                if stop == "bound":
                    await stream.bind("desk")
                stream.reset()
                # The account is free again: the same resource can be bound.
                again = await self.raw_login(user, resource="desk")
                await again.ping()

    async def test_reset_in_the_middle_of_a_stanza(self):
        stream = await self.raw_login(self.broker.user())
        stream.write("<message to='somebody'><body>half a mess")
        await stream.drain()
        stream.reset()

    async def test_messages_then_reset_are_not_undone(self):
        """Whatever was acknowledged before the reset arrives."""
        a, b = self.broker.users(2)
        sender = await self.raw_login(a, sm=True)
        for i in range(50):
            sender.message(self.jid(b), f"m{i}", "before the reset")
        await sender.ping()
        sender.reset()
        recipient = await self.raw_login(b)
        for i in range(50):
            self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")

    async def test_connect_and_reset_storm(self):
        for _ in range(20):
            streams = await asyncio.gather(*(self.raw() for _ in range(50)))
            for stream in streams:
                stream.reset()

    async def test_connect_and_close_storm(self):
        for _ in range(10):
            streams = await asyncio.gather(*(self.raw() for _ in range(50)))
            for stream in streams:
                stream.close()
                await stream.closed()

    async def test_login_and_leave_storm(self):
        users = self.broker.users(10)
        for _ in range(5):
            streams = await asyncio.gather(*(self.raw_login(user) for user in users))
            await asyncio.gather(*(stream.end() for stream in streams))

    async def test_close_without_ending_the_stream(self):
        user = self.broker.user()
        stream = await self.raw_login(user, resource="desk")
        stream.half_close()
        await stream.closed()
        again = await self.raw_login(user, resource="desk")
        self.assertEqual(again.jid, self.jid(user) + "/desk")

    async def test_half_closed_client_still_gets_its_answer(self):
        stream = await self.raw_login(self.broker.user())
        stream.write("<iq type='get' id='last'><ping xmlns='urn:xmpp:ping'/></iq>"
                     "</stream:stream>")
        stream.half_close()
        answer, _ = await stream.until(CLIENT + "iq", id="last")
        self.assertEqual(answer.get("type"), "result")
        with self.assertRaises(StreamEnd):
            await stream.next()
        self.assertTrue(stream.ended)

    async def test_a_reader_that_does_not_read(self):
        """Its window closes, its messages wait, and nobody else's do."""
        a, b = self.broker.users(2)
        sender, sleeper = await self.raw_login(a), await self.raw()
        sleeper.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                                           4096)
        await sleeper.login(b)
        sleeper.writer.transport.pause_reading()
        for i in range(300):
            sender.message(self.jid(b), f"m{i}", "x" * 4000)
        await sender.ping()
        await self._bystanders_talk()
        sleeper.writer.transport.resume_reading()
        for i in range(300):
            self.assertEqual((await sleeper.next_message()).get("id"), f"m{i}")

    async def test_big_stanzas_both_ways(self):
        stream = await self.raw_login(self.broker.user())
        for size in (1400, 1460, 1500, 10000, 100000, 200000):
            body = "".join(chr(97 + i % 26) for i in range(size))
            stream.message(stream.jid, f"b{size}", body)
            message = await stream.next_message()
            self.assertEqual(message.findtext(CLIENT + "body"), body)
