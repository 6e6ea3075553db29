# SPDX-License-Identifier: Apache-2.0
"""The broker under test, as `scripts/sandbox up` describes it, and users of it to spend."""

import ctypes
import itertools
import json
import os
import subprocess

CLONE_NEWNET = 0x40000000


class Sandbox:
    """Where the broker is. Users are handed out once each, so that no test sees another's mail."""

    def __init__(self, description, password="secret", first_user=0, godwitctl=None):
        self.host = description["host"]
        self.host6 = description.get("host6")
        self.port = int(description["port"])
        self.domain = description["domain"]
        self.netns = description.get("netns")
        self.control = description.get("control")
        self.password = password
        self.godwitctl = godwitctl
        self._users = itertools.count(first_user)

    @staticmethod
    def read(path, **kwargs):
        with open(path, encoding="utf-8") as file:
            return Sandbox(json.load(file), **kwargs)

    def enter(self):
        """Moves this process, and what it starts, into the sandbox's network namespace."""
        if not self.netns:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(f"/run/netns/{self.netns}", os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter namespace {self.netns}")
        os.close(fd)

    def user(self):
        return f"u{next(self._users)}"

    def users(self, count):
        return [self.user() for _ in range(count)]

    def jid(self, user):
        return f"{user}@{self.domain}"

    def ctl(self, *args):
        """What godwitctl answers, decoded."""
        command = [self.godwitctl, "--socket", self.control, *args, "--json"]
        done = subprocess.run(command, check=True, capture_output=True, timeout=30)
        return json.loads(done.stdout)


# The one that the tests of this process use; run.py sets it.
current = None
