# SPDX-License-Identifier: Apache-2.0
"""Conversations with a broker as files that can be read: tests/scenarios says how they are written.

A step is a line: who, and what they do or get. What they send or get is indented below it, as XML.
A client is a name, or a name and a resource: romeo/orchard. In XML {romeo} is that user's bare JID,
{romeo/orchard} the full one, {domain} the broker's. In what is received {*} is any value, {?name}
one that is kept, and the same when it was kept before; "..." between elements: more may follow, and
attributes that are not named.
"""

import asyncio
import re
from xml.etree import ElementTree

from raw import SM

NOBODY = "nobody-of-that-name"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
MORE = "..."


class Failure(AssertionError):
    """Something else came, or nothing; says at which line of which file."""


class Step:
    def __init__(self, line, who, what):
        self.line, self.who, self.what = line, who, what
        self.block = ""


class Scenario:
    def __init__(self, path, title):
        self.path, self.title = path, title
        self.steps = []

    @property
    def name(self):
        """The title as part of a test's name."""
        return "test_" + re.sub(r"\W+", "_", self.title.lower()).strip("_")


def read(path):
    """The scenarios of a file: each begins with `== TITLE`; # begins a comment."""
    scenarios = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("== "):
                scenarios.append(Scenario(path, line[3:]))
            elif not scenarios:
                raise ValueError(f"{path}:{number}: a step before the first title")
            elif line[0].isspace():
                scenarios[-1].steps[-1].block += line + "\n"
            else:
                who, _, what = line.partition(" ")
                scenarios[-1].steps.append(Step(number, who, what))
    return scenarios


# ---- what is received beside what is expected ----

def _is_more(element):
    texts = [element.text] + [child.tail for child in element]
    return any(text is not None and text.strip() == MORE for text in texts)


def _text(text):
    return (text or "").strip()


class Matcher:
    """Holds an element against a pattern, and keeps what {?name} stands for."""

    def __init__(self, kept):
        self._kept = kept

    def value(self, pattern, value):
        if value is None or pattern == "{*}":
            return value is not None
        name = re.fullmatch(r"\{\?([\w-]+)\}", pattern)
        if name:
            return self._kept.setdefault(name[1], value) == value
        return pattern == value

    def matches(self, pattern, element):
        more = _is_more(pattern)
        return (pattern.tag == element.tag and self._attributes(pattern, element, more)
                and (more or self.value(_text(pattern.text), _text(element.text)))
                and self._children(list(pattern), list(element), more))

    def _attributes(self, pattern, element, more):
        if not all(self.value(value, element.get(key)) for key, value in pattern.items()):
            return False
        return more or all(key in pattern.keys() for key in element.keys() if key != XML_LANG)

    def _children(self, patterns, elements, more):
        for pattern in patterns:
            found = next((e for e in elements if e.tag == pattern.tag and self.matches(pattern, e)),
                         None)
            if found is None:
                return False
            elements.remove(found)
        return more or not elements


# ---- who takes part ----

class Play:
    """One performance of a scenario: its users, their clients, what was kept."""

    def __init__(self, test, scenario):
        self._test, self._scenario = test, scenario
        self._users, self._clients, self._kept = {}, {}, {}

    async def perform(self):
        for step in self._scenario.steps:
            try:
                await self._do(step)
            except (AssertionError, OSError, asyncio.TimeoutError, ValueError) as e:
                raise Failure(f"{self._scenario.path}:{step.line}: {step.who} {step.what}: "
                              f"{e or type(e).__name__}") from e

    async def _do(self, step):
        for form, method in STEPS:
            found = re.fullmatch(form, step.what)
            if found:
                await method(self, step, *found.groups())
                return
        raise ValueError("no such step")

    def user(self, name):
        if name not in self._users:
            self._users[name] = self._test.broker.user()
        return self._users[name]

    def _client(self, who):
        if who not in self._clients:
            raise ValueError("is not connected")
        return self._clients[who]

    def _fill(self, text):
        """What is in braces, but what only a pattern has."""
        def value(found):
            name = found[1]
            if name == "domain":
                return self._test.broker.domain
            if name in self._clients and self._clients[name].jid:
                return self._clients[name].jid
            user, _, resource = name.partition("/")
            local = NOBODY if user == "nobody" else self.user(user)
            return self._test.jid(local) + (f"/{resource}" if resource else "")
        return re.sub(r"\{([a-z][\w/-]*)\}", value, text)

    def _fill_kept(self, text):
        return re.sub(r"\{\?([\w-]+)\}", lambda found: self._kept[found[1]], self._fill(text))

    def _patterns(self, block):
        return list(ElementTree.fromstring(
            "<stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            f"{self._fill(block)}</stream>"))

    # ---- steps ----

    async def connects(self, step, _=None):
        user, _, resource = step.who.partition("/")
        sm = "stream management" in step.what
        self._clients[step.who] = await self._test.raw_login(
            self.user(user), resource=resource or None, sm=sm, presence=False)

    async def opens(self, step):
        self._clients[step.who] = client = await self._test.raw()
        await client.features()

    async def logs_in(self, step):
        user = step.who.partition("/")[0]
        self._clients[step.who] = client = await self._test.raw()
        await client.authenticate(self.user(user))

    async def is_available(self, step, priority=None):
        await self._client(step.who).announce(int(priority or 0))

    async def sends(self, step):
        client = self._client(step.who)
        client.write(self._fill_kept(step.block).strip())
        await client.drain()

    async def _next(self, step, patterns):
        """The server may ask for acknowledgements at any time: that is passed over, unless expected."""
        while True:
            came = await self._client(step.who).next()
            if came.tag != SM + "r" or any(p.tag == came.tag for p in patterns):
                return came

    async def receives(self, step):
        for pattern in self._patterns(step.block):
            came = await self._next(step, [pattern])
            kept = dict(self._kept)
            if not Matcher(kept).matches(pattern, came):
                raise AssertionError(f"came {ElementTree.tostring(came, encoding='unicode')}")
            self._kept = kept

    async def receives_in_any_order(self, step):
        patterns = self._patterns(step.block)
        while patterns:
            came = await self._next(step, patterns)
            for pattern in patterns:
                kept = dict(self._kept)
                if Matcher(kept).matches(pattern, came):
                    break
            else:
                raise AssertionError(f"came {ElementTree.tostring(came, encoding='unicode')}")
            patterns.remove(pattern)
            self._kept = kept

    async def receives_nothing(self, step):
        """Once all that anybody has sent is handled."""
        for who, client in self._clients.items():
            if who != step.who and not client.ended:
                client.put_back(await client.ping())
        client = self._client(step.who)
        came = await (client.fence() if client.jid else client.ping())
        came = [element for element in came if element.tag != SM + "r"]
        if came:
            raise AssertionError(f"came {ElementTree.tostring(came[0], encoding='unicode')}")

    async def enables(self, step):
        client = self._client(step.who)
        client.write("<enable xmlns='urn:xmpp:sm:3'/>")
        await client.expect(SM + "enabled")

    async def gets_the_stream_error(self, step, condition):
        client = self._clients.pop(step.who)
        came = await client.stream_error()
        if came != condition:
            raise AssertionError(f"came {came}")

    async def acknowledges(self, step):
        await self._client(step.who).acknowledge()

    async def leaves(self, step):
        await self._clients.pop(step.who).end()

    async def is_cut_off(self, step):
        self._clients.pop(step.who).reset()

    async def runs(self, step, words):
        self._test.broker.ctl(*self._fill_kept(words).split())


STEPS = (
    (r"connects( with stream management)?", Play.connects),
    (r"opens a stream", Play.opens),
    (r"logs in", Play.logs_in),
    (r"is available(?: with priority (-?\d+))?", Play.is_available),
    (r"sends", Play.sends),
    (r"receives", Play.receives),
    (r"receives in any order", Play.receives_in_any_order),
    (r"enables stream management", Play.enables),
    (r"receives nothing", Play.receives_nothing),
    (r"gets the stream error ([\w-]+)", Play.gets_the_stream_error),
    (r"acknowledges", Play.acknowledges),
    (r"leaves", Play.leaves),
    (r"is cut off", Play.is_cut_off),
    (r"runs (.+)", Play.runs),
)
