#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The story that scripts/demo tells. Everything it says, it has checked."""

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, f"{ROOT}/tests/interop")

import clients  # noqa: E402
from sandbox import Sandbox  # noqa: E402

WAITING = 100
WAIT_S = 60


def step(number, title):
    print(f"\n\033[1m{number}. {title}\033[0m" if sys.stdout.isatty() else f"\n{number}. {title}")


def say(text):
    print(f"   {text}", flush=True)


async def until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        await asyncio.sleep(0.05)


class Story:
    def __init__(self, arguments):
        self.arguments = arguments
        self.where = json.loads(arguments.where)
        self.broker = Sandbox(self.where, password=arguments.password,
                              godwitctl=f"{arguments.build}/control/godwitctl")
        self.canary = f"canary-{secrets.token_hex(12)}"
        self.alice = self.bob = None

    def ctl(self, *args, stdin=None):
        """godwitctl as an operator sees it."""
        done = subprocess.run([self.broker.godwitctl, "--socket", self.broker.control, *args],
                              input=stdin, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, *args):
        say(f"$ godwitctl {' '.join(args)}")
        for line in self.ctl(*args).splitlines():
            say(f"  {line}")

    def log_position(self):
        return self.broker.ctl("status")["store"]["segment_next"]

    # ---- the seven steps ----

    async def connect(self):
        step(1, "Connections end in userspace")
        listening = subprocess.run(["ss", "-Hltn", f"sport = {self.broker.port}"], text=True,
                                   capture_output=True, check=True).stdout.strip()
        assert listening == "", listening
        say(f"No kernel socket listens on port {self.broker.port} in namespace "
            f"{self.where['netns']} (`ss -ltn`), yet")
        reader, writer = await asyncio.open_connection(self.broker.host, self.broker.port)
        writer.close()
        say(f"{self.broker.host}:{self.broker.port} answers: TCP is the broker's own, over a "
            "polled DPDK port.")

    async def log_in(self):
        step(2, "Clients prove who they are")
        for account in ("alice", "bob"):
            self.ctl("user", "add", account, "--password-stdin",
                     stdin=self.arguments.password + "\n")
        self.alice = await clients.Slix(self.broker, "alice", sm=True).login()
        mechanism = self.alice["feature_mechanisms"].mech.name
        self.bob = await clients.Strophe(self.broker, "bob",
                                         options=("--receipts", "--markers")).login()
        say(f"alice (slixmpp, {mechanism}) is {self.alice.boundjid}")
        say(f"bob (libstrophe) is {self.bob.jid}")
        self.show("session", "list")

    async def talk(self):
        step(3, "A message is parsed where it lies, and sealed")
        await self._hear_bob("hello bob, this is slixmpp", "hello alice, this is libstrophe")
        say("alice -> bob: hello bob, this is slixmpp")
        say("bob -> alice: hello alice, this is libstrophe")
        say("Both went through AES-256-GCM before they were stored.")

    async def _hear_bob(self, question, answer):
        self.alice.say(self.broker.jid("bob"), question, "q1", receipt=True, markable=True)
        heard = await self.bob.next_message()
        assert heard["body"] == question and "delay" not in heard, heard
        self.bob.say(self.broker.jid("alice"), answer, "a1")
        assert (await self.alice.next_message())["body"] == answer
        assert (await self.alice.receipts.get())["receipt"] == "q1"
        assert (await self.alice.markers.get())["displayed"]["id"] == "q1"

    async def store(self):
        step(4, "It is appended to the commit log, and made durable by a group commit")
        await self.bob.leave()
        say("bob goes offline.")
        before = self.log_position()
        for i in range(WAITING):
            self.alice.say(self.broker.jid("bob"), f"{self.canary} number {i}", f"w{i}",
                           receipt=True, markable=True)
        await self.alice.barrier()
        self.alice["xep_0198"].request_ack()
        acknowledged = []
        while len(acknowledged) < WAITING:
            stanza = await self.alice.acked.get()
            if stanza.name == "message" and stanza["id"].startswith("w"):
                acknowledged.append(stanza["id"])
        assert acknowledged == [f"w{i}" for i in range(WAITING)], acknowledged
        say(f"alice sends him {WAITING} messages: log segments {before} .. "
            f"{self.log_position() - 1}.")

    def crash(self):
        step(5, "Only then is it acknowledged")
        say(f"All {WAITING} are acknowledged (XEP-0198). Now the broker is killed:")
        say(f"$ kill -9 {self.where['pid']}")
        os.kill(self.where["pid"], signal.SIGKILL)
        self.alice.abort()
        began = time.monotonic()
        done = subprocess.run([self.arguments.sandbox, "restart"], capture_output=True, text=True,
                              check=True, stdin=subprocess.DEVNULL, timeout=300)
        old, self.where = self.where["pid"], json.loads(done.stdout)
        assert self.where["pid"] != old
        say(f"and started again (pid {self.where['pid']}, after "
            f"{time.monotonic() - began:.1f} s).")
        self.search_store()

    async def deliver(self):
        step(6, "Who was away gets it when they come back")
        self.bob = await clients.Strophe(self.broker, "bob",
                                         options=("--receipts", "--markers")).login()
        for i in range(WAITING):
            message = await self.bob.next_message()
            assert message["body"] == f"{self.canary} number {i}", message
            assert message["id"] == f"w{i}" and "delay" in message, message
        say(f"bob logs in and gets the {WAITING} messages, in order, each once, each with its time "
            "(XEP-0203).")

    async def account_for(self):
        step(7, "Delivered, received, displayed: every step is accounted for")
        self.alice = await clients.Slix(self.broker, "alice").login()
        receipts = [(await self.alice.receipts.get())["receipt"] for _ in range(WAITING)]
        displayed = [(await self.alice.markers.get())["displayed"]["id"] for _ in range(WAITING)]
        assert receipts == displayed == [f"w{i}" for i in range(WAITING)]
        say(f"alice logs in and finds {WAITING} receipts (XEP-0184) and {WAITING} read markers "
            "(XEP-0333) in her mailbox.")

        def all_displayed():
            rows = self.broker.ctl("receipts", "--account", "alice", "--peer", "bob",
                                   "--state", "displayed", "--limit", "1000")["receipts"]
            return len({row["id"] for row in rows} & set(receipts)) == WAITING
        await until(all_displayed, "all messages displayed in the ledger")
        say("The ledger knows each of them; the last ones:")
        self.show("receipts", "--account", "alice", "--peer", "bob", "--state", "displayed",
                  "--limit", "8")

    # ---- the proof ----

    def search_store(self):
        """No body and no password is in the store's files; and the search would find one."""
        files = bytes_read = 0
        needles = [self.canary.encode(), b"this is slixmpp", b"this is libstrophe"]
        for folder, _, names in os.walk(self.arguments.store):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                files += 1
                bytes_read += len(content)
                for needle in needles:
                    assert needle not in content, f"{needle} is readable in {folder}/{name}"
        assert files > 0 and bytes_read > WAITING * len(self.canary), "the store is empty"
        found = subprocess.run(["grep", "-raF", "-l", self.canary, self.arguments.store],
                               capture_output=True, check=False)
        assert found.returncode == 1, found.stdout
        say(f"Sealed at rest: the {WAITING} bodies wait in {self.arguments.store}, but")
        say(f"$ grep -raF {self.canary} {self.arguments.store}")
        say(f"finds none of them in its {files} files, {bytes_read // 1024} KiB.")

    async def tell(self):
        await self.connect()
        await self.log_in()
        await self.talk()
        await self.store()
        self.crash()
        await self.deliver()
        await self.account_for()
        await self.alice.leave()
        await self.bob.leave()
        print(f"\n{WAITING} messages sent, acknowledged, kept through kill -9, delivered in order, "
              "received, displayed: 0 lost.")

    async def run(self):
        try:
            await self.tell()
        finally:
            if self.bob:
                await self.bob.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("where", "build", "sandbox", "store", "password"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    clients.strophe_program = f"{arguments.build}/tests/interop/strophe-client"
    story = Story(arguments)
    story.broker.enter()
    asyncio.run(story.run())


if __name__ == "__main__":
    main()
