# SPDX-License-Identifier: Apache-2.0
"""Servers of the kernel, and our stack as the client."""

import asyncio
import unittest

import ours
import wires
from cable import KERNEL

CHUNK = 65536
REQUEST_BYTES = 64
RANGE = "10.78.0.128/26"  # on the cable


class Server:
    """Counts connections that have come, and those that have ended in order."""

    def __init__(self, serve):
        self.begun = self.ended = self.bytes = 0
        self._serve = serve

    async def open(self, family):
        self._server = await asyncio.start_server(self._one, KERNEL[family], ours.PORT,
                                                  backlog=1024)
        return self

    async def _one(self, reader, writer):
        self.begun += 1
        try:
            await self._serve(self, reader, writer)
            writer.close()
            await writer.wait_closed()
            self.ended += 1
        except ConnectionError:
            pass  # not counted as ended
        finally:
            writer.transport.abort()

    async def all_ended(self):
        for _ in range(ours.WAIT_S * 20):
            if self.ended == self.begun:
                return self.ended
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.ended} of {self.begun} have ended")

    def close(self):
        self._server.close()


async def echo(server, reader, writer):
    while chunk := await reader.read(CHUNK):
        server.bytes += len(chunk)
        writer.write(chunk)
        await writer.drain()


async def echo_once(server, reader, writer):
    """Closes its side after the answer, and waits for the client's end."""
    writer.write(await reader.readexactly(REQUEST_BYTES))
    writer.write_eof()
    if await reader.read(1):
        raise ConnectionError("more than one request")


async def discard(server, reader, writer):
    while chunk := await reader.read(CHUNK):
        server.bytes += len(chunk)


class Base:
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # it is several times slower

    async def serve(self, how):
        laid = self.wire.lay()
        self.addCleanup(self.wire.check, laid)
        server = await Server(how).open(self.family)
        self.addCleanup(server.close)
        return server

    async def connections(self, how, *options):
        server = await self.serve(how)
        count = self.wire.short_count
        figures = await ours.load(self.family, "connect", "--total", str(count), "--bytes",
                                  str(REQUEST_BYTES), "--deadline", "60", *options)
        self.assertEqual((figures["done"], figures["opened"]), (count, count))
        self.assertEqual((figures["lost"], figures["altered"], figures["connections"]), (0, 0, 0))
        self.assertEqual(server.begun, count)
        self.figures = figures
        return server


class Client(Base):
    async def test_connections_that_we_close(self):
        server = await self.connections(echo)
        self.assertEqual(server.bytes, self.wire.short_count * REQUEST_BYTES)

    async def test_connections_that_the_server_closes(self):
        server = await self.connections(echo_once, "--server-closes")
        self.assertEqual(await server.all_ended(), self.wire.short_count)

    async def test_requests_of_many_segments(self):
        server = await self.serve(echo)
        figures = await ours.load(self.family, "echo", "--connections", "8", "--bytes", "50000",
                                  "--warmup", "0", "--measure", "700")
        self.assertGreater(figures["done"], 0)
        self.assertEqual((figures["lost"], figures["altered"]), (0, 0))
        self.assertGreaterEqual(server.bytes, figures["done"] * 50000)

    async def test_bulk(self):
        server = await self.serve(discard)
        figures = await ours.load(self.family, "bulk", "--connections", "2", "--bytes", "60000",
                                  "--warmup", "0", "--measure", "700")
        self.assertEqual(figures["lost"], 0)
        acked = figures["gbit_per_second"] * 1e9 / 8 * figures["seconds"]
        self.assertGreater(acked, self.wire.bulk_bytes / 8)
        # What the kernel has acknowledged, its user can read.
        while server.bytes < acked - 1:
            await asyncio.sleep(0.01)


class TwoLcores(Base, unittest.IsolatedAsyncioTestCase):
    """Each opens connections whose answers come to it: a segment at the other one, which does not know
    it, would be answered by a reset."""

    wire, family = wires.Clean(), 4

    async def check(self, queues):
        await self.connections(echo, "--lcores", "2", "--queues", queues, "--range", RANGE)

    async def test_that_share_a_queue(self):
        # One of them has the queue and keeps what is its own; the other gets its segments from it: an
        # answer to its SYN, text, and FIN, of half of the connections.
        await self.check("1")
        self.assertGreater(self.figures["handed_over"], self.wire.short_count)
        self.assertLess(self.figures["handed_over"], 3 * self.wire.short_count)

    async def test_with_queues_that_the_kernel_fills_as_it_likes(self):
        await self.check("2")


for _wire in (wires.Clean, wires.Lossy, wires.Scrambled):
    for _family in (4, 6):
        _name = f"{_wire.__name__}V{_family}"
        globals()[_name] = type(_name, (Client, unittest.IsolatedAsyncioTestCase), {
            "wire": _wire(), "family": _family, "__module__": __name__})
