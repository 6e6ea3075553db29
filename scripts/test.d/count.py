#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many tests of a `meson test` run passed and failed.

usage: count.py TESTLOG.JSON

A Criterion program counts with its test cases, any other program as one test. A program that ended
badly counts at least one failure, however its cases ended; so do one that was skipped and a
Criterion program without cases. Prints 'PASSED FAILED', and to standard error what failed.
"""

import json
import re
import sys

SYNTHESIS = re.compile(r"Tested: *(\d+) *\| *Passing: *(\d+) *\| *Failing: *(\d+) *"
                       r"\| *Crashing: *(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SHOWN_LINES = 60


def count(run):
    output = COLOUR.sub("", (run.get("stdout") or "") + (run.get("stderr") or ""))
    good = run["result"] in ("OK", "EXPECTEDFAIL")
    cases = SYNTHESIS.findall(output)
    if not cases:
        return (1, 0) if good else (0, 1)
    tested, passing, failing, crashing = (sum(int(case[i]) for case in cases) for i in range(4))
    failed = max(failing + crashing, tested - passing)
    if (not good or tested == 0) and failed == 0:
        failed = 1
    return passing, failed


def main():
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as file:
        for line in file:
            run = json.loads(line)
            good, bad = count(run)
            passed += good
            failed += bad
            print(f"{'FAIL' if bad else 'ok  '} {run['name']}: {good} passed, {bad} failed "
                  f"({run['duration']:.1f} s)", file=sys.stderr)
            if bad:
                lines = ((run.get("stdout") or "") + (run.get("stderr") or "")).splitlines()
                print(f"  {run['result']}, status {run.get('returncode')}:", file=sys.stderr)
                for text in lines[-SHOWN_LINES:]:
                    print(f"  {text}", file=sys.stderr)
    print(passed, failed)


if __name__ == "__main__":
    main()
