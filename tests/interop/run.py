#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the interop tests against a running broker.

usage: run.py --sandbox FILE --build DIR [--first-user N] [--password TEXT] [NAME..]

FILE is what `scripts/sandbox up` printed, DIR the meson build folder. A NAME is a module (login),
a class (login.Binding) or a test (login.Binding.test_resource_asked_for); without any, all run
but those that need a broker of their own: `plain` one that allows PLAIN, `full` one with mailboxes
of 20 messages of which one sender may have all, `share` half, `aged` ones whose mail lives for a second,
`starved` one with 24 MiB of memory, `domains` one that serves second.test as well, `impatient` one that
waits a second for a login, `cutting` one with a net_tap port, `capture` one that allows captures,
`keepalive` one that probes after a second of silence. The last line is 'N passed, N failed'.
"""

import argparse
import logging
import os
import sys

import clients
import counted
import sandbox

MODULES = ("login", "streams", "message", "delivery", "scenarios", "offline", "sm", "resume", "heirs",
           "dirty", "cross", "repeat", "roster", "bad_input", "tcp", "net", "conn", "keys", "dispatch", "clients", "profanity")

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
    return counted.run(arguments.names or MODULES)


if __name__ == "__main__":
    sys.exit(main())
