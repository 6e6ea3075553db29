# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a cable in it: gw0 is the kernel's, with addresses; gw1 is a port of ours."""

import atexit
import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
KERNEL = {4: "10.78.0.2", 6: "fd00:78::2"}
OURS = {4: "10.78.0.1", 6: "fd00:78::1"}
BITS = {4: 24, 6: 64}
DROPPED_PERCENT = 3
WAIT_S = 10

# Both ways, between the two pairs. Not where frames leave the kernel: there its TCP is told of what
# is dropped, and does not wait (a SYN-ACK that does not leave ends the request, unanswered).
LOSSY = "table netdev lossy {" + "".join(f"""
    chain {way} {{
        type filter hook ingress device "{source}" priority 0;
        meta l4proto tcp numgen random mod 100 < {DROPPED_PERCENT} counter drop
        fwd to "{sink}"
    }}""" for way, source, sink in (("out", "mid0", "mid1"), ("in", "mid1", "mid0"))) + "\n}\n"
# Frames for us are not the kernel's as well: dropped behind the packet socket, before IP.
OURS_ALONE = """
table netdev ours {
    chain port {
        type filter hook ingress device "gw1" priority 0; policy drop;
    }
}
"""


def run(*words, **kwargs):
    return subprocess.run(words, check=True, capture_output=True, timeout=30, **kwargs).stdout


class Cable:
    """In a namespace of its own, which this process enters, and leaves at close."""

    def __init__(self, lossy=False, scrambled=False):
        self._name = f"godwit-kernel-{os.getpid()}"
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._relay = None
        run("ip", "netns", "add", self._name)
        atexit.register(self.close)  # an interrupted test closes nothing
        try:
            self._enter(f"/run/netns/{self._name}")
            self._lay(lossy or scrambled)
            if lossy:
                run("nft", "-f", "-", input=LOSSY.encode())
            if scrambled:
                self._start_relay()
        except BaseException:
            self.close()
            raise

    def _enter(self, path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._set(fd)
        finally:
            os.close(fd)

    @staticmethod
    def _set(fd):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def _lay(self, with_middle):
        run("ip", "link", "set", "lo", "up")
        pairs = [("gw0", "mid0"), ("mid1", "gw1")] if with_middle else [("gw0", "gw1")]
        for one, other in pairs:
            run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
        for end in [end for pair in pairs for end in pair]:
            if end != "gw0":
                run("sysctl", "-q", "-w", f"net.ipv6.conf.{end}.disable_ipv6=1")
            # AF_PACKET sees what leaves a socket: checksums must be finished, segments cut.
            run("ethtool", "-K", end, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            run("ip", "link", "set", end, "up")
        run("sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=1024 65535")
        for family, address in KERNEL.items():
            # Not to be asked for first: a server binds to it at once.
            run("ip", "address", "add", f"{address}/{BITS[family]}", "dev", "gw0",
                *(["nodad"] if family == 6 else []))
        run("nft", "-f", "-", input=OURS_ALONE.encode())

    def _start_relay(self):
        self._relay = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        if self._relay.stdout.readline() != "ready\n":
            raise RuntimeError("the relay did not start")

    def dropped(self):
        """Frames that nftables has dropped so far, each way."""
        rules = json.loads(run("nft", "--json", "list", "table", "netdev", "lossy"))["nftables"]
        return [part["counter"]["packets"] for rule in rules if "rule" in rule
                for part in rule["rule"]["expr"] if "counter" in part]

    def close(self):
        """Also ends the relay; returns how many frames it has reordered, repeated and lost."""
        atexit.unregister(self.close)
        scrambled = None
        if self._relay is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, _ = self._relay.communicate(timeout=WAIT_S)  # its input ends, and so does it
                scrambled = json.loads(out)
            self._relay.kill()
            self._relay.wait()
        self._set(self._home)
        os.close(self._home)
        run("ip", "netns", "delete", self._name)
        return scrambled


# ---- the relay, a process of its own ----

HELD_PERCENT = 4      # of the frames: overtaken by up to HELD_FRAMES later ones
HELD_FRAMES = 6
HELD_S = 0.005        # at most
REPEATED_PERCENT = 1
WAITING_BYTES = 64 << 20  # of frames that the relay has not taken yet
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS = 263, 6


class Way:
    """Frames from one end to the other."""

    def __init__(self, source, sink, random):
        self.source, self.sink, self.random = source, sink, random
        self.held = []  # frames, each with what may still overtake it and when it goes anyway
        self.reordered = self.repeated = self.refused = 0

    def take(self):
        frame, address = self.source.recvfrom(65536)
        if address[2] == socket.PACKET_OUTGOING:
            return
        draw = self.random.randrange(100)
        if draw < HELD_PERCENT:
            self.held.append([frame, self.random.randint(1, HELD_FRAMES), time.monotonic() + HELD_S])
            return
        self.send(frame)
        if draw >= 100 - REPEATED_PERCENT:
            self.repeated += 1
            self.send(frame)
        for entry in self.held:
            entry[1] -= 1
        self.reordered += sum(1 for entry in self.held if entry[1] == 0)
        self.release(lambda entry: entry[1] <= 0)

    def release(self, due):
        for entry in [entry for entry in self.held if due(entry)]:
            self.held.remove(entry)
            self.send(entry[0])

    def send(self, frame):
        try:
            self.sink.send(frame)
        except OSError:
            self.refused += 1

    def lost(self):
        """Frames that never came out: what overtakes and repeats must not lose as well."""
        _, missed = struct.unpack("II", self.source.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return missed + self.refused


def relay():
    import random
    ends = []
    for name in ("mid0", "mid1"):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WAITING_BYTES)
        end.bind((name, 3))
        ends.append(end)
    source = random.Random(1)
    ways = [Way(ends[0], ends[1], source), Way(ends[1], ends[0], source)]
    print("ready", flush=True)
    while True:
        holds = any(way.held for way in ways)
        ready, _, _ = select.select([*ends, sys.stdin], [], [], HELD_S if holds else None)
        if sys.stdin in ready:
            break
        for way in ways:
            if way.source in ready:
                way.take()
            now = time.monotonic()
            way.release(lambda entry: entry[2] <= now)
    print([sum(what(way) for way in ways) for what in
           (lambda way: way.reordered, lambda way: way.repeated, Way.lost)])


if __name__ == "__main__":
    relay()
