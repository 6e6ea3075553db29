# SPDX-License-Identifier: Apache-2.0
"""What is not XMPP gets the stream error that RFC 6120 names, and harms nobody else."""

import asyncio

from base import BystanderTest
from raw import CLIENT, SASL, STREAM, StreamEnd
from test_login import condition_of

HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
          "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{domain}'>")
NOT_WELL_FORMED = {"not-well-formed", "bad-format", "invalid-xml"}


class BadStreams(BystanderTest):
    """The connection's first bytes."""

    async def _error_of(self, data):
        stream = await self.raw()
        stream.write(data)
        return await stream.stream_error()

    def _header(self, **changes):
        text = HEADER.format(domain=self.broker.domain)
        for old, new in changes.values():
            self.assertIn(old, text)
            text = text.replace(old, new)
        return text

    async def test_wrong_stream_namespace(self):
        header = self._header(a=("http://etherx.jabber.org/streams", "urn:example:streams"))
        self.assertEqual(await self._error_of(header), "invalid-namespace")

    async def test_wrong_content_namespace(self):
        self.assertEqual(await self._error_of(self._header(a=("jabber:client", "jabber:server"))),
                         "invalid-namespace")

    async def test_unknown_host(self):
        header = self._header(a=(f"to='{self.broker.domain}'", "to='elsewhere.example'"))
        self.assertEqual(await self._error_of(header), "host-unknown")

    async def test_unsupported_version(self):
        header = self._header(a=("version='1.0' to", "version='nonsense' to"))
        self.assertEqual(await self._error_of(header), "unsupported-version")

    async def test_another_root_element(self):
        self.assertIn(await self._error_of("<?xml version='1.0'?><html><body/></html>"),
                      {"invalid-namespace", "bad-format", "not-well-formed",
                       "bad-namespace-prefix", "invalid-xml"})

    async def test_http(self):
        self.assertIn(await self._error_of("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
                      NOT_WELL_FORMED)

    async def test_noise(self):
        self.assertIn(await self._error_of(bytes(range(1, 256)) * 4),
                      NOT_WELL_FORMED | {"unsupported-encoding", "policy-violation"})

    async def test_zero_bytes(self):
        self.assertIn(await self._error_of(b"\0" * 100), NOT_WELL_FORMED)

    async def test_another_encoding(self):
        header = self._header(a=("<?xml version='1.0'?>",
                                 "<?xml version='1.0' encoding='ISO-8859-1'?>"))
        self.assertEqual(await self._error_of(header), "unsupported-encoding")

    async def test_utf_16(self):
        data = b"\xff\xfe" + self._header().encode("utf-16-le")
        self.assertIn(await self._error_of(data), NOT_WELL_FORMED | {"unsupported-encoding"})

    async def test_dtd(self):
        header = self._header(a=("?><stream", "?><!DOCTYPE x [<!ENTITY a 'b'>]><stream"))
        self.assertIn(await self._error_of(header), {"restricted-xml", "not-well-formed"})

    async def test_comment_before_the_stream(self):
        header = self._header(a=("?><stream", "?><!-- hello --><stream"))
        self.assertEqual(await self._error_of(header), "restricted-xml")

    async def test_stanza_before_authentication(self):
        user = self.broker.user()
        self.assertEqual(await self._error_of(
            self._header() + f"<message to='{self.jid(user)}'><body>hi</body></message>"),
            "not-authorized")

    async def test_binding_before_authentication(self):
        self.assertEqual(await self._error_of(
            self._header() + "<iq type='set' id='b'><bind "
            "xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"), "not-authorized")

    async def test_stanza_between_challenge_and_response(self):
        stream = await self.raw()
        await stream.features()
        stream.auth("SCRAM-SHA-256", f"n,,n={self.broker.user()},r=abcdefghijk")
        await stream.expect(SASL + "challenge")
        stream.write("<presence/>")
        self.assertEqual(await stream.stream_error(), "not-authorized")

    async def test_endless_header(self):
        self.assertIn(await self._error_of(self._header()[:-1] + " a='" + "x" * 200000),
                      {"policy-violation", "resource-constraint"} | NOT_WELL_FORMED)

    async def test_big_stanza_before_authentication(self):
        self.assertIn(await self._error_of(
            self._header() + f"<auth xmlns='{SASL[1:-1]}' mechanism='SCRAM-SHA-256'>"
            + "A" * 100000 + "</auth>"), {"policy-violation", "resource-constraint"})

    async def test_byte_by_byte(self):
        """A whole login in segments of one byte."""
        stream = await self.raw()
        write = stream.write
        pending = []

        def write_bytewise(data):
            pending.append(data.encode() if isinstance(data, str) else data)

        stream.write = write_bytewise
        reading = stream.next

        async def send_then_read():
            for data in pending:
                for i in range(len(data)):
                    write(data[i:i + 1])
                    await stream.yield_to_network()
            pending.clear()
            return await reading()

        stream.next = send_then_read
        await stream.login(self.broker.user())
        await stream.ping()

    async def test_in_halves_at_every_place(self):
        user = self.broker.user()
        stream = await self.raw_login(user)
        text = (f"<message to='{stream.jid}' id='%d' type='chat'><body>&lt;caf\u00e9&gt; "
                "\U0001f426</body><x xmlns='urn:example:x' a=\"b\"/></message>").encode()
        for cut in range(1, len(text), 3):
            data = text.replace(b"%d", str(cut).encode())
            stream.write(data[:cut])
            await stream.yield_to_network()
            stream.write(data[cut:])
            message = await stream.next_message()
            self.assertEqual(message.get("id"), str(cut))
            self.assertEqual(message.findtext(CLIENT + "body"), "<caf\u00e9> \U0001f426")

    async def test_silence_then_half_close(self):
        stream = await self.raw()
        stream.half_close()
        await stream.closed()

    async def test_half_close_after_the_header(self):
        stream = await self.raw()
        await stream.features()
        stream.half_close()
        await stream.closed()


class BadStanzas(BystanderTest):
    """From a session that is logged in."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.user = self.broker.user()
        self.stream = await self.raw_login(self.user)

    async def _error_of(self, data):
        self.stream.write(data)
        return await self.stream.stream_error()

    async def test_mismatched_tags(self):
        self.assertIn(await self._error_of("<message><body>x</message></body>"), NOT_WELL_FORMED)

    async def test_undeclared_prefix(self):
        self.assertIn(await self._error_of("<foo:message to='x'/>"),
                      NOT_WELL_FORMED | {"bad-namespace-prefix"})

    async def test_attribute_twice(self):
        self.assertIn(await self._error_of("<message id='a' id='b'/>"), NOT_WELL_FORMED)

    async def test_attribute_without_quotes(self):
        self.assertIn(await self._error_of("<message id=a/>"), NOT_WELL_FORMED)

    async def test_less_than_in_attribute(self):
        self.assertIn(await self._error_of("<message id='<'/>"), NOT_WELL_FORMED)

    async def test_text_between_stanzas(self):
        self.assertIn(await self._error_of("hello"), NOT_WELL_FORMED)

    async def test_whitespace_between_stanzas_is_fine(self):
        self.stream.write(" \n\t\r\n ")
        await self.stream.ping()

    async def test_comment(self):
        self.assertEqual(await self._error_of("<!-- hello -->"), "restricted-xml")

    async def test_comment_in_a_stanza(self):
        self.assertEqual(await self._error_of("<message><!-- x --><body>y</body></message>"),
                         "restricted-xml")

    async def test_processing_instruction(self):
        self.assertEqual(await self._error_of("<?php echo ?>"), "restricted-xml")

    async def test_processing_instruction_in_a_stanza(self):
        self.assertEqual(await self._error_of("<message><?x y?></message>"), "restricted-xml")

    async def test_dtd(self):
        self.assertIn(await self._error_of("<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>"),
                      {"restricted-xml"} | NOT_WELL_FORMED)

    async def test_entity_of_ones_own(self):
        self.assertIn(await self._error_of("<message><body>&lol;</body></message>"),
                      {"restricted-xml"} | NOT_WELL_FORMED)

    async def test_invalid_utf_8(self):
        for data in (b"\xff", b"\xc3(", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                     b"\xe6\x97"):
            with self.subTest(data=data):
                stream = await self.raw_login(self.broker.user())
                stream.write(b"<message to='x'><body>" + data + b"</body></message>")
                self.assertIn(await stream.stream_error(),
                              NOT_WELL_FORMED | {"unsupported-encoding"})

    async def test_forbidden_characters(self):
        for data in ("\x01", "\x0b", "\ufffe", "&#0;", "&#x1;", "&#xd800;", "&#x110000;"):
            with self.subTest(data=data):
                stream = await self.raw_login(self.broker.user())
                stream.write(f"<message to='x'><body>{data}</body></message>")
                self.assertIn(await stream.stream_error(), NOT_WELL_FORMED | {"restricted-xml"})

    async def test_too_deep(self):
        self.assertIn(await self._error_of("<message>" + "<a xmlns='urn:example:a'>" * 10000),
                      {"policy-violation", "resource-constraint"} | NOT_WELL_FORMED)

    async def test_too_big(self):
        self.stream.write("<message to='x'><body>")
        writing = asyncio.ensure_future(self._flood())
        try:
            self.assertIn(await self.stream.stream_error(),
                          {"policy-violation", "resource-constraint"})
        finally:
            writing.cancel()

    async def _flood(self):
        try:
            for _ in range(1000):
                self.stream.write("x" * 65536)
                await self.stream.drain()
        except ConnectionError:
            pass  # it had enough

    async def test_too_many_attributes(self):
        attributes = "".join(f" a{i}='{i}'" for i in range(20000))
        self.stream.write(f"<message{attributes}/>")
        try:
            await self.stream.ping()  # within the limit of the size, it may as well be accepted
        except (StreamEnd, AssertionError, ConnectionError):
            pass

    async def test_wrong_namespace(self):
        self.assertIn(await self._error_of("<message xmlns='urn:example:other' to='x'/>"),
                      {"unsupported-stanza-type", "invalid-namespace"})

    async def test_unknown_stanza(self):
        self.assertEqual(await self._error_of("<telegram/>"), "unsupported-stanza-type")

    async def test_second_header(self):
        self.stream.open_stream()
        self.assertIn(await self.stream.stream_error(),
                      {"bad-format", "invalid-xml", "not-well-formed", "restricted-xml",
                       "unsupported-stanza-type", "not-authorized", "invalid-namespace"})

    async def test_iq_without_id(self):
        self.stream.write("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer, _ = await self.stream.until(CLIENT + "iq")
        self.assertEqual(condition_of(answer), "bad-request")

    async def test_iq_of_unknown_type(self):
        self.stream.write("<iq type='fetch' id='f'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer, _ = await self.stream.until(CLIENT + "iq", id="f")
        self.assertEqual(condition_of(answer), "bad-request")

    async def test_data_after_the_end(self):
        self.stream.write(f"</stream:stream><message to='{self.stream.jid}'/>")
        with self.assertRaises(StreamEnd):
            while True:
                await self.stream.next()
        await self.stream.closed()

    async def test_mixed_line_of_errors_and_good_stanzas(self):
        """What came before the mistake is still handled."""
        other = await self.raw_login(self.broker.user())
        self.stream.message(other.jid, "good", "before the mistake")
        self.stream.write("<message></iq>")
        self.assertIn(await self.stream.stream_error(), NOT_WELL_FORMED)
        self.assertEqual((await other.next_message()).get("id"), "good")

    async def test_stream_error_from_the_client(self):
        self.stream.write("<stream:error><undefined-condition "
                          "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        with self.assertRaises(StreamEnd):
            while True:
                self.assertNotEqual((await self.stream.next()).tag, STREAM + "error")
        await self.stream.closed()
