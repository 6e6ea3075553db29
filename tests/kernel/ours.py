# SPDX-License-Identifier: Apache-2.0
"""godwit-echo and godwit-load on the port gw1, as processes."""

import asyncio
import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile

from cable import BITS, KERNEL, OURS

PORT = 7
WAIT_S = 60
DEVICE = "net_af_packet0,iface=gw1"

build = None  # the build folder; run.py sets it


def common(family):
    return ["--device", DEVICE, "--address", f"{OURS[family]}/{BITS[family]}", "--no-huge",
            "--arena", "64", "--cpu", "0"]


class Environment:
    """A run-time directory for DPDK, so that this runs beside others of the same name."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="godwit-kernel-")
        self.variables = {**os.environ, "RUNTIME_DIRECTORY": self.path}

    def close(self):
        shutil.rmtree(self.path)


class Echo:
    def __init__(self, family, *options):
        self._environment = Environment()
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [f"{build}/bench/wire/godwit-echo", *common(family), *options], text=True,
            env=self._environment.variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self._log)
        atexit.register(self.close)
        for line in self._process.stdout:
            if "listening on" in line:
                return
        self.close()
        raise RuntimeError("godwit-echo did not start")

    def sample(self):
        """What it has done so far."""
        self._process.send_signal(signal.SIGUSR1)
        return json.loads(self._process.stdout.readline())

    async def idle(self):
        """Waits until it holds no connection and no byte of one; what it has done then."""
        for _ in range(WAIT_S * 20):
            sample = self.sample()
            if sample["connections"] == 0 and sample["arena_bytes"] == 0:
                return sample
            await asyncio.sleep(0.05)
        raise AssertionError(f"something is left behind: {sample}")

    def close(self):
        """The exit status."""
        atexit.unregister(self.close)
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=WAIT_S)
        finally:
            self._process.kill()
            status = self._process.wait()
            if status != 0:
                self._log.seek(0)
                print(self._log.read())
            self._log.close()
            self._environment.close()
        return status


async def load(family, mode, *options):
    """The figures of a run that has found no fault."""
    environment = Environment()
    try:
        process = await asyncio.create_subprocess_exec(
            f"{build}/bench/load/godwit-load", mode, *common(family), "--server",
            KERNEL[family], "--json", "-", *options, env=environment.variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, complaints = await asyncio.wait_for(process.communicate(), WAIT_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    finally:
        environment.close()
    if process.returncode != 0:
        raise AssertionError(f"status {process.returncode}: {out.decode()} {complaints.decode()}")
    return json.loads(out.splitlines()[-1])
