# SPDX-License-Identifier: Apache-2.0
"""An XMPP stream over a plain socket: every byte is the test's, and so is every mistake."""

import asyncio
import base64
import socket
import struct
from xml.etree import ElementTree

from scram import Scram

STREAM = "{http://etherx.jabber.org/streams}"
CLIENT = "{jabber:client}"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
BIND = "{urn:ietf:params:xml:ns:xmpp-bind}"
STREAM_ERRORS = "{urn:ietf:params:xml:ns:xmpp-streams}"
STANZA_ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
SM = "{urn:xmpp:sm:3}"
PING = "{urn:xmpp:ping}"

WAIT_S = 20


class StreamEnd(Exception):
    """The server closed the stream, the connection, or both."""


def local(element):
    """The name of an element without its namespace."""
    return element.tag.rsplit("}", 1)[-1]


class RawStream:
    def __init__(self, sandbox, reader, writer):
        self.sandbox = sandbox
        self.reader = reader
        self.writer = writer
        self.header = None
        self.ended = False  # </stream:stream> came
        self.jid = None
        self.handled = 0  # stanzas that `next` has given out, since <enabled/>
        self.answers_pings = True
        self._elements = []
        self.restart()

    @classmethod
    async def connect(cls, sandbox):
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(sandbox.host, sandbox.port), WAIT_S)
        return cls(sandbox, reader, writer)

    def restart(self):
        """What the server sends next begins a new stream."""
        self.header = None
        self._depth = 0
        self._parser = ElementTree.XMLPullParser(["start", "end"])

    # ---- out ----

    def write(self, data):
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def drain(self):
        await asyncio.wait_for(self.writer.drain(), WAIT_S)

    def open_stream(self, to=None, attributes="version='1.0'"):
        self.write("<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                   "xmlns:stream='http://etherx.jabber.org/streams' "
                   f"to='{to or self.sandbox.domain}' {attributes}>")

    def half_close(self):
        self.writer.write_eof()

    def reset(self):
        """Ends the connection by RST."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self):
        self.writer.close()

    # ---- in ----

    async def next(self):
        """The next whole element below the stream's, but the server's pings (XEP-0199), which are
        answered. Raises StreamEnd when there is none."""
        while not self._elements:
            if self.ended:
                raise StreamEnd("</stream:stream>")
            data = await asyncio.wait_for(self.reader.read(65536), WAIT_S)
            if not data:
                raise StreamEnd("end of the connection")
            self._parse(data)
        element = self._elements.pop(0)
        self.handled += element.tag.startswith(CLIENT)
        if element.tag == SM + "enabled":
            self.handled = 0
        if self.answers_pings and element.find(PING + "ping") is not None:
            self.write(f"<iq type='result' id='{element.get('id')}' to='{element.get('from')}'/>")
            return await self.next()
        return element

    def _parse(self, data):
        self._parser.feed(data)
        for event, element in self._parser.read_events():
            if event == "start":
                self._depth += 1
                if self._depth == 1:
                    self.header = element
                continue
            self._depth -= 1
            if self._depth == 1:
                self._elements.append(element)
            elif self._depth == 0:
                self.ended = True

    async def expect(self, tag, **attributes):
        """The next element, which must be that one."""
        element = await self.next()
        shown = ElementTree.tostring(element, encoding="unicode")
        assert element.tag == tag, f"expected {tag}, came {shown}"
        for name, value in attributes.items():
            assert element.get(name) == value, f"expected {name}={value!r}, came {shown}"
        return element

    async def until(self, tag, **attributes):
        """The next element of that kind, and the others before it."""
        before = []
        while True:
            element = await self.next()
            if element.tag == tag and all(element.get(k) == v for k, v in attributes.items()):
                return element, before
            before.append(element)

    async def stream_error(self):
        """The condition of the stream error that must come, with what RFC 6120, section 4.9.1.1
        asks for behind it: the end of the stream and of the connection."""
        while True:
            element = await self.next()
            if element.tag == STREAM + "error":
                break
        assert self.header is not None
        try:
            after = await self.next()
            raise AssertionError(f"after the stream error: {after.tag}")
        except StreamEnd:
            assert self.ended, "no </stream:stream> after the stream error"
        await self.closed()
        conditions = [child for child in element if child.tag.startswith(STREAM_ERRORS)
                      and local(child) != "text"]
        assert len(conditions) == 1, "a stream error has one condition"
        return local(conditions[0])

    async def closed(self):
        """Waits for the end of the connection."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), WAIT_S):
                pass
        except ConnectionError:
            pass

    async def yield_to_network(self):
        """Lets what was written leave as a segment of its own."""
        await self.drain()
        await asyncio.sleep(0)

    # ---- login ----

    async def features(self, to=None):
        self.open_stream(to)
        return await self.expect(STREAM + "features")

    def auth(self, mechanism, initial):
        if isinstance(initial, str):
            initial = initial.encode()
        self.write(f"<auth xmlns='{SASL[1:-1]}' mechanism='{mechanism}'>"
                   f"{base64.b64encode(initial).decode() or '='}</auth>")

    def respond(self, text):
        self.write(f"<response xmlns='{SASL[1:-1]}'>"
                   f"{base64.b64encode(text.encode()).decode()}</response>")

    async def scram(self, user, password=None, mechanism="SCRAM-SHA-256"):
        """The server's answer to a SCRAM login: success or failure."""
        exchange = Scram(mechanism, user, password or self.sandbox.password)
        self.auth(mechanism, exchange.first())
        challenge = await self.next()
        if challenge.tag != SASL + "challenge":
            return challenge
        self.respond(exchange.final(base64.b64decode(challenge.text).decode()))
        answer = await self.next()
        if answer.tag == SASL + "success":
            exchange.verify(base64.b64decode(answer.text).decode())
            self.restart()
        return answer

    async def authenticate(self, user, **kwargs):
        """Logs in up to the second stream's features."""
        await self.features()
        answer = await self.scram(user, **kwargs)
        assert answer.tag == SASL + "success", ElementTree.tostring(answer)
        return await self.features()

    async def bind(self, resource=None):
        """The server's answer to a binding request."""
        wanted = f"<resource>{resource}</resource>" if resource else ""
        self.write(f"<iq type='set' id='bind'><bind xmlns='{BIND[1:-1]}'>{wanted}</bind></iq>")
        answer = await self.expect(CLIENT + "iq", id="bind")
        jid = answer.find(f"{BIND}bind/{BIND}jid")
        self.jid = jid.text if jid is not None else None
        return answer

    async def login(self, user, resource=None, sm=False, presence=True):
        await self.authenticate(user)
        await self.bind(resource)
        assert self.jid, "no full JID was bound"
        if sm:
            self.write("<enable xmlns='urn:xmpp:sm:3'/>")
            await self.expect(SM + "enabled")
        if presence:
            await self.announce()
        return self

    async def announce(self, priority=0):
        """Sends presence and waits until the server shows it to this session, too (RFC 6121,
        section 4.2.2): from then on it is one that messages go to."""
        self.write(f"<presence><priority>{priority}</priority></presence>")
        _, before = await self.until(CLIENT + "presence", **{"from": self.jid})
        self.put_back(before)

    def put_back(self, elements):
        self._elements[:0] = elements
        self.handled -= sum(e.tag.startswith(CLIENT) for e in elements)

    # ---- stanzas ----

    _pings = 0

    async def ping(self):
        """Waits until the server has handled what was sent. Returns what came before its answer."""
        self._pings += 1
        ping_id = f"ping{self._pings}"
        self.write(f"<iq type='get' id='{ping_id}' to='{self.sandbox.domain}'>"
                   "<ping xmlns='urn:xmpp:ping'/></iq>")
        answer, before = await self.until(CLIENT + "iq", id=ping_id)
        assert answer.get("type") == "result", ElementTree.tostring(answer)
        return before

    async def fence(self):
        """Waits until what others have sent to this session by now, and the server has handled, is
        here: a headline to itself comes behind it, by way of its home. Returns what came before."""
        self._pings += 1
        fence_id = f"fence{self._pings}"
        self.write(f"<message type='headline' to='{self.jid}' id='{fence_id}'/>")
        _, before = await self.until(CLIENT + "message", id=fence_id)
        return before

    def message(self, to, message_id, body, extra="", kind="chat"):
        self.write(f"<message type='{kind}' to='{to}' id='{message_id}'><body>{body}</body>{extra}"
                   "</message>")

    async def next_message(self):
        """The next message."""
        message, _ = await self.until(CLIENT + "message")
        return message

    async def acknowledge(self):
        """Tells the server what was handled, and waits until it has taken note."""
        self.write(f"<a xmlns='urn:xmpp:sm:3' h='{self.handled}'/>")
        await self.ping()

    async def ask_ack(self):
        """What the server has handled, by its <a/>; and what came before that."""
        self.write("<r xmlns='urn:xmpp:sm:3'/>")
        answer, before = await self.until(SM + "a")
        return int(answer.get("h")), before

    async def end(self):
        """Ends the stream in order."""
        self.write("</stream:stream>")
        try:
            while True:
                await self.next()
        except StreamEnd:
            pass
        self.close()
