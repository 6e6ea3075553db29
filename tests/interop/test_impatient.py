# SPDX-License-Identifier: Apache-2.0
"""Who connects and never logs in, for a broker that gives a second for it (xmpp.auth_timeout_s=1): it is
told so and gone, its memory with it, and those who are logged in do not notice."""

import asyncio

from base import BystanderTest, eventually
from raw import SASL, RawStream
from scram import Scram

CONNECTIONS = 500
HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' to='{}' "
          "xmlns:stream='http://etherx.jabber.org/streams'>")


class Impatient(BystanderTest):
    def _connections(self):
        return self.broker.ctl("status")["connections"]

    def _arena_bytes(self):
        return sum(l["arena_used_bytes"] for l in self.broker.ctl("lcore", "stat")["lcores"])

    async def _timed_out(self, stream):
        self.assertEqual(await stream.stream_error(), "connection-timeout")

    async def test_silence(self):
        await self._timed_out(await self.raw())

    async def test_silence_after_the_header(self):
        stream = await self.raw()
        await stream.features()
        await self._timed_out(stream)

    async def test_silence_after_the_challenge(self):
        stream = await self.raw()
        await stream.features()
        stream.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", self.broker.user(), "x").first())
        await stream.expect(SASL + "challenge")
        await self._timed_out(stream)

    async def test_no_resource_after_the_login(self):
        stream = await self.raw()
        await stream.authenticate(self.broker.user())
        await self._timed_out(stream)

    async def test_byte_after_byte(self):
        """Each comes before the time is up, and none of them buys more of it."""
        stream = await self.raw()
        await stream.features()
        dripping = asyncio.ensure_future(self._drip(stream))
        try:
            await self._timed_out(stream)
        finally:
            dripping.cancel()

    async def _drip(self, stream):
        try:
            stream.write(f"<auth xmlns='{SASL[1:-1]}' mechanism='SCRAM-SHA-256'>")
            while True:
                stream.write("A")
                await stream.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass  # it had enough

    async def test_white_space_is_no_login(self):
        stream = await self.raw()
        await stream.features()
        stream.write(" " * 1000)
        await self._timed_out(stream)

    async def test_many_that_never_log_in(self):
        """While they are there, and half an element of each is kept, others talk and log in."""
        connections, arena = self._connections(), self._arena_bytes()
        crowd = []
        for number in range(CONNECTIONS):
            stream = await RawStream.connect(self.broker)
            self._streams.append(stream)
            crowd.append(stream)
            stream.write(HEADER.format(self.broker.domain) + "<auth " * (number % 2))
            if number % 250 == 0:
                await self._bystanders_talk()
                await self.raw_login(self.broker.user())
                connections += 1
        await self._bystanders_talk()
        for stream in crowd:
            await stream.closed()
            stream.reset()  # nor does TIME-WAIT keep them
        await eventually(lambda: self._connections() <= connections, "their connections are gone")
        await eventually(lambda: self._arena_bytes() <= arena + 65536, "their memory is free")
