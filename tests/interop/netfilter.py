# SPDX-License-Identifier: Apache-2.0
"""Frames that never arrive: dropped by nftables, in the sandbox."""

import contextlib
import os
import subprocess


@contextlib.contextmanager
def _dropped(name, rules):
    table = f"{name}_{os.getpid()}"
    text = f"add table inet {table}\n"
    for direction, match in rules:
        text += (f"add chain inet {table} {direction} "
                 f"{{ type filter hook {direction} priority 0; }}\n"
                 f"add rule inet {table} {direction} tcp {match} drop\n")
    subprocess.run(["nft", "-f", "-"], input=text.encode(), check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


def deaf_port(port):
    """Within it, nothing that is sent to this local TCP port arrives."""
    return _dropped(f"deaf_{port}", [("input", f"dport {port}")])


def cut_port(port):
    """Within it, nothing that is sent to this local TCP port or from it arrives."""
    return _dropped(f"cut_{port}", [("input", f"dport {port}"), ("output", f"sport {port}")])
