# SPDX-License-Identifier: Apache-2.0
"""The server's capabilities are what it answers (XEP-0115), and where its operator is (XEP-0157)."""

import base64
import hashlib

from base import InteropTest
from raw import CLIENT

CAPS = "{http://jabber.org/protocol/caps}"
INFO = "{http://jabber.org/protocol/disco#info}"
FORM = "{jabber:x:data}"


def _form_of(x):
    fields = {field.get("var"): sorted(value.text for value in field) for field in x}
    text = fields.pop("FORM_TYPE")[0] + "<"
    return text + "".join(f"{var}<" + "".join(f"{v}<" for v in fields[var]) for var in sorted(fields))


def verification(query):
    """XEP-0115, section 5.1, of an answer."""
    text = "".join(sorted(f"{i.get('category')}/{i.get('type')}//{i.get('name', '')}<"
                          for i in query.iter(INFO + "identity")))
    text += "".join(sorted(f"{f.get('var')}<" for f in query.iter(INFO + "feature")))
    text += "".join(_form_of(x) for x in query.iter(FORM + "x"))
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


class Discovery(InteropTest):
    async def ask(self, stream, node=None):
        attribute = f" node='{node}'" if node else ""
        stream.write(f"<iq type='get' id='info' to='{self.broker.domain}'>"
                     f"<query xmlns='{INFO[1:-1]}'{attribute}/></iq>")
        return (await stream.expect(CLIENT + "iq", id="info", type="result"))[0]

    async def test_the_hash_is_of_what_it_answers(self):
        stream = await self.raw()
        caps = (await stream.authenticate(self.broker.user())).find(CAPS + "c")
        self.assertEqual(caps.get("hash"), "sha-1")
        await stream.bind()
        answer = await self.ask(stream)
        self.assertEqual(verification(answer), caps.get("ver"))
        node = f"{caps.get('node')}#{caps.get('ver')}"
        named = await self.ask(stream, node)
        self.assertEqual(named.get("node"), node)
        self.assertEqual(verification(named), caps.get("ver"))

    async def test_contacts(self):
        client = await self.slix(self.broker.user()).login()
        info = await client["xep_0030"].get_info(jid=self.broker.domain, local=False, timeout=20)
        fields = {field.get("var"): [value.text for value in field.iter(FORM + "value")]
                  for field in info.xml.iter(FORM + "field")}
        self.assertEqual(fields, {
            "FORM_TYPE": ["http://jabber.org/network/serverinfo"],
            "abuse-addresses": ["mailto:abuse@godwit.test", "xmpp:abuse@godwit.test"],
            "admin-addresses": ["mailto:admin@godwit.test?subject=a&body=b"]})
