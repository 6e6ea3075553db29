# SPDX-License-Identifier: Apache-2.0
"""Each file of tests/scenarios a class, each scenario a test; and that the player itself notices."""

import glob
import os
from xml.etree import ElementTree

import scenario
from base import BystanderTest, InteropTest

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios")


def _test_of(script):
    async def test(self):
        await scenario.Play(self, script).perform()
    test.__doc__ = f"{os.path.basename(script.path)}: {script.title}"
    return test


for _path in sorted(glob.glob(os.path.join(FOLDER, "*.txt"))):
    _name = os.path.basename(_path)[:-len(".txt")].title().replace("_", "")
    _tests = {}
    for _script in scenario.read(_path):
        if _script.name in _tests:
            raise ValueError(f"{_path}: two scenarios are called {_script.title}")
        _tests[_script.name] = _test_of(_script)
    globals()[_name] = type(_name, (BystanderTest,), {**_tests, "__module__": __name__})


class Player(InteropTest):
    """A pattern that anything matches would make every scenario pass."""

    def check(self, pattern, element, kept=None):
        return scenario.Matcher({} if kept is None else kept).matches(
            ElementTree.fromstring(pattern), ElementTree.fromstring(element))

    async def test_what_matches(self):
        for pattern, element in (
                ("<a/>", "<a/>"),
                ("<a> <b/> </a>", "<a><b/></a>"),
                ("<a><b/><c/></a>", "<a><c/><b/></a>"),
                ("<a k='{*}'/>", "<a k='v'/>"),
                ("<a><b/>...</a>", "<a><c/><b/></a>"),
                ("<a>...</a>", "<a k='v'>text</a>")):
            self.assertTrue(self.check(pattern, element), (pattern, element))

    async def test_what_does_not(self):
        for pattern, element in (
                ("<a/>", "<b/>"),
                ("<a/>", "<a xmlns='n'/>"),
                ("<a/>", "<a k='v'/>"),
                ("<a k='{*}'/>", "<a/>"),
                ("<a k='v'/>", "<a k='w'/>"),
                ("<a/>", "<a><b/></a>"),
                ("<a><b/></a>", "<a/>"),
                ("<a><b/><b/></a>", "<a><b/></a>"),
                ("<a><b/>...</a>", "<a><c/></a>"),
                ("<a>x</a>", "<a>y</a>"),
                ("<a/>", "<a>text</a>")):
            self.assertFalse(self.check(pattern, element), (pattern, element))

    async def test_what_is_kept(self):
        kept = {}
        self.assertTrue(self.check("<a k='{?id}'/>", "<a k='1'/>", kept))
        self.assertTrue(self.check("<a k='{?id}'/>", "<a k='1'/>", kept))
        self.assertFalse(self.check("<a k='{?id}'/>", "<a k='2'/>", kept))
