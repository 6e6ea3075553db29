# SPDX-License-Identifier: Apache-2.0
"""TCP connections as `godwitctl conn` shows them, with the Linux kernel at the other end."""

import asyncio
import socket

from base import InteropTest, WAIT_S, eventually
from netfilter import deaf_port


class Conn(InteropTest):
    def list(self, *options):
        return self.broker.ctl("conn", "list", *options)["connections"]

    def local_of(self, stream):
        """Address and port of the client's end, as --remote takes them."""
        address, port = stream.writer.get_extra_info("sockname")[:2]
        return f"{address}:{port}"

    def one(self, stream, *options):
        rows = self.list("--remote", self.local_of(stream), *options)
        self.assertEqual(len(rows), 1, rows)
        return rows[0]

    async def test_a_session_and_what_tcp_knows_of_it(self):
        user = self.broker.user()
        stream = await self.raw_login(user, resource="desk")
        row = self.one(stream)
        self.assertEqual(row["state"], "established")
        self.assertEqual(row["jid"], f"{self.jid(user)}/desk")
        self.assertEqual((row["local"], row["local_port"]), (self.broker.host, self.broker.port))
        self.assertEqual(set(row["options"]), {"sack", "timestamps", "window-scale"})
        self.assertGreater(row["send"]["acked"], 500)
        self.assertGreater(row["rtt"]["smoothed_us"], 0)
        self.assertGreater(row["send"]["window"], 10000)
        self.assertEqual(row["receive"]["ahead"], 0)
        self.assertEqual(row["congestion"]["control"], "cubic")
        shown = self.broker.ctl("conn", "show", row["conn"])
        self.assertEqual(shown["jid"], row["jid"])
        self.assertEqual(self.broker.ctl("conn", "show", self.local_of(stream))["conn"], row["conn"])

    async def test_filters(self):
        user = self.broker.user()
        session = await self.raw_login(user)
        visitor = await self.raw()
        address, port = visitor.writer.get_extra_info("sockname")[:2]
        self.assertNotIn("jid", self.one(visitor))
        self.assertEqual([r["remote_port"] for r in self.list("--account", user)],
                         [session.writer.get_extra_info("sockname")[1]])
        self.assertEqual(self.list("--account", self.broker.user()), [])
        network = self.list("--remote", address.rsplit(".", 1)[0] + ".0/24")
        self.assertIn(port, [r["remote_port"] for r in network])
        self.assertEqual(self.list("--remote", "192.0.2.0/24"), [])
        self.assertEqual(len(self.list("--remote", f"{address}:{port}", "--local-port",
                                       str(self.broker.port))), 1)
        self.assertEqual(self.list("--remote", f"{address}:{port}", "--local-port", "1"), [])
        self.assertEqual(self.list("--remote", f"{address}:{port}", "--state", "close-wait"), [])

    async def test_all_that_stay_are_listed_once_while_others_come_and_go(self):
        stay = [await self.raw() for _ in range(260)]
        ports = {s.writer.get_extra_info("sockname")[1] for s in stay}
        churning = True
        turns = 0

        async def churn():
            nonlocal turns
            while churning:
                _, writer = await asyncio.open_connection(self.broker.host, self.broker.port)
                writer.close()
                turns += 1

        tasks = [asyncio.create_task(churn()) for _ in range(8)]
        try:
            for _ in range(5):
                rows = (await asyncio.to_thread(self.list, "--state", "established"))
                seen = [r["remote_port"] for r in rows if r["remote_port"] in ports]
                self.assertEqual(len(seen), len(set(seen)), "listed twice")
                self.assertEqual(set(seen), ports)
        finally:
            churning = False
            await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)
        self.assertGreater(turns, 0)

    async def test_what_is_repeated(self):
        stream = await self.raw_login(self.broker.user())
        _, port = stream.writer.get_extra_info("sockname")[:2]
        self.assertEqual(self.list("--remote", self.local_of(stream), "--retransmitting"), [])
        with deaf_port(port):
            stream.write("<iq type='get' id='lost' to='" + self.broker.domain +
                         "'><ping xmlns='urn:xmpp:ping'/></iq>")
            await eventually(lambda: self.list("--remote", self.local_of(stream),
                                               "--retransmitting"), "a retransmission is seen")
            row = self.one(stream)
            self.assertGreater(row["send"]["resent"], 0)
            self.assertGreater(row["send"]["queued"], 0)
            self.assertEqual(row["congestion"]["state"], "loss")
            self.assertIn("retransmit", [t["timer"] for t in row["timers"]])
        answer = await stream.next()
        self.assertEqual(answer.get("id"), "lost")
        await eventually(lambda: not self.list("--remote", self.local_of(stream),
                                               "--retransmitting"), "the loss is repaired")
        self.assertGreater(self.one(stream)["send"]["resent"], 0)

    async def test_a_client_that_does_not_read_has_a_queue(self):
        a, b = self.broker.users(2)
        sender, sleeper = await self.raw_login(a), await self.raw()
        sleeper.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                                           4096)
        await sleeper.login(b)
        name = self.local_of(sleeper)
        self.assertEqual(self.list("--account", b, "--queued", "65536"), [])
        sleeper.writer.transport.pause_reading()
        for i in range(100):
            sender.message(self.jid(b), f"m{i}", "x" * 4000)
        await sender.ping()
        await eventually(lambda: self.list("--account", b, "--queued", "65536"), "a queue is seen")
        await eventually(lambda: self.one(sleeper)["send"]["window"] == 0, "its window is closed")
        row = self.one(sleeper)
        self.assertEqual([r["conn"] for r in self.list("--remote", name)], [row["conn"]])
        self.assertGreater(row["send"]["unsent"], 0)
        sleeper.writer.transport.resume_reading()
        for i in range(100):
            self.assertEqual((await sleeper.next_message()).get("id"), f"m{i}")
        await eventually(lambda: self.one(sleeper)["send"]["queued"] == 0, "the queue is empty")

    async def test_half_open(self):
        sock = socket.socket()
        sock.setblocking(False)
        with sock:
            sock.bind(("0.0.0.0", 0))
            port = sock.getsockname()[1]
            with deaf_port(port):
                with self.assertRaises(BlockingIOError):
                    sock.connect((self.broker.host, self.broker.port))
                await eventually(
                    lambda: [r for r in self.list("--state", "syn-received")
                             if r["remote_port"] == port], "the half-open connection is seen")
        await eventually(lambda: not [r for r in self.list("--state", "established")
                                      if r["remote_port"] == port], "it was never established")

    async def test_time_wait(self):
        stream = await self.raw_login(self.broker.user())
        name = self.local_of(stream)
        await stream.end()
        await eventually(lambda: self.list("--remote", name, "--state", "time-wait"),
                         "TIME-WAIT is seen")
        row = self.list("--remote", name)[0]
        self.assertNotIn("send", row)
        self.assertEqual(row["timers"][0]["timer"], "time-wait")
        self.assertGreater(row["timers"][0]["in_ms"], 1000)
