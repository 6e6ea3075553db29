#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scripts that are wrong must fail, and say where, what was expected and what came.

usage: check_wrong.py RUN LIBRARY SCRIPT..

Each script says in lines `# wrong: TEXT` what its failure must print.
"""

import subprocess
import sys


def complaints(run, library, path):
    with open(path, encoding="utf-8") as file:
        wanted = [line.split(": ", 1)[1].strip() for line in file if line.startswith("# wrong: ")]
    done = subprocess.run([run, library, path], capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 1:
        yield f"{path}: status {done.returncode}"
    if not wanted:
        yield f"{path}: it does not say what must be printed"
    for text in wanted:
        if text not in done.stdout:
            yield f"{path}: does not print {text!r} but\n{done.stdout}"


def main():
    run, library, *scripts = sys.argv[1:]
    found = [text for path in scripts for text in complaints(run, library, path)]
    print("\n".join(found))
    return 1 if found or not scripts else 0


if __name__ == "__main__":
    sys.exit(main())
