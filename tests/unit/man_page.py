#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds a man page against what its program says of itself: usage: man_page.py PAGE PROGRAM.

Every option of `PROGRAM --help` must be in the page, the page must have no other, and groff must take
it without a warning."""

import re
import subprocess
import sys


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def main():
    page, program = sys.argv[1:]
    shown = subprocess.run([program, "--help"], check=True, capture_output=True, timeout=30,
                           text=True).stdout
    with open(page, encoding="utf-8") as file:
        written = file.read().replace("\\-", "-").replace("\\fB", " ").replace("\\fR", " ")
    said = options(shown) | {"--help"}
    wrong = [f"{name}: not in the page" for name in sorted(said - options(written))]
    wrong += [f"{name}: not in --help" for name in sorted(options(written) - said)]
    done = subprocess.run(["groff", "-man", "-ww", "-z", page], capture_output=True, timeout=30,
                          text=True, check=False)
    if done.returncode != 0 or done.stderr:
        wrong.append(f"groff: {done.stderr}")
    print("\n".join(wrong))
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
