# SPDX-License-Identifier: Apache-2.0
"""What the crash tests share: a broker of their own, its load, its disk, and how to spoil it."""

import collections
import ctypes
import errno
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WAIT_S = 120

sys.path.insert(0, f"{ROOT}/tests/interop")


def wait_until(condition, what, seconds=WAIT_S):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"never: {what}")
        time.sleep(0.01)


def run(*command, **kwargs):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=WAIT_S, **kwargs)


class Broker:
    """A sandbox of this test's own, in a network namespace of its own."""

    def __init__(self, build, directory, settings=(), preload=None, faults=None, tools=None):
        """`tools` is the build of auditor and load, when it is not the broker's."""
        self.build = os.path.abspath(build)
        self.tools = tools or self.build
        self.directory = directory
        self.settings = settings
        self.environment = dict(os.environ, GODWIT_SANDBOX_DIR=directory,
                                GODWIT_SANDBOX_NETNS=f"godwit-crash-{os.getpid()}",
                                GODWIT_BUILD_DIR=self.build)
        if preload:
            self.environment["GODWIT_SANDBOX_PRELOAD"] = preload
            self.environment["GODWIT_IO_FAULTS"] = faults
        self.where = None

    def command(self, *args):
        return [f"{ROOT}/scripts/sandbox", *args]

    def _run(self, *args):
        done = subprocess.run(self.command(*args), env=self.environment, check=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=600)
        return json.loads(done.stdout)

    def up(self, users):
        options = [word for setting in self.settings for word in ("--set", setting)]
        self.where = self._run("up", "--users", str(users), "--password", "secret", *options)

    def restart(self):
        self.where = self._run("restart")

    @property
    def pid(self):
        return self.where["pid"]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def kill_while_it_starts(self, delay_s):
        """Whether it died before it was ready. Either way it is dead afterwards."""
        before = self._started()
        starting = subprocess.Popen(self.command("restart"), env=self.environment,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        wait_until(lambda: self._started() not in (None, before), "a new broker process")
        pid = self._started()
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)
        return starting.wait(timeout=WAIT_S) != 0

    def _started(self):
        try:
            with open(f"{self.directory}/pid", encoding="ascii") as file:
                return int(file.read().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def ctl(self, *args):
        """What godwitctl answers, decoded."""
        done = run(f"{self.build}/control/godwitctl", "--socket", self.where["control"], *args,
                   "--json", capture_output=True)
        return json.loads(done.stdout)

    def store(self):
        return self.ctl("status")["store"]

    def condition(self):
        return self.store()["condition"]

    def counter(self, group, name):
        return self.ctl("counters", "--all")["counters"][group][name]

    def stop(self):
        """Ends the broker in order, and leaves its store."""
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{self.pid}"), "the end of the broker")

    def audit(self, *logs, store=None):
        """What godwit-audit finds wrong with the store of a broker that has ended: '' or its
        report."""
        command = [f"{self.tools}/tests/audit/godwit-audit", "--config", f"{self.directory}/config",
                   "--users", f"u%@{self.where['domain']}", *(["--store", store] if store else []),
                   *logs]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=WAIT_S, check=False)
        text = done.stdout.decode() + done.stderr.decode()
        print(text, end="", flush=True)
        return "" if done.returncode == 0 else text

    def log(self):
        return subprocess.run(self.command("log", "-n", "40"), env=self.environment, check=False,
                              capture_output=True, timeout=60).stdout.decode(errors="replace")

    def down(self):
        subprocess.run(self.command("down"), env=self.environment, check=True, timeout=120)


class Follower:
    """`godwitctl receipts --follow`, begun again behind its last event whenever the broker has died."""

    def __init__(self, broker):
        self.broker = broker
        self.events = []
        self.wrong = []
        self.ended = False
        self.connections = 0
        self.process = None
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    @property
    def cursor(self):
        return self.events[-1]["cursor"] if self.events else "0"

    def _command(self, since):
        return [f"{self.broker.build}/control/godwitctl", "--socket", self.broker.where["control"],
                "receipts", "--follow", "--since", since]

    def _follow(self):
        while not self.ended:
            self.process = subprocess.Popen(self._command(self.cursor), stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            before = len(self.events)
            for line in self.process.stdout:
                self._take(line)
            self.process.wait()
            self.connections += len(self.events) > before
            time.sleep(0.05)  # the broker is being started

    @staticmethod
    def _lasting(event):
        """When a segment became durable is known to the process that made it so, and to its spill; after
        a crash it is when the segment was closed."""
        if event["event"] == "stored":
            del event["time_us"]
        return event

    def _take(self, line):
        if not line.endswith(b"\n"):
            return  # it died in the middle
        event = json.loads(line)
        place = [int(part) for part in event["cursor"].split(":")]
        if self.events and place <= [int(part) for part in self.cursor.split(":")]:
            self.wrong.append(f"event {event} behind cursor {self.cursor}")
        self.events.append(self._lasting(event))

    def finish(self):
        """What is wrong with what came: it must be what one reads who begins at the oldest event."""
        newest = self.broker.ctl("receipts", "--limit", "1")["receipts"][0]["cursor"]
        segment, ordinal = newest.split(":")
        behind = f"{segment}:{int(ordinal) + 1}"
        wait_until(lambda: any(event["cursor"] == behind for event in reversed(self.events)),
                   "the newest message, followed")
        self.ended = True
        self.process.terminate()
        self.thread.join(WAIT_S)
        whole = self._read_at_once(len(self.events))
        if self.events == whole:
            return self.wrong
        at = next((i for i, pair in enumerate(zip(self.events, whole)) if pair[0] != pair[1]),
                  min(len(self.events), len(whole)))
        return self.wrong + [
            f"of {len(self.events)} events, followed over {self.connections} connections, number {at} is "
            f"{self.events[at:at + 1]}, and {whole[at:at + 1]} for who reads them at once"]

    def _read_at_once(self, count):
        events = []
        with subprocess.Popen(self._command("0"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as process:
            timer = threading.Timer(WAIT_S, process.kill)
            timer.start()
            while len(events) < count and (line := process.stdout.readline()):
                events.append(self._lasting(json.loads(line)))
            timer.cancel()
            process.terminate()
        return events


class Lcore:
    """How the polled thread of a broker fares: that it neither sleeps, nor faults, nor stands."""

    def __init__(self, broker):
        self.broker = broker
        self.tid = self._find()

    def _find(self):
        """Of the dataplane lcores the first: EAL numbers its threads by lcore."""
        tasks = f"/proc/{self.broker.pid}/task"
        found = []
        for tid in os.listdir(tasks):
            with open(f"{tasks}/{tid}/comm", encoding="ascii") as file:
                name = file.read().strip()
            if name.startswith("rte-worker-"):
                found.append((int(name.rsplit("-", 1)[1]), int(tid)))
        return min(found)[1]

    def read(self):
        task = f"/proc/{self.broker.pid}/task/{self.tid}"
        with open(f"{task}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file if ":" in line)
        with open(f"{task}/stat", encoding="ascii") as file:
            stat = file.read().rsplit(")", 1)[1].split()
        return {"slept": int(status["voluntary_ctxt_switches"]), "major_faults": int(stat[9]),
                "passes": self.broker.ctl("lcore", "stat")["lcores"][0]["passes"]}


class Load:
    """godwit-load, and its log, read as it grows."""

    def __init__(self, broker, directory, seed, *, pairs=8, rate=2000, seconds=1800, options=()):
        self.directory = directory
        self.path = f"{directory}/load.log"
        command = broker.command(
            "exec", f"{broker.tools}/bench/load/godwit-load", "chat", "--reconnect",
            "--messages", "0", "--host", broker.where["host"], "--port", str(broker.where["port"]),
            "--domain", broker.where["domain"], "--password", "secret", "--pairs", str(pairs),
            "--rate", str(rate), "--window", "64", "--seed", str(seed), "--deadline", str(seconds),
            "--keepalive-ms", "500", "--log", self.path, "--json", f"{directory}/load.json",
            *options)
        self.process = subprocess.Popen(command, env=broker.environment, stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(self.path), "the load's log")
        self.file = open(self.path, encoding="utf-8")
        self.partial = ""
        self.counts = collections.Counter()
        self.acknowledged = set()
        self.received = set()
        self.refused = set()
        self.last_first = collections.defaultdict(int)  # flow: highest number that has come
        self.out_of_order = []

    def read(self):
        text = self.partial + self.file.read()
        *lines, self.partial = text.split("\n")
        for line in lines:
            self._take(line.split(" "))
        return self.counts

    def _take(self, fields):
        what = fields[1]
        self.counts[what] += 1
        if len(fields) < 6 or what in ("online", "offline"):
            return
        message = (fields[2], fields[3], int(fields[4]))
        if what == "acknowledged":
            self.acknowledged.add(message)
        elif what == "refused":
            self.refused.add(message)
        elif what == "received":
            flow = message[:2]
            if message[2] <= self.last_first[flow]:
                self.out_of_order.append(message)
            self.last_first[flow] = message[2]
            self.received.add(message)

    def wait_for_more(self, what="acknowledged", count=1):
        """Waits for lines of that kind that were not there before."""
        before = self.read()[what]

        def more():
            if self.process.poll() is not None:
                raise RuntimeError("godwit-load ended early")
            return self.read()[what] >= before + count
        wait_until(more, f"{count} more {what}")

    def finish(self):
        """Stops sending, lets everything arrive: status and result."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=WAIT_S)
        self.read()
        with open(f"{self.directory}/load.json", encoding="utf-8") as file:
            return status, json.load(file)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def complaints(self, result, refusals=False):
        """What both verdicts, godwit-load's and that of its log, find wrong."""
        names = ["lost", "duplicated", "reordered", "altered", "misdelivered", "incomplete",
                 "foreign", "repeated"] + ([] if refusals else ["refused"])
        wrong = [f"{name}: {result[name]}" for name in names if result[name] != 0]
        if result["failure"]:
            wrong.append(f"godwit-load failed: {result['failure']}")
        lost = self.acknowledged - self.received - self.refused
        if lost:
            wrong.append(f"the log has {len(lost)} acknowledged and never received, "
                         f"as {sorted(lost)[:3]}")
        both = self.refused & self.received
        if both:
            wrong.append(f"the log has {len(both)} refused and yet received, as {sorted(both)[:3]}")
        if self.out_of_order:
            wrong.append(f"the log has {len(self.out_of_order)} out of order, "
                         f"as {self.out_of_order[:3]}")
        if len(self.acknowledged) != result["acknowledged"]:
            wrong.append("log and result differ")
        return wrong


class Disk:
    """A file system in a file, on a loop device of its own, with direct I/O."""

    def __init__(self, directory, mib, name="disk"):
        self.image = f"{directory}/{name}.img"
        self.path = f"{directory}/{name}"
        self.filler = f"{self.path}/filler"
        self.device = None
        self.mounted = False
        self.mib = mib

    def make(self):
        with open(self.image, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.mib << 20)
        run("mkfs.ext4", "-q", "-m", "0", self.image)
        self.attach()
        return self

    def attach(self):
        done = run("losetup", "--find", "--show", "--direct-io=on", self.image,
                   capture_output=True)
        self.device = done.stdout.decode().strip()
        os.makedirs(self.path, exist_ok=True)
        run("mount", "-o", "noatime", self.device, self.path)
        self.mounted = True
        return self

    def free_bytes(self):
        at = os.statvfs(self.path)
        return at.f_bavail * at.f_frsize

    def fill(self, leave_bytes):
        """Until so much is free; 0: to the last block."""
        with open(self.filler, "ab") as file:
            while self.free_bytes() > leave_bytes:
                size = os.fstat(file.fileno()).st_size
                step = max(4096, min(8 << 20, self.free_bytes() - leave_bytes))
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if step == 4096:
                        return
                    self._fill_to_the_last(file.fileno(), size)
                    return

    @staticmethod
    def _fill_to_the_last(fd, size):
        while True:
            try:
                os.posix_fallocate(fd, size, 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return
            size += 4096

    def clear(self):
        os.unlink(self.filler)

    def writes(self):
        """Of the device: requests completed, sectors, and how many are in flight."""
        name = os.path.basename(self.device)
        with open(f"/sys/block/{name}/stat", encoding="ascii") as file:
            fields = file.read().split()
        return int(fields[4]), int(fields[6]), int(fields[8])

    def remove(self):
        if self.mounted:
            run("umount", self.path)
            self.mounted = False
        if self.device:
            run("losetup", "--detach", self.device)
            self.device = None


class _Faults(ctypes.Structure):
    """struct io_faults in io_faults.h"""
    _fields_ = [("on", ctypes.c_uint32), ("calls", ctypes.c_uint32), ("error", ctypes.c_int32),
                ("shorten", ctypes.c_uint32), ("delay_us", ctypes.c_uint32),
                ("after", ctypes.c_uint32), ("left", ctypes.c_uint32), ("hits", ctypes.c_uint32),
                ("repeated", ctypes.c_uint32), ("under", ctypes.c_char * 256),
                ("once", ctypes.c_char * 256)]


class Faults:
    """Commands the io_faults library that is loaded into a broker."""

    WRITE, SYNC, ALLOCATE = 1, 2, 4
    ALL = 0xffffffff

    def __init__(self, path, store):
        self.path = path
        self.store = os.path.realpath(store)
        with open(path, "wb") as file:
            file.truncate(4096)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self._f = _Faults.from_buffer(self._map)
        self._f.once = f"{self.store}/log/".encode()

    def set(self, calls=WRITE | SYNC, *, error=0, shorten=0, delay_us=0, after=0, count=ALL,
            under=""):
        self._f.on = 0
        self._f.calls, self._f.error, self._f.shorten = calls, error, shorten
        self._f.delay_us, self._f.after, self._f.left = delay_us, after, count
        self._f.under = f"{self.store}/{under}".encode()
        self._f.on = 1

    def clear(self):
        self._f.on = 0

    @property
    def hits(self):
        return self._f.hits

    @property
    def repeated(self):
        return self._f.repeated
