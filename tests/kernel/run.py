#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Our TCP against the kernel's, over a cable that is clean, loses segments, or reorders them.

usage: run.py --build DIR [NAME..]

Each test makes a network namespace of its own. A NAME is a module (echo: clients of the kernel;
load: servers of the kernel), a class (echo.AnswersLossyV6) or a test. The last line is
'N passed, N failed'.
"""

import argparse
import os
import signal
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

import counted
import ours


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ours.build = os.path.abspath(arguments.build)
    return counted.run(arguments.names or ["echo", "load"])


if __name__ == "__main__":
    sys.exit(main())
