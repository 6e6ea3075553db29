# SPDX-License-Identifier: Apache-2.0
"""Clients of real libraries with one face: slixmpp in this process, libstrophe and xmpp.js in others."""

import asyncio
import json
import os

import slixmpp

WAIT_S = 20

# Where run.py found the program built from strophe_client.c.
strophe_program = None

XMPPJS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "xmppjs", "client.js")


class Inbox(asyncio.Queue):
    """A queue on which nobody waits for ever."""

    async def get(self):
        return await asyncio.wait_for(super().get(), WAIT_S)


class Slix(slixmpp.ClientXMPP):
    """A slixmpp client that keeps what it gets in queues."""

    def __init__(self, sandbox, user, password=None, resource=None, mechanism=None, sm=False,
                 plain=False, receipts=False):
        jid = sandbox.jid(user) + (f"/{resource}" if resource else "")
        super().__init__(jid, password or sandbox.password, sasl_mech=mechanism,
                         plugin_config={"feature_mechanisms": {"unencrypted_plain": plain},
                                        "xep_0198": {"allow_resume": sm == "resume", "window": 1},
                                        "xep_0184": {"auto_ack": True, "auto_request": receipts}})
        self.sandbox = sandbox
        for plugin in ("xep_0030", "xep_0184", "xep_0199", "xep_0203", "xep_0333"):
            self.register_plugin(plugin)
        if sm:
            self.register_plugin("xep_0198")
        self.messages = Inbox()
        self.errors = Inbox()
        self.receipts = Inbox()
        self.markers = Inbox()
        self.acked = Inbox()
        self.presences = Inbox()
        self.login_result = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.resumes = sm == "resume"
        self.enabled, self.resumed = Inbox(), Inbox()
        self.add_event_handler("sm_enabled", self.enabled.put_nowait)
        self.add_event_handler("session_resumed", self.resumed.put_nowait)
        self.add_event_handler("session_start", lambda _: self._login("online"))
        self.add_event_handler("failed_auth", lambda s: self._login(s["condition"]))
        self.add_event_handler("no_auth", lambda _: self._login("no mechanism"))
        self.add_event_handler("connection_failed", lambda e: self._login(f"connection: {e}"))
        self.add_event_handler("disconnected", self._on_disconnected)
        self.add_event_handler("message", self._on_message)
        self.add_event_handler("message_error", self.errors.put_nowait)
        self.add_event_handler("receipt_received", self.receipts.put_nowait)
        self.add_event_handler("marker", self.markers.put_nowait)
        self.add_event_handler("stanza_acked", self.acked.put_nowait)
        self.add_event_handler("presence", self.presences.put_nowait)

    def _login(self, result):
        if not self.login_result.done():
            self.login_result.set_result(result)

    def _on_disconnected(self, _):
        self._login("disconnected")
        self.gone.set()

    def _on_message(self, message):
        if message["body"]:
            self.messages.put_nowait(message)

    def _connect(self):
        self.connect((self.sandbox.host, self.sandbox.port), disable_starttls=True,
                     force_starttls=False)

    async def drop(self):
        """Its connection is lost. The next one resumes the stream."""
        self.gone.clear()
        self.abort()
        await asyncio.wait_for(self.gone.wait(), WAIT_S)

    async def come_back(self):
        self._connect()
        await self.resumed.get()

    async def try_login(self):
        """'online', or why not."""
        self._connect()
        return await asyncio.wait_for(asyncio.shield(self.login_result), WAIT_S)

    async def login(self, presence=True):
        result = await self.try_login()
        assert result == "online", result
        if self.resumes:
            await self.enabled.get()  # it is online before
        if presence:
            self.send_presence()
            while (await self.presences.get())["from"] != self.boundjid:
                pass  # until the server shows it to this session, too, it may be still away
        return self

    async def barrier(self):
        """Waits until the server has handled what was sent."""
        await self["xep_0199"].send_ping(self.sandbox.domain, timeout=WAIT_S)

    def say(self, to, body, message_id, kind="chat", receipt=False, markable=False):
        message = self.make_message(mto=to, mbody=body, mtype=kind)
        message["id"] = message_id
        if receipt:
            message["request_receipt"] = True
        if markable:
            message.enable("markable")
        message.send()

    async def next_message(self):
        return await self.messages.get()

    async def next_text(self):
        message = await self.messages.get()
        return message["id"], message["body"]

    async def next_receipt(self):
        return (await self.receipts.get())["receipt"]

    async def bodies(self, count):
        return [(await self.next_message())["body"] for _ in range(count)]

    async def leave(self):
        if self.is_connected():
            self.disconnect(wait=2.0)
            await asyncio.wait_for(self.gone.wait(), WAIT_S)


class Program:
    """A client in a process of its own: commands in, a JSON event a line out."""

    name = None

    def __init__(self, sandbox, user, password=None, resource=None, options=()):
        self.sandbox = sandbox
        self.arguments = [sandbox.host, str(sandbox.port),
                          sandbox.jid(user) + (f"/{resource}" if resource else ""),
                          *options]
        self.password = password or sandbox.password
        self.process = None
        self.kept = []

    async def start(self):
        environment = dict(os.environ, GODWIT_PASSWORD=self.password)
        self.process = await asyncio.create_subprocess_exec(
            *self.program(), *self.arguments, env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        return self

    async def event(self):
        if self.kept:
            return self.kept.pop(0)
        line = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
        assert line, f"the {self.name} client ended"
        return json.loads(line)

    async def expect(self, kind):
        """The next event of that kind. A failure on the way is one of the test."""
        while True:
            event = await self.event()
            if event["event"] == kind:
                return event
            assert event["event"] not in ("failed", "disconnected"), event

    async def login(self):
        await self.start()
        self.jid = (await self.expect("online"))["jid"]
        return self

    def command(self, *words):
        self.process.stdin.write((" ".join(words) + "\n").encode())

    def say(self, to, body, message_id):
        self.command("send", to, message_id, body)

    async def next_message(self):
        return await self.expect("message")

    async def next_text(self):
        message = await self.next_message()
        return message["id"], message["body"]

    async def next_receipt(self):
        return (await self.expect("receipt"))["about"]

    async def leave(self):
        """Ends the stream in order."""
        if self.process and self.process.returncode is None:
            self.command("quit")
            await asyncio.wait_for(self.process.communicate(), WAIT_S)

    async def last_events(self):
        """All that it has still told before it ended."""
        lines, _ = await asyncio.wait_for(self.process.communicate(), WAIT_S)
        # It may have been killed in the middle of a line.
        return self.kept + [json.loads(line) for line in lines.splitlines(keepends=True)
                            if line.endswith(b"\n")]

    async def kill(self):
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()


class Strophe(Program):
    name = "libstrophe"

    def program(self):
        return [strophe_program]


class Xmppjs(Program):
    """@xmpp/client under Node.js. It makes a lost connection anew by itself."""

    name = "xmpp.js"

    def program(self):
        return ["node", XMPPJS]

    async def drop(self):
        self.command("drop")
        await self.expect("lost")

    async def come_back(self):
        before = []
        while (event := await self.event())["event"] != "resumed":
            before.append(event)  # it may tell of what has come first
        self.kept = before
