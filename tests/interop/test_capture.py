# SPDX-License-Identifier: Apache-2.0
"""Captures (`godwitctl pcap`) of what passes between the broker and the Linux kernel, read back by
tcpdump. They need a broker whose configuration has capture = true."""

import asyncio
import os
import signal
import subprocess
import tempfile

from base import InteropTest, WAIT_S, eventually


class Capture(InteropTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self._folder = tempfile.TemporaryDirectory()
        self._processes = []

    async def asyncTearDown(self):
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._folder.cleanup()
        await super().asyncTearDown()

    def path(self, name="file"):
        return os.path.join(self._folder.name, name)

    async def start(self, *options, target=None, **kwargs):
        """godwitctl, once the broker captures for it."""
        process = await asyncio.create_subprocess_exec(
            self.broker.godwitctl, "--socket", self.broker.control, "pcap", "start",
            target or self.path(), *options, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, **kwargs)
        self._processes.append(process)
        await eventually(lambda: self.status()["running"] and "capture" in self.status(),
                         "the capture runs")
        return process

    def status(self):
        return self.broker.ctl("pcap", "status")

    def frames(self):
        return self.status().get("capture", {}).get("frames", 0)

    async def ended(self, process):
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        return process.returncode, out, err.decode()

    @staticmethod
    def read(path, *expression):
        """tcpdump's lines."""
        done = subprocess.run(["tcpdump", "-nr", path, *expression], capture_output=True, check=True,
                              timeout=30)
        return done.stdout.decode().splitlines()

    async def a_login(self):
        """A session that ends; the client's port."""
        stream = await self.raw_login(self.broker.user())
        port = stream.writer.get_extra_info("sockname")[1]
        await stream.ping()
        await stream.end()
        return port

    async def test_a_whole_connection_in_both_directions(self):
        process = await self.start("--seconds", "60")
        port = await self.a_login()
        await eventually(lambda: self.frames() > 20, "its frames are captured")
        stopped = self.broker.ctl("pcap", "stop")
        status, out, err = await self.ended(process)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"cancelled: {stopped['frames']} frames", out.decode())
        self.assertEqual(stopped["dropped"], 0)
        self.assertEqual(len(self.read(self.path())), stopped["frames"])
        to_us = self.read(self.path(), f"tcp src port {port}")
        from_us = self.read(self.path(), f"tcp dst port {port}")
        self.assertIn("Flags [S]", to_us[0])
        self.assertIn("Flags [S.]", from_us[0])
        self.assertTrue(any("Flags [F" in line for line in from_us))
        # The stream itself is there to be read.
        with open(self.path(), "rb") as file:
            content = file.read()
        self.assertIn(b"<stream:stream", content)
        self.assertEqual(len(content), stopped["bytes"])
        self.assertEqual(os.stat(self.path()).st_mode & 0o7777, 0o600)
        self.assertFalse(self.status()["running"])

    async def test_a_filter_is_obeyed(self):
        watched = await self.raw()
        other = await self.raw()
        port = watched.writer.get_extra_info("sockname")[1]
        process = await self.start("--filter", f"tcp port {port}", "--snaplen", "80")
        for stream in (other, watched):
            await stream.login(self.broker.user())
            await stream.ping()
        await eventually(lambda: self.frames() > 5, "frames are captured")
        self.broker.ctl("pcap", "stop")
        self.assertEqual((await self.ended(process))[0], 0)
        self.assertGreater(len(self.read(self.path(), f"src port {port}")), 2)
        self.assertGreater(len(self.read(self.path(), f"dst port {port}")), 2)
        self.assertEqual(self.read(self.path(), f"not port {port}"), [])
        with open(self.path(), "rb") as file:
            self.assertNotIn(b"stream:features", file.read())

    async def test_limits_of_time_and_size(self):
        process = await self.start("--seconds", "1")
        status, out, _ = await self.ended(process)
        self.assertEqual(status, 0)
        self.assertIn("its time is over", out.decode())
        self.assertEqual(self.read(self.path(), "tcp port 1"), [])
        sender, receiver = [await self.raw_login(self.broker.user()) for _ in range(2)]
        process = await self.start("--bytes", "200000", target=self.path("small"))
        for i in range(200):
            sender.message(receiver.jid, f"m{i}", "x" * 3000)
        await sender.ping()
        status, out, _ = await self.ended(process)
        self.assertEqual(status, 0)
        self.assertIn("its size is reached", out.decode())
        size = os.stat(self.path("small")).st_size
        self.assertTrue(190000 < size <= 200000, size)
        self.assertGreater(len(self.read(self.path("small"))), 50)

    async def test_to_tcpdump_by_a_pipe(self):
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            self.broker.godwitctl, "--socket", self.broker.control, "pcap", "start", "-",
            stdout=writing, stderr=asyncio.subprocess.DEVNULL)
        reader = await asyncio.create_subprocess_exec(
            "tcpdump", "-c", "5", "-nr", "-", stdin=reading, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE)
        self._processes += [process, reader]
        os.close(reading)
        os.close(writing)
        await eventually(lambda: self.status()["running"], "the capture runs")
        while reader.returncode is None:
            await self.a_login()
            await asyncio.sleep(0)
        lines = (await reader.communicate())[0].decode().splitlines()
        self.assertEqual(len(lines), 5)
        # Its reader has gone: the capture ends with it.
        self.assertEqual(await asyncio.wait_for(process.wait(), WAIT_S), 1)
        await eventually(lambda: not self.status()["running"], "the capture has ended")

    async def test_ends_with_its_client(self):
        process = await self.start("--seconds", "600")
        await self.a_login()
        await eventually(lambda: self.frames() > 5, "frames are captured")
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await eventually(lambda: not self.status()["running"], "the capture has ended")
        self.assertGreater(len(self.read(self.path())), 5)
        # Nothing stands in the way of the next one, nor of those who talk.
        process = await self.start(target=self.path("next"))
        await self.a_login()
        process.send_signal(signal.SIGINT)
        self.assertEqual((await self.ended(process))[0], 0)

    async def test_one_at_a_time(self):
        process = await self.start()
        with self.assertRaises(subprocess.CalledProcessError) as refused:
            self.broker.ctl("pcap", "start", self.path("second"))
        self.assertEqual(refused.exception.returncode, 1)
        self.assertIn(b"one at a time", refused.exception.stderr)
        self.assertFalse(os.path.exists(self.path("second")))
        self.broker.ctl("pcap", "stop")
        self.assertEqual((await self.ended(process))[0], 0)
