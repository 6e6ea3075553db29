# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: huge pages, verdicts, threads' CPU times."""
import os
import signal
import statistics
import sys

HUGE_PAGES = "/proc/sys/vm/nr_hugepages"


class Failed(Exception):
    pass


def read_number(path):
    with open(path, encoding="ascii") as f:
        return int(f.read())


class HugePages:
    """Reserves 2 MiB pages for the benchmark and gives back what it took."""

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.before = read_number(HUGE_PAGES)
        self._set(max(self.before, self.count))

    def __exit__(self, *exc):
        self._set(self.before)

    @staticmethod
    def _set(count):
        with open(HUGE_PAGES, "w", encoding="ascii") as f:
            f.write(str(count))


def verdict(name, value, bar, text, at_least=True):
    good = value >= bar if at_least else value <= bar
    print(f"{name}: {text}; ratio {value:.3f}, wanted {'at least' if at_least else 'at most'} "
          f"{bar}: {'reached' if good else 'MISSED'}", flush=True)
    return good


def medians(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def end_in_order_on_sigterm():
    """SIGTERM goes through everything that gives back what it took."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def thread_seconds(pid):
    """CPU seconds of each thread: (thread id, name, seconds)."""
    found, tick = [], os.sysconf("SC_CLK_TCK")
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii") as f:
            name, rest = f.read().rsplit(")", 1)
        fields = rest.split()
        found.append((int(tid), name.split("(", 1)[1],
                      (int(fields[11]) + int(fields[12])) / tick))
    return found


def cpu_seconds():
    """Of all CPUs since the machine started: (in use, taken away by the host)."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(n) / os.sysconf("SC_CLK_TCK") for n in f.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, stolen = fields
    return user + nice + system + irq + softirq, stolen
