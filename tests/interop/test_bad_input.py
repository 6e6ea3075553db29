# SPDX-License-Identifier: Apache-2.0
"""What is not XMPP gets the stream error that RFC 6120 names, and harms nobody else."""

import asyncio

from base import BystanderTest
from raw import CLIENT, SASL, STREAM, StreamEnd, local
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

    async def test_entity_bomb(self):
        bomb = "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" for i in range(1, 10))
        header = self._header(a=("?><stream", f"?><!DOCTYPE x [<!ENTITY l0 'lol'>{bomb}]><stream"))
        self.assertEqual(await self._error_of(header + "<auth>&l9;</auth>"), "restricted-xml")

    async def test_many_elements_before_authentication(self):
        """Few bytes each; whether they come as one or as many."""
        for many in (f"<auth xmlns='{SASL[1:-1]}' mechanism='SCRAM-SHA-256'>" + "<a/>" * 40 + "</auth>",
                     f"<auth xmlns='{SASL[1:-1]}' mechanism='SCRAM-SHA-256'>"
                     "biwsbj11MCxyPWFiY2RlZmdoaWpr</auth>" * 40):
            self.assertEqual(await self._error_of(self._header() + many), "policy-violation")

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
                     b"\xe6\x97", b"\xeb<>"):
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
        self.assertEqual(await self._error_of("<message>" + "<a xmlns='urn:example:a'>" * 10000),
                         "policy-violation")

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
        def attributes(count):
            return "".join(f" a{i}='{i}'" for i in range(count))
        self.stream.write(f"<message type='headline'><x xmlns='urn:example:x'{attributes(63)}/></message>")
        await self.stream.ping()
        for count in (65, 20000):
            with self.subTest(count=count):
                stream = await self.raw_login(self.broker.user())
                stream.write(f"<message{attributes(count)}/>")
                self.assertEqual(await stream.stream_error(), "policy-violation")

    async def test_too_many_elements(self):
        self.assertEqual(await self._error_of("<message>" + "<a/>" * 3000 + "</message>"),
                         "policy-violation")

    async def test_too_long_names(self):
        for name in ("n" * 257, "a:" + "n" * 257, "p" * 257 + ":n"):
            with self.subTest(name=name[:3]):
                stream = await self.raw_login(self.broker.user())
                stream.write(f"<message xmlns:a='urn:example:a'><{name}/></message>")
                self.assertEqual(await stream.stream_error(), "policy-violation")

    async def test_namespace_flood(self):
        """More prefixes at once than may be bound; one after the other they are no trouble."""
        after = "".join(f"<x xmlns:p{i}='urn:example:{i}'/>" for i in range(1000))
        self.stream.write(f"<message type='headline'>{after}</message>")
        await self.stream.ping()
        inside = "".join(f"<x xmlns:a{i}='urn:a:{i}' xmlns:b{i}='urn:b:{i}'>" for i in range(40))
        self.assertEqual(await self._error_of(f"<message>{inside}"), "policy-violation")

    async def test_names_that_the_xml_namespaces_reserve(self):
        for wrong in ("<xml:message/>", "<message xmlns:xml='urn:example:x'/>", "<message xmlns:a=''/>",
                      "<message xmlns:xmlns='urn:example:x'/>", "<message a:b='c'/>",
                      "<message xmlns:a='u' xmlns:b='u' a:k='1' b:k='2'/>"):
            with self.subTest(wrong=wrong):
                stream = await self.raw_login(self.broker.user())
                stream.write(wrong)
                self.assertIn(await stream.stream_error(),
                              NOT_WELL_FORMED | {"bad-namespace-prefix", "invalid-namespace"})

    async def test_nested_stream(self):
        for wrong in ("<stream:stream>", "<message><stream:stream/></message>",
                      "<message><body>x</body><s:stream xmlns:s='http://etherx.jabber.org/streams'>"):
            with self.subTest(wrong=wrong):
                stream = await self.raw_login(self.broker.user())
                stream.write(wrong)
                self.assertEqual(await stream.stream_error(), "bad-format")

    async def test_stanza_of_a_server(self):
        self.assertEqual(await self._error_of("<message xmlns='jabber:server' to='x'/>"),
                         "invalid-namespace")

    async def test_spoofed_from(self):
        a, b = self._bystanders
        for wrong in (a.jid, self.jid("u0"), self.broker.domain, self.jid(self.user) + "/other", "",
                      "@", "a@b@c/", "\u202ea@b"):
            with self.subTest(wrong=wrong):
                stream = await self.raw_login(self.user)
                stream.write(f"<message from='{wrong}' to='{b.jid}' id='x'><body>y</body></message>")
                self.assertEqual(await stream.stream_error(), "invalid-from")

    async def test_hostile_addresses(self):
        """RFC 6120 section 8.3.3.8; what is not an address is nobody's."""
        long = "l" * 1023
        for wrong in ("", "@", "/", "a@", "@b", "a@/r", f"{long}x@b", f"a@{long}x", f"a@b/{long}x",
                      "a b@c", "a&amp;b@c", "a&apos;b@c", "a:b@c", "a&lt;b@c", "a\x7fb@c", "a@b c",
                      "a\u2028b@c", "a\ufeffb@c/\u0085", "\u05d0a@c", "a\u05d0@c",
                      "\u3000@c", "\uff20@c", "a\uff20@c", "a\uff0fb@c", "a@c/\ue000", "&#xfdd0;@c"):
            with self.subTest(wrong=wrong):
                for kind, more in (("message", "<body>x</body>"), ("presence", ""),
                                   ("iq", "<ping xmlns='urn:xmpp:ping'/>")):
                    iq = " type='get'" if kind == "iq" else ""
                    self.stream.write(f"<{kind} to='{wrong}' id='{kind}'{iq}>{more}</{kind}>")
                    answer, _ = await self.stream.until(CLIENT + kind, id=kind)
                    self.assertEqual(condition_of(answer), "jid-malformed")

    async def test_addresses_that_look_odd_and_are_not(self):
        """The same account in another spelling; and names as long as may be."""
        local, _, domain = self.stream.jid.partition("/")[0].partition("@")
        wide = "".join(chr(ord(c) + 0xfee0) for c in local)
        for to in (f"{local.upper()}@{domain}", f"{wide}@{domain.upper()}.",
                   f"{local}\u00ad@{domain}", f"{local[0]}\u200b{local[1:]}@{domain}"):
            with self.subTest(to=to):
                self.stream.message(to, "odd", "it is you")
                self.assertEqual((await self.stream.next_message()).get("to"), f"{local}@{domain}")
        longest = "l" * 1023
        self.stream.message(f"{longest}@{domain}/{longest}", "longest", "x")
        answer, _ = await self.stream.until(CLIENT + "message", id="longest")
        self.assertEqual(condition_of(answer), "service-unavailable")

    async def test_hostile_resources(self):
        for wrong in ("r" * 1024, "a&#x7f;", "\ue000", "\ufdd0", "\u05d0a", "a<b/>"):
            with self.subTest(wrong=wrong):
                stream = await self.raw()
                await stream.authenticate(self.user)
                self.assertEqual(condition_of(await stream.bind(wrong)), "bad-request")
        stream = await self.raw()
        await stream.authenticate(self.user)
        await stream.bind("&lt;&quot;&amp;&apos;/@ \u00e9\U0001f9a9" + "r" * 1000)
        self.assertEqual(stream.jid.partition("/")[2][:9], "<\"&'/@ \u00e9\U0001f9a9")
        await stream.ping()

    async def test_what_only_the_server_adds_is_taken_away(self):
        """In any number and spelling; what is somebody else's stays."""
        own, domain = self.jid(self.user), self.broker.domain
        forged = "".join(
            f"<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='f'/>" * 3
            + f"<delay xmlns='urn:xmpp:delay' from='{by}' stamp='2002-09-10T23:08:25Z'/>" * 2
            + f"<x xmlns='jabber:x:delay' from='{by}' stamp='20020910T23:08:25'/>"
            for by in (own, own.upper(), domain, f"{domain.upper()}.", f"x@{domain}/y", "@"))
        forged += ("<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>"
                   "<f:stanza-id xmlns:f='urn:xmpp:sid:0' by='&#x6f;" + own[1:] + "' id='f'/>"
                   "<addresses xmlns='http://jabber.org/protocol/address'>"
                   "<address type='ofrom' jid='king@castle.example'/></addresses>")
        kept = ("<stanza-id xmlns='urn:xmpp:sid:0' by='room@elsewhere.example' id='k'/>"
                "<delay xmlns='urn:xmpp:delay' from='elsewhere.example' stamp='2002-09-10T23:08:25Z'/>"
                "<addresses xmlns='http://jabber.org/protocol/address'>"
                "<address type='replyto' jid='king@castle.example'/></addresses>")
        self.stream.message(self.stream.jid, "m", "x", forged.replace("&#x6f;" + own[1:],
                            "&#x%x;%s" % (ord(own[0]), own[1:])) + kept)
        message = await self.stream.next_message()
        found = [local(child) for child in message]
        self.assertEqual(found, ["body", "stanza-id", "delay", "addresses", "stanza-id"])
        self.assertEqual([s.get("by") for s in message.iter("{urn:xmpp:sid:0}stanza-id")],
                         ["room@elsewhere.example", own])
        self.assertNotEqual(message[-1].get("id"), "f")

    async def test_request_bomb(self):
        """Questions whose answers are not read are not asked on."""
        self.stream.write("<enable xmlns='urn:xmpp:sm:3'/>" + "<r xmlns='urn:xmpp:sm:3'/>" * 5000)
        ask = "".join(f"<iq type='get' id='b{i}'><query xmlns='urn:example:{i}'/></iq>"
                      for i in range(2000))
        self.stream.write(ask)
        answer, before = await self.stream.until(CLIENT + "iq", id="b1999")
        self.assertEqual(condition_of(answer), "service-unavailable")
        self.assertEqual(sum(e.tag == CLIENT + "iq" for e in before), 1999)

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
