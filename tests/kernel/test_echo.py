# SPDX-License-Identifier: Apache-2.0
"""Clients of the kernel, and our stack as the server."""

import asyncio
import hashlib
import random
import unittest

import ours
import wires
from cable import OURS

AT_ONCE = 64
CHUNK = 65536
LATE_BYTES = 1_000_000  # sent after the other side has closed


def content(seed, length):
    return random.Random(seed).randbytes(length)


async def digest_until_end(reader):
    digest, length = hashlib.sha256(), 0
    while chunk := await reader.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
    return length, digest.hexdigest()


class Server:
    """What each of the tests below has; the subclasses say over which wire and family."""

    options = ()

    def setUp(self):
        self.laid = self.wire.lay()
        self.addCleanup(self.wire.check, self.laid)
        self.echo = ours.Echo(self.family, *self.options)
        self.addCleanup(lambda: self.assertEqual(self.echo.close(), 0))

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # it is several times slower

    async def open(self):
        return await asyncio.open_connection(OURS[self.family], ours.PORT)

    async def many(self, once):
        """Runs once() as often as the wire says, AT_ONCE at a time; nothing is left behind."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(number):
            async with turn:
                await once(number)

        count = self.wire.short_count
        await asyncio.gather(*(one(number) for number in range(count)))
        self.assertEqual((await self.echo.idle())["accepted"], count)


class Answers(Server):
    async def test_bulk_both_ways_and_the_client_closes_first(self):
        """It closes its side when all is sent: what is still under way to it comes all the same."""
        async def once(number):
            sent = content(number, self.wire.bulk_bytes)
            reader, writer = await self.open()
            answer = asyncio.create_task(digest_until_end(reader))
            writer.write(sent)
            writer.write_eof()
            self.assertEqual(await answer, (len(sent), hashlib.sha256(sent).hexdigest()))
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(once(number) for number in range(2)))
        self.assertEqual((await self.echo.idle())["bytes_in"], 2 * self.wire.bulk_bytes)

    async def test_short_connections_that_the_client_closes(self):
        async def once(number):
            sent = content(number, 100)
            reader, writer = await self.open()
            writer.write(sent)
            self.assertEqual(await reader.readexactly(len(sent)), sent)
            writer.close()
            await writer.wait_closed()

        await self.many(once)


class Reset(Server):
    """By clients, with something under way in both directions. Not where segments are
    lost: an RST that nothing follows leaves a connection that only keepalive ends."""

    async def test_resets(self):
        async def once(number):
            reader, writer = await self.open()
            writer.write(content(number, 20000))
            await reader.readexactly(1)
            writer.transport.abort()

        await self.many(once)


class ClosesFirst(Server):
    options = ("--close-first",)

    async def test_short_connections_that_we_close(self):
        async def once(number):
            sent = content(number, 100)
            reader, writer = await self.open()
            writer.write(sent)
            self.assertEqual(await reader.read(), sent)
            writer.close()
            await writer.wait_closed()

        await self.many(once)
        sample = self.echo.sample()
        self.assertLessEqual(self.wire.short_count * 0.9, sample["time_wait"])

    async def test_what_comes_after_we_have_closed(self):
        async def once(number):
            reader, writer = await self.open()
            writer.write(b"first")
            self.assertEqual(await reader.read(), b"first")
            writer.write(content(number, LATE_BYTES))
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(once(number) for number in range(8)))
        self.assertEqual((await self.echo.idle())["bytes_in"], 8 * (len("first") + LATE_BYTES))


for _wire in (wires.Clean, wires.Lossy, wires.Scrambled):
    for _family in (4, 6):
        for _tests in (Answers, ClosesFirst) + ((Reset,) if _wire is not wires.Lossy else ()):
            _name = f"{_tests.__name__}{_wire.__name__}V{_family}"
            globals()[_name] = type(_name, (_tests, unittest.IsolatedAsyncioTestCase), {
                "wire": _wire(), "family": _family, "__module__": __name__})
