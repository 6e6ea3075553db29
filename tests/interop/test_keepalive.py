# SPDX-License-Identifier: Apache-2.0
"""Clients that are gone, of a broker whose TCP probes after a second of silence."""

from base import BystanderTest, eventually
from netfilter import deaf_port


class Keepalive(BystanderTest):
    def counter(self, name):
        return self.broker.ctl("counters", "--all")["counters"]["tcp"][name]

    def of(self, stream):
        address, port = stream.writer.get_extra_info("sockname")[:2]
        return self.broker.ctl("conn", "list", "--remote", f"{address}:{port}")["connections"]

    async def test_who_answers_stays(self):
        stream = await self.raw_login(self.broker.user())
        before = self.counter("keepalives_sent")
        await eventually(lambda: self.counter("keepalives_sent") >= before + 3, "probes are sent")
        timers = [t["timer"] for t in self.broker.ctl("conn", "show", self.of(stream)[0]["conn"])["timers"]]
        self.assertIn("keepalive", timers)
        await stream.ping()

    async def test_who_is_gone_is_given_up_and_the_message_returns(self):
        a, b = self.broker.users(2)
        sender, gone = await self.raw_login(a), await self.raw_login(b, sm=True)
        sender.message(self.jid(b), "handed-over", "have you got it?")
        self.assertEqual((await gone.next_message()).get("id"), "handed-over")
        await eventually(lambda: self.of(gone)[0]["send"]["queued"] == 0, "all is acknowledged")
        before = self.counter("keepalives_expired")
        _, port = gone.writer.get_extra_info("sockname")[:2]
        with deaf_port(port):
            await eventually(lambda: not self.of(gone), "the connection is given up")
        self.assertEqual(self.counter("keepalives_expired"), before + 1)
        again = await self.raw_login(b, sm=True)
        self.assertEqual((await again.next_message()).get("id"), "handed-over")
        await again.acknowledge()
