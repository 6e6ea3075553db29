# SPDX-License-Identifier: Apache-2.0
"""What a stream's header says, and what of it holds for the stanzas in it (RFC 6120 sections 4.7, 8.1)."""

from xml.etree import ElementTree

from base import InteropTest
from raw import CLIENT, SASL, STREAM

LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# What may stand in a message and is not written as most would write it.
ODD = (
    "<x xmlns='urn:example:x'/>",
    "<x:y xmlns:x='urn:example:x' x:z='1' z='2'><x:y/></x:y>",
    "<p:a xmlns:p='urn:example:root' q='&#x9;&#10;&#13; &quot;&apos;&lt;&amp;'/>",
    "<a xmlns='urn:example:a'><b xmlns=''><c xmlns='urn:example:c'/></b></a>",
    "<a xmlns='urn:example:a'>one<![CDATA[<two>&three;]]>four<b/>five</a>",
    "<a xmlns='urn:example:a'>&#x1F426;\u00e9\u0301 &#233; ]] &gt;\r\nline\rend\n</a>",
    "<a xmlns='urn:example:a' k=\"it's\" j='\"' xml:space='preserve' xml:lang='de'> \t </a>",
    "<q:b xmlns:q='urn:example:outer'><q:b xmlns:q='urn:example:inner' q:k='v'/></q:b>",
    "<s:c xmlns:s='http://etherx.jabber.org/streams'/>",
    "<stream:features/>",
    "<\u00e9l\u00e9ment xmlns='urn:example:\u00e9' \u00e5='\u00f6'/>",
    "<body xmlns='jabber:client' xml:lang='fr'>deux</body>",
)


class Header(InteropTest):
    async def _error_of(self, stream, attributes, to=None):
        stream.open_stream(to, attributes)
        return await stream.stream_error()

    async def test_who_says_who_it_is_is_answered(self):
        stream, user = await self.raw(), self.broker.user()
        stream.open_stream(attributes=f"version='1.0' from='{self.jid(user).upper()}'")
        await stream.expect(STREAM + "features")
        self.assertEqual(stream.header.get("to"), self.jid(user))
        self.assertEqual((await stream.scram(user)).tag, SASL + "success")
        stream.open_stream(attributes=f"version='1.0' from='{self.jid(user)}'")
        await stream.expect(STREAM + "features")
        self.assertEqual(stream.header.get("to"), self.jid(user))

    async def test_who_does_not_is_not(self):
        stream = await self.raw()
        await stream.features()
        self.assertIsNone(stream.header.get("to"))

    async def test_who_says_nonsense_is_refused(self):
        for who in ("@", "romeo@elsewhere.example", "", "elsewhere.example"):
            with self.subTest(who=who):
                self.assertEqual(await self._error_of(await self.raw(), f"version='1.0' from='{who}'"),
                                 "invalid-from")

    async def test_another_name_after_the_login_is_refused(self):
        stream, user = await self.raw(), self.broker.user()
        await stream.features()
        await stream.scram(user)
        self.assertEqual(await self._error_of(stream, f"version='1.0' from='x{self.jid(user)}'"),
                         "invalid-from")

    async def test_versions(self):
        for version, error in (("", "unsupported-version"), ("version='0.9'", "unsupported-version"),
                               ("version='1.7'", None), ("version='2.0'", None)):
            with self.subTest(version=version):
                stream = await self.raw()
                if error:
                    self.assertEqual(await self._error_of(stream, version), error)
                    continue
                stream.open_stream(attributes=version)
                await stream.expect(STREAM + "features")
                self.assertEqual(stream.header.get("version"), "1.0")

    async def test_limits_are_advertised(self):
        """XEP-0478: other ones after the login."""
        stream = await self.raw()
        before = await stream.features()
        self.assertEqual((await stream.scram(self.broker.user())).tag, SASL + "success")
        after = await stream.features()
        limits = "{urn:xmpp:stream-limits:0}"
        for features, size in ((before, "8192"), (after, "262144")):
            found = features.find(limits + "limits")
            self.assertEqual(found.findtext(limits + "max-bytes"), size)
            self.assertGreater(int(found.findtext(limits + "idle-seconds")), 0)


class Language(InteropTest):
    async def _login(self, lang):
        stream, user = await self.raw(), self.broker.user()
        await stream.features()
        await stream.scram(user)
        stream.open_stream(attributes=f"version='1.0' xml:lang='{lang}'")
        await stream.expect(STREAM + "features")
        await stream.bind()
        await stream.announce()
        return stream

    async def test_stanzas_are_in_the_language_of_their_stream(self):
        reader, writer = await self.raw_login(self.broker.user()), await self._login("de-CH")
        writer.write(f"<message to='{reader.jid}' id='a'><body>Gr\u00fcezi</body></message>"
                     f"<message to='{reader.jid}' id='b' xml:lang='fr'><body>Salut</body></message>"
                     f"<presence to='{reader.jid}'><status>da</status></presence>")
        self.assertEqual([(await reader.next_message()).get(LANG) for _ in range(2)],
                         ["de-CH", "fr"])
        presence, _ = await reader.until(CLIENT + "presence", **{"from": writer.jid})
        self.assertEqual(presence.get(LANG), "de-CH")

    async def test_a_stream_without_one_gives_none(self):
        reader, writer = await self.raw_login(self.broker.user()), await self.raw_login(self.broker.user())
        writer.message(reader.jid, "a", "x")
        self.assertIsNone((await reader.next_message()).get(LANG))

    async def test_what_is_no_language_is_not_passed_on(self):
        for lang in ("&apos;/>", "x" * 36, "d e", "\u00e9"):
            with self.subTest(lang=lang):
                stream = await self._login(lang)
                stream.message(stream.jid, "a", "x")
                self.assertIsNone((await stream.next_message()).get(LANG))


class Content(InteropTest):
    async def test_odd_documents_arrive_unchanged_in_meaning(self):
        """By the canonical form of what was sent and of what came, whole and byte by byte."""
        writer, reader = await self.raw_login(self.broker.user()), await self.raw_login(self.broker.user())
        for piecewise in (False, True):
            for number, odd in enumerate(ODD):
                with self.subTest(odd=odd, piecewise=piecewise):
                    text = (f"<message xmlns:p='urn:example:root' to='{reader.jid}' id='{number}'>"
                            f"{odd}</message>")
                    await self._write(writer, text, piecewise)
                    self.assertEqual(self._canonical(await reader.next_message(), drop=True),
                                     self._canonical(self._parse(text)))

    async def _write(self, writer, text, piecewise):
        data = text.encode()
        for at in range(0, len(data), 7 if piecewise else len(data)):
            writer.write(data[at:at + 7] if piecewise else data)
            await writer.yield_to_network()

    def _parse(self, text):
        return ElementTree.fromstring("<w xmlns='jabber:client' xmlns:stream="
                                      f"'http://etherx.jabber.org/streams'>{text}</w>")[0]

    def _canonical(self, message, drop=False):
        """Its children; without the stanza-id, which came last."""
        children = list(message)[:-1] if drop else list(message)
        return [ElementTree.canonicalize(ElementTree.tostring(child, "unicode"), rewrite_prefixes=True)
                for child in children]
