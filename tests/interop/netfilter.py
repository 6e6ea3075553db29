# SPDX-License-Identifier: Apache-2.0
"""Frames of the broker that a client's kernel never sees: dropped by nftables, in the sandbox."""

import contextlib
import os
import subprocess


@contextlib.contextmanager
def deaf_port(port):
    """Within it, nothing that is sent to this local TCP port arrives."""
    table = f"deaf_{os.getpid()}_{port}"
    rules = (f"add table inet {table}\n"
             f"add chain inet {table} in {{ type filter hook input priority 0; }}\n"
             f"add rule inet {table} in tcp dport {port} drop\n")
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
