# SPDX-License-Identifier: Apache-2.0
"""profanity, a terminal client as people use it, driven through tmux."""

import asyncio
import os
import shutil
import subprocess
import tempfile

from base import InteropTest, WAIT_S


class Terminal:
    """A program in a tmux server of its own."""

    def __init__(self, command, home):
        self.socket = f"{home}/tmux"
        self.environment = {"HOME": home, "TERM": "screen", "LANG": "C.UTF-8",
                            "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": f"{home}/config",
                            "XDG_DATA_HOME": f"{home}/data"}
        self._tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50", command)

    def _tmux(self, *args):
        done = subprocess.run(["tmux", "-S", self.socket, *args], env=self.environment,
                              check=True, capture_output=True, timeout=WAIT_S)
        return done.stdout.decode()

    def type(self, text):
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def screen(self):
        return self._tmux("capture-pane", "-p")

    async def shows(self, *texts):
        for _ in range(WAIT_S * 10):
            screen = self.screen()
            if all(text in screen for text in texts):
                return screen
            await asyncio.sleep(0.1)
        raise AssertionError(f"never on the screen: {texts}\n{screen}")

    def close(self):
        self._tmux("kill-server")


class Profanity(InteropTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.home = tempfile.mkdtemp(prefix="godwit-profanity-")
        self.terminal = Terminal("profanity", self.home)

    async def asyncTearDown(self):
        self.terminal.close()
        shutil.rmtree(self.home)
        await super().asyncTearDown()

    async def test_a_conversation(self):
        a, b = self.broker.users(2)
        friend = await self.slix(b, receipts=True).login()
        friend.say(self.jid(a), "this waits for a terminal", "waits")
        await friend.barrier()
        await self.terminal.shows("Profanity")
        self.terminal.type("/receipts send on")
        await self.terminal.shows("Send delivery receipts enabled")
        self.terminal.type(f"/connect {self.jid(a)} server {self.broker.host} "
                           f"port {self.broker.port} tls disable")
        await self.terminal.shows("Enter password")
        self.terminal.type(self.broker.password)
        await self.terminal.shows("logged in successfully")
        self.terminal.type(f"/msg {self.jid(b)} greetings from a terminal")
        message = await friend.next_message()
        self.assertEqual(message["body"], "greetings from a terminal")
        friend.say(message["from"], "and back from a library", "answer")
        await self.terminal.shows("this waits for a terminal", "greetings from a terminal",
                                  "and back from a library")
        self.assertEqual([await friend.next_receipt() for _ in range(2)], ["waits", "answer"])
