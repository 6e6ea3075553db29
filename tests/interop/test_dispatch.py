# SPDX-License-Identifier: Apache-2.0
"""Connections find their cores: by the port's queues, or handed over by those that receive."""

import asyncio

from base import InteropTest

CLIENTS = 40


class Dispatch(InteropTest):
    def lcores(self):
        return self.broker.ctl("lcore", "stat")["lcores"]

    def handed_over(self):
        """Frames given, taken and dropped, over all cores."""
        each = [lcore["frames_handed_over"] for lcore in self.lcores()]
        return tuple(sum(frames[what] for frames in each) for what in ("given", "taken", "dropped"))

    async def test_every_core_serves_and_nothing_is_lost_on_the_way(self):
        port = self.broker.ctl("status")["port"]
        before = self.handed_over()
        users = self.broker.users(CLIENTS)
        streams = await asyncio.gather(*(self.raw_login(user) for user in users))
        for i, stream in enumerate(streams):
            stream.message(streams[i - 1].jid, f"m{i}", "x" * 3000)
        for i, stream in enumerate(streams):
            message = await stream.next_message()
            self.assertEqual(message.get("id"), f"m{(i + 1) % CLIENTS}")

        edges = self.broker.ctl("counters", "--each", "--all")["counters"]
        lcores = self.lcores()
        for lcore in lcores:
            number = lcore["lcore"]
            self.assertGreater(edges[f"edge@{number}"]["connections"], 0, f"core {number}")
        given, taken, dropped = self.handed_over()
        self.assertEqual(dropped, before[2])
        if port["dispatch"] == "software":
            self.assertGreater(len(lcores), 1)
            self.assertGreater(given, before[0] + CLIENTS)
            self.assertGreater(taken, before[1] + CLIENTS)
        else:
            self.assertEqual(port["queues"], len(lcores))
            self.assertEqual((given, taken), (0, 0))

    async def test_who_has_no_queue_pushes_back_and_loses_nothing(self):
        """More than a handover holds, from every core at once to clients that read slowly."""
        users = self.broker.users(8)
        streams = await asyncio.gather(*(self.raw_login(user) for user in users))
        for i in range(20):
            for k, stream in enumerate(streams):
                stream.message(streams[k - 1].jid, f"m{i}", "y" * 60000)
        for stream in streams:
            for i in range(20):
                self.assertEqual((await stream.next_message()).get("id"), f"m{i}")
