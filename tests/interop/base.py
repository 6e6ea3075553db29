# SPDX-License-Identifier: Apache-2.0
"""What every interop test has: a broker, users of its own, and two bystanders who must not notice."""

import asyncio
import unittest

import clients
import sandbox
from raw import RawStream, WAIT_S

__all__ = ["InteropTest", "BystanderTest", "WAIT_S", "eventually"]


async def eventually(condition, what):
    """Waits until condition() is true. For what can only be asked for, not waited on."""
    for _ in range(WAIT_S * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}")


class InteropTest(unittest.IsolatedAsyncioTestCase):
    """Clients made by its methods are closed when the test ends, however it does."""

    async def asyncSetUp(self):
        self.broker = sandbox.current
        self._streams = []
        self._slix = []
        self._programs = []

    async def asyncTearDown(self):
        for client in self._slix:
            client.abort()
        for client in self._programs:
            await client.kill()
        for stream in self._streams:
            stream.writer.transport.abort()

    async def raw(self):
        stream = await RawStream.connect(self.broker)
        self._streams.append(stream)
        return stream

    async def raw_login(self, user, **kwargs):
        return await (await self.raw()).login(user, **kwargs)

    async def store_for_absent(self, count):
        """A sender, and a recipient who was away while that many messages came."""
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        for i in range(count):
            sender.message(self.jid(b), f"m{i}", f"waiting {i}")
        await sender.ping()  # its answer says that they are durable
        return sender, b

    def slix(self, user, **kwargs):
        client = clients.Slix(self.broker, user, **kwargs)
        self._slix.append(client)
        return client

    def strophe(self, user, **kwargs):
        return self._program(clients.Strophe(self.broker, user, **kwargs))

    def xmppjs(self, user, **kwargs):
        return self._program(clients.Xmppjs(self.broker, user, **kwargs))

    def _program(self, client):
        self._programs.append(client)
        return client

    def jid(self, user):
        return self.broker.jid(user)


class BystanderTest(InteropTest):
    """Two more sessions talk before and after each test. Whatever a test does to the broker, they
    keep their sessions and get their messages."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        a, b = self.broker.users(2)
        self._bystanders = [await self.raw_login(a), await self.raw_login(b)]
        self._words = 0
        await self._bystanders_talk()

    async def _bystanders_talk(self):
        for speaker, listener in (self._bystanders, self._bystanders[::-1]):
            self._words += 1
            body = f"word {self._words}"
            speaker.message(listener.jid, f"by{self._words}", body)
            message = await listener.next_message()
            self.assertEqual(message.findtext("{jabber:client}body"), body)

    async def asyncTearDown(self):
        try:
            await self._bystanders_talk()
        finally:
            await super().asyncTearDown()
