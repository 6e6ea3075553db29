# SPDX-License-Identifier: Apache-2.0
"""Tests one line each, with a deadline, and a count at the end."""

import signal
import sys
import time
import unittest

DEADLINE_S = 120


class OutOfTime(Exception):
    """A test ran into its deadline."""


def out_of_time(_signal, _frame):
    raise OutOfTime(f"the test took more than {DEADLINE_S} s")


class Result(unittest.TextTestResult):
    """One line a test, and a deadline for each."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0
        self.failed = 0
        self._ok = True

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self._ok = True
        self._began = time.monotonic()
        signal.alarm(DEADLINE_S)

    def stopTest(self, test):
        signal.alarm(0)
        seconds = time.monotonic() - self._began
        name = test.id().removeprefix("test_")
        print(f"{'ok  ' if self._ok else 'FAIL'} {name} ({seconds:.2f} s)", flush=True)
        self.passed += self._ok
        self.failed += not self._ok
        unittest.TestResult.stopTest(self, test)

    def addSuccess(self, test):
        pass

    def addError(self, test, err):
        self._ok = False
        unittest.TestResult.addError(self, test, err)

    def addFailure(self, test, err):
        self._ok = False
        unittest.TestResult.addFailure(self, test, err)

    def addSubTest(self, test, subtest, err):
        self._ok = self._ok and err is None
        unittest.TestResult.addSubTest(self, test, subtest, err)


def run(names):
    """Runs these modules, classes or tests, without the test_ they begin with. The exit status."""
    signal.signal(signal.SIGALRM, out_of_time)
    suite = unittest.defaultTestLoader.loadTestsFromNames([f"test_{name}" for name in names])
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0)
    result = runner.run(suite)
    failed = result.failed + (result.passed + result.failed == 0)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed else 0
