# SPDX-License-Identifier: Apache-2.0
"""RFC 6121, section 8.5: who gets a stanza, by its kind, its address and who of the account is there.

Each letter of a table is an outcome:
D  one session, that of the address           O  kept until a session comes that reads messages
A  all sessions whose priority is not negative P  all sessions, also those of negative priority
E  an error, service-unavailable              S  silence: nobody gets it, its sender no error
R  the server answers in the account's place

The RFC leaves a choice in some cells (S or E; all or the most available): what Godwit does is here.
"""

import asyncio

from base import InteropTest
from raw import CLIENT
from test_login import condition_of

KINDS = ("normal", "chat", "groupchat", "headline", "error")

# Who is there: resource and priority. A full JID that matches is desk's.
NOBODY = ()
HIDDEN = (("desk", -1),)
ONE = (("desk", 0),)
SOME = (("desk", 0), ("phone", 5), ("shy", -1))

MESSAGES = (
    # account     address    normal chat groupchat headline error
    ("missing",   "bare",    "EEEES"),
    ("missing",   "full",    "EEEES"),
    (NOBODY,      "bare",    "OOESS"),
    (NOBODY,      "gone",    "EOESS"),
    (HIDDEN,      "bare",    "OOESS"),
    (HIDDEN,      "desk",    "DDDDD"),
    (HIDDEN,      "gone",    "EOESS"),
    (ONE,         "bare",    "AAEAS"),
    (ONE,         "desk",    "DDDDD"),
    (ONE,         "gone",    "EAESS"),
    (SOME,        "bare",    "AAEAS"),
    (SOME,        "desk",    "DDDDD"),
    (SOME,        "gone",    "EAESS"),
)

PRESENCE = (
    # account     address    available unavailable
    ("missing",   "bare",    "SS"),
    ("missing",   "full",    "SS"),
    (NOBODY,      "bare",    "SS"),
    (NOBODY,      "gone",    "SS"),
    (HIDDEN,      "bare",    "PP"),
    (HIDDEN,      "desk",    "DD"),
    (HIDDEN,      "gone",    "SS"),
    (SOME,        "bare",    "PP"),
    (SOME,        "desk",    "DD"),
    (SOME,        "gone",    "SS"),
)

IQ = (
    # account     address    get set result error
    ("missing",   "bare",    "EESS"),
    ("missing",   "full",    "EESS"),
    (NOBODY,      "bare",    "EESS"),
    (NOBODY,      "gone",    "EESS"),
    (HIDDEN,      "bare",    "EESS"),
    (HIDDEN,      "desk",    "DDDD"),
    (HIDDEN,      "gone",    "EESS"),
    (SOME,        "bare",    "EESS"),
    (SOME,        "desk",    "DDDD"),
    (SOME,        "gone",    "EESS"),
)


def message(kind, to, stanza_id):
    error = ("<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
             if kind == "error" else "")
    return (f"<message type='{kind}' to='{to}' id='{stanza_id}'><body>{stanza_id}</body>{error}"
            "</message>")


def presence(kind, to, stanza_id):
    of = "" if kind == "available" else f" type='{kind}'"
    return f"<presence to='{to}' id='{stanza_id}'{of}/>"


def iq(kind, to, stanza_id):
    child = {"result": "", "error": "<error type='cancel'>"
             "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"}.get(
                 kind, "<q xmlns='urn:example:unknown'/>")
    return f"<iq type='{kind}' to='{to}' id='{stanza_id}'>{child}</iq>"


class Delivery(InteropTest):
    """One account and one sender a row, so that rows do not see each other's."""

    async def _row(self, there, address, kinds, write, expected):
        sender_user, user = self.broker.users(2)
        sender = await self.raw_login(sender_user)
        if there == "missing":
            user, there = "nobody-of-that-name", ()
        sessions = {}
        for resource, priority in there:
            sessions[resource] = await self.raw_login(user, resource=resource, presence=False)
            await sessions[resource].announce(priority)
        # What its sessions say of each other is not what is asked here.
        await asyncio.gather(*(stream.fence() for stream in sessions.values()))
        to = self.jid(user) + ("" if address == "bare" else
                               "/desk" if address in ("desk", "full") else "/gone")
        for kind in kinds:
            sender.write(write(kind, to, f"id-{kind}"))
        self.answers = {e.get("id"): e for e in await sender.ping()}
        self.got = {name: [e.get("id") for e in await stream.fence()]
                    for name, stream in sessions.items()}
        later = []
        if user != "nobody-of-that-name":
            for stream in sessions.values():
                await stream.end()
            reader = await self.raw_login(user, resource="later")
            later = [e.get("id") for e in await reader.fence() if e.tag == CLIENT + "message"]
        came = "".join(self._letter(f"id-{kind}", there, later) for kind in kinds)
        self.assertEqual(came, expected, f"{there} {address}: {kinds}")

    def _letter(self, stanza_id, there, later):
        who = {name for name, ids in self.got.items() if stanza_id in ids}
        for ids in self.got.values():
            self.assertLessEqual(ids.count(stanza_id), 1, "came twice")
        answer = self.answers.get(stanza_id)
        if answer is not None:
            self.assertFalse(who, "an error, and delivered")
            self.assertNotIn(stanza_id, later)
            if answer.get("type") == "result":
                return "R"
            self.assertEqual(condition_of(answer), "service-unavailable")
            return "E"
        if not who:
            return "O" if stanza_id in later else "S"
        if who == {"desk"} and self._exact:
            return "D"
        open_ones = {name for name, priority in there if priority >= 0}
        if who == open_ones:
            return "A"
        return "P" if who == {name for name, _ in there} else f"({','.join(sorted(who))})"

    async def _table(self, rows, kinds, write):
        for there, address, expected in rows:
            with self.subTest(there=there, address=address):
                self._exact = address == "desk"
                await self._row(there, address, kinds, write, expected)

    async def test_messages(self):
        await self._table(MESSAGES, KINDS, message)

    async def test_presence(self):
        await self._table(PRESENCE, ("available", "unavailable"), presence)

    async def test_iq(self):
        await self._table(IQ, ("get", "set", "result", "error"), iq)
