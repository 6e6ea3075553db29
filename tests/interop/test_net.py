# SPDX-License-Identifier: Apache-2.0
"""Addresses of both families, whole ranges of them, and a router, with the kernel as the neighbour
that asks and is asked (RFC 826, RFC 4861)."""

import asyncio
import copy
import json
import os
import socket
import subprocess

import clients
from base import BystanderTest, eventually
from raw import CLIENT, RawStream

# What scripts/sandbox gives to the kernel's side: elsewhere, behind a router that is the kernel.
FAR = {socket.AF_INET: "10.77.9.2", socket.AF_INET6: "fd00:77:0:9::2"}
RANGES = {socket.AF_INET: "10.77.1.{}", socket.AF_INET6: "fd00:77:0:1:{:x}::7"}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def ping(host, *options):
    """Three echoes must come back, of 1400 bytes so that more than a header is compared."""
    run("ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "-s", "1400", *options, host)


def device(host):
    """The interface on which it is."""
    return json.loads(run("ip", "-j", "route", "get", host))[0]["dev"]


def neighbour(host):
    """What the kernel knows of a neighbour: its Ethernet address, or None."""
    known = json.loads(run("ip", "-j", "neigh", "show", "to", host, "dev", device(host)))
    return known[0].get("lladdr") if known else None


class Net(BystanderTest):
    def hosts(self):
        return {socket.AF_INET: self.broker.host, socket.AF_INET6: self.broker.host6}

    def net_counter(self, name):
        return self.broker.ctl("counters")["counters"]["net"].get(name, 0)

    async def login_to(self, host, user, local=None):
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(host, self.broker.port,
                                    local_addr=(local, 0) if local else None), 20)
        stream = RawStream(self.broker, reader, writer)
        self._streams.append(stream)
        return await stream.login(user)

    async def talk(self, a, b, words):
        """Messages both ways, some of many segments."""
        for sender, recipient in ((a, b), (b, a)):
            for i, size in enumerate((5, 3000, 100000)):
                sender.message(recipient.jid, f"{words}-{i}", "x" * size)
                message = await recipient.next_message()
                self.assertEqual(len(message.findtext(CLIENT + "body")), size)

    async def test_echo(self):
        for host in self.hosts().values():
            ping(host)

    async def test_login_and_messages(self):
        """Who is on which family makes no difference."""
        hosts = self.hosts()
        a = await self.login_to(hosts[socket.AF_INET6], self.broker.user())
        b = await self.login_to(hosts[socket.AF_INET6], self.broker.user())
        c = await self.login_to(hosts[socket.AF_INET], self.broker.user())
        await self.talk(a, b, "six to six")
        await self.talk(a, c, "six to four")

    async def test_a_client_library(self):
        over_six = copy.copy(self.broker)
        over_six.host = self.broker.host6
        client = clients.Slix(over_six, self.broker.user())
        self._slix.append(client)
        await client.login()
        peer = await self.raw_login(self.broker.user())
        peer.message(self.jid(client.boundjid.user), "m1", "hello over six")
        self.assertEqual((await client.next_message())["body"], "hello over six")

    async def test_refused_port(self):
        for host in self.hosts().values():
            with self.assertRaises(ConnectionRefusedError):
                await asyncio.wait_for(asyncio.open_connection(host, 5221), 20)

    async def test_every_address_of_a_range(self):
        """The kernel asks for each; each answers, and the connection is with it."""
        for family, pattern in RANGES.items():
            for number in (0, 1, 2, 77, 254, 255):
                with self.subTest(family=family, number=number):
                    host = pattern.format(number)
                    stream = await self.login_to(host, self.broker.user())
                    peer = stream.writer.get_extra_info("peername")[0]
                    self.assertEqual(socket.inet_pton(family, peer),
                                     socket.inet_pton(family, host))
                    await stream.ping()
                    self.assertEqual(neighbour(host), neighbour(self.hosts()[family]))

    async def test_echo_of_a_range(self):
        for pattern in RANGES.values():
            ping(pattern.format(99))

    async def test_beside_a_range(self):
        """Nobody answers for what is not configured."""
        link = device(self.broker.host)
        run("ip", "route", "replace", "10.77.2.0/24", "dev", link)
        try:
            with self.assertRaises(OSError):
                await asyncio.wait_for(asyncio.open_connection("10.77.2.1", self.broker.port), 30)
        finally:
            run("ip", "route", "del", "10.77.2.0/24", "dev", link)

    async def test_through_a_router(self):
        """A client elsewhere: the answers go to the router, and it passes them on."""
        hosts = self.hosts()
        for family, local in FAR.items():
            with self.subTest(family=family):
                a = await self.login_to(hosts[family], self.broker.user(), local)
                b = await self.login_to(hosts[family], self.broker.user())
                await self.talk(a, b, "far")
                ping(hosts[family], "-I", local)

    async def test_forgotten_neighbours_are_found_again(self):
        """The kernel forgets all that it knows in the middle of a session."""
        hosts = self.hosts()
        streams = [await self.login_to(host, self.broker.user()) for host in hosts.values()]
        run("ip", "neigh", "flush", "dev", device(self.broker.host))
        for stream in streams:
            await stream.ping()
        for host in hosts.values():
            self.assertIsNotNone(neighbour(host))

    async def test_the_broker_asks_and_is_told(self):
        """What it has only heard of it asks after five seconds (RFC 4861, section 7.3.3)."""
        hosts = self.hosts()
        streams = [await self.login_to(host, self.broker.user()) for host in hosts.values()]

        for counter, stream in zip(("arp_replies_in", "nd_advertisements_in"), streams):
            await stream.ping()
            await eventually(lambda name=counter: self.net_counter(name) > 0, f"{counter} stays 0")
            await stream.ping()

    async def test_neighbours_are_shown(self):
        """What ARP and NDP found is the Ethernet address that the kernel has."""
        for host in self.hosts().values():
            await (await self.login_to(host, self.broker.user())).ping()
        link = device(self.broker.host)
        mac = json.loads(run("ip", "-j", "link", "show", "dev", link))[0]["address"]
        known = self.broker.ctl("neighbour", "list")["neighbours"]
        for address in ("10.77.0.2", "fd00:77::2"):
            self.assertIn((address, mac), [(n["address"], n["ethernet"]) for n in known])

    async def test_icmp_storm(self):
        """Errors that quote guesses harm no session (RFC 5927)."""
        stream = await self.login_to(self.broker.host6, self.broker.user())
        local_port = stream.writer.get_extra_info("sockname")[1]
        quoted = bytes([0x60, 0, 0, 0, 0, 20, 6, 64])
        quoted += socket.inet_pton(socket.AF_INET6, self.broker.host6)
        quoted += socket.inet_pton(socket.AF_INET6, stream.writer.get_extra_info("sockname")[0])
        quoted += self.broker.port.to_bytes(2, "big") + local_port.to_bytes(2, "big")
        before = self.net_counter("icmp_errors_in")
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            for _ in range(3000):
                for kind, code in ((1, 4), (2, 0)):
                    raw.sendto(bytes([kind, code, 0, 0, 0, 0, 5, 0]) + quoted + os.urandom(4),
                               (self.broker.host6, 0))
        await stream.ping()
        await eventually(lambda: self.net_counter("icmp_errors_in") > before, "none was looked at")
        await stream.ping()

    async def test_malformed_neighbour_discovery(self):
        """Random bytes as every kind of message: sessions over IPv6 notice nothing."""
        stream = await self.login_to(self.broker.host6, self.broker.user())
        before = self.net_counter("drop_nd_format")
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
            for kind in (*range(130, 144), 135, 136):
                for size in range(4, 80):
                    raw.sendto(bytes([kind, 0, 0, 0]) + os.urandom(size), (self.broker.host6, 0))
        await stream.ping()
        await eventually(lambda: self.net_counter("drop_nd_format") > before, "none came")
        ping(self.broker.host6)
