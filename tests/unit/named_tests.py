#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds a matrix of requirements against the tests that it names: usage: named_tests.py PAGE TESTS.

In the last column of each table of PAGE, `suite::test` is a test in TESTS/unit, and a name in
backquotes behind it one of the same suite; * and an ellipsis stand for anything. "pkt name, name" are
files of TESTS/segments. Each must be there."""

import fnmatch
import glob
import os
import re
import sys


def tests_in(directory):
    found = set()
    for path in glob.glob(f"{directory}/unit/test_*.c"):
        with open(path, encoding="utf-8") as file:
            found.update(re.findall(r"^\w*(?:Test|TEST)\((\w+), (\w+)", file.read(), re.M))
    return {f"{suite}::{test}" for suite, test in found}


def named_in(line):
    """Patterns of tests, and names of scripts, in a row's last column."""
    column = line.rstrip().rstrip("|").rsplit("|", 1)[-1]
    suite, tests = None, []
    for name in re.findall(r"`([^`]+)`", column):
        if "::" in name:
            suite = name.split("::")[0]
            tests.append(name.replace("…", "*"))
        elif suite and re.fullmatch(r"[a-z0-9_*…]+", name):
            tests.append(f"{suite}::{name}".replace("…", "*"))
    scripts = []
    for row in re.findall(r"\bpkt ([a-z0-9-]+(?:, (?!sim\b)[a-z0-9-]+)*)", column):
        scripts += row.split(", ")
    return tests, scripts


def main():
    page, directory = sys.argv[1:]
    known = tests_in(directory)
    wrong, count = [], 0
    with open(page, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.startswith("|"):
                continue
            tests, scripts = named_in(line)
            count += len(tests) + len(scripts)
            wrong += [f"{page}:{number}: no test {t}" for t in tests
                      if not fnmatch.filter(known, t)]
            wrong += [f"{page}:{number}: no script {s}" for s in scripts
                      if not os.path.exists(f"{directory}/segments/{s}.pkt")]
    if count == 0:
        wrong.append(f"{page}: names no test")
    print("\n".join(wrong) or f"{count} names")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
