# SPDX-License-Identifier: Apache-2.0
"""Segments larger than the MTU, cut by the port. For a broker on net_tap, which does that in software
of its own: whether our headers are what a device needs, the kernel's TCP says."""

from base import InteropTest
from raw import CLIENT


class Cutting(InteropTest):
    def cut(self):
        return self.broker.ctl("counters", "--all")["counters"]["port"]["tx_cut"]

    async def test_large_messages_are_cut_by_the_port_and_arrive(self):
        before = self.cut()
        stream = await self.raw_login(self.broker.user())
        for size in (1000, 1448, 1449, 2896, 5000, 40000, 200000):
            body = "".join(chr(97 + (i * i + size) % 26) for i in range(size))
            stream.message(stream.jid, f"b{size}", body)
            message = await stream.next_message()
            self.assertEqual(message.findtext(CLIENT + "body"), body)
        self.assertGreater(self.cut(), before + 5)
