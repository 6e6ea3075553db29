# SPDX-License-Identifier: Apache-2.0
"""A broker with little memory (dataplane.memory_mib=32), and clients that ask and never read: some
of them lose their connection, nobody's session stays behind, and the next client is served."""

import socket

from base import InteropTest, eventually

CLIENTS = 450
REQUESTS = 4000  # of each: their answers fill its send queue, and those of all the memory


class Starved(InteropTest):
    def _counter(self, name):
        return self.broker.ctl("counters")["counters"]["edge"].get(name, 0)

    async def test_who_never_reads_leaves_nothing_behind(self):
        greedy = []
        for user in self.broker.users(CLIENTS):
            stream = await self.raw_login(user, presence=False)
            stream.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET,
                                                              socket.SO_RCVBUF, 4096)
            stream.writer.transport.pause_reading()
            greedy.append(stream)
        ask = "".join(f"<iq type='get' id='{i}'><ping xmlns='urn:xmpp:ping'/></iq>"
                      for i in range(REQUESTS))
        for stream in greedy:
            stream.write(ask)
        await eventually(lambda: self._counter("out_of_memory") > 0, "memory is used up")
        for stream in greedy:
            if not stream.writer.transport.is_closing():  # some the broker has ended
                stream.reset()
        await eventually(lambda: self.broker.ctl("status")["sessions"] == 0, "all sessions have ended")
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        sender.message(self.jid(b), "m", "still served")
        self.assertEqual((await recipient.next_message()).get("id"), "m")
