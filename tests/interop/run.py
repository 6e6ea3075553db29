#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the interop tests against a running broker.

usage: run.py --sandbox FILE --build DIR [--first-user N] [--password TEXT] [NAME..]

FILE is what `scripts/sandbox up` printed, DIR the meson build folder. A NAME is a module (login),
a class (login.Binding) or a test (login.Binding.test_resource_asked_for); without any, all run
but those that need a broker of their own: `plain` one that allows PLAIN, `full` one with mailboxes
of 20 messages, `starved` one with 32 MiB of memory, `cutting` one with a net_tap port. The last line is 'N passed, N failed'.
"""

import argparse
import logging
import os
import signal
import sys
import time
import unittest

import clients
import sandbox

MODULES = ("login", "message", "offline", "sm", "bad_input", "tcp", "net", "conn", "keys", "dispatch",
           "profanity")
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


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--first-user", type=int, default=0)
    parser.add_argument("--password", default="secret")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    logging.basicConfig(level=logging.CRITICAL)
    build = os.path.abspath(arguments.build)
    sandbox.current = sandbox.Sandbox.read(arguments.sandbox, password=arguments.password,
                                           first_user=arguments.first_user,
                                           godwitctl=f"{build}/control/godwitctl")
    sandbox.current.enter()
    clients.strophe_program = f"{build}/tests/interop/strophe-client"
    signal.signal(signal.SIGALRM, out_of_time)

    names = [f"test_{name}" for name in arguments.names or MODULES]
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0)
    result = runner.run(suite)
    failed = result.failed + (result.passed + result.failed == 0)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
