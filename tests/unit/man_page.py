#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds a man page against what its program says of itself: usage: man_page.py PAGE PROGRAM
[GROUP..].

Every option of `PROGRAM --help` must be in the page, the page must have no other, and groff must take
it without a warning. Of each GROUP of `PROGRAM --help-config` the page has every setting, with its
default, and no other."""

import re
import subprocess
import sys


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def settings(program, groups):
    """Of the configuration that the program describes: names to defaults, - where one has to be set."""
    if not groups:
        return {}
    shown = subprocess.run([program, "--help-config"], check=True, capture_output=True, timeout=30,
                           text=True).stdout
    found = {}
    for group, body in re.findall(r"^(\w+): \{\n(.*?)^\};", shown, re.M | re.S):
        for commented, name, value in re.findall(r"^ +(#?)(\w+) = (.*);$", body, re.M):
            if group in groups:
                found[f"{group}.{name}"] = value if commented else "-"
    return found


def settings_written(written, groups):
    entries = re.findall(r'^\.TP\n\.BR (\w+)\.(\w+) " \((.*)\)"$', written, re.M)
    return {f"{group}.{name}": value for group, name, value in entries if group in groups}


def main():
    page, program, *groups = sys.argv[1:]
    shown = subprocess.run([program, "--help"], check=True, capture_output=True, timeout=30,
                           text=True).stdout
    with open(page, encoding="utf-8") as file:
        written = file.read().replace("\\-", "-").replace("\\fB", " ").replace("\\fR", " ")
    said = options(shown) | {"--help"}
    wrong = [f"{name}: not in the page" for name in sorted(said - options(written))]
    wrong += [f"{name}: not in --help" for name in sorted(options(written) - said)]
    there, here = settings(program, groups), settings_written(written, groups)
    wrong += [f"{group}: no such group" for group in groups
              if not any(name.startswith(group + ".") for name in there)]
    wrong += [f"{name} ({there.get(name)}): the page has {here.get(name)}"
              for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    done = subprocess.run(["groff", "-man", "-ww", "-z", page], capture_output=True, timeout=30,
                          text=True, check=False)
    if done.returncode != 0 or done.stderr:
        wrong.append(f"groff: {done.stderr}")
    print("\n".join(wrong))
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
