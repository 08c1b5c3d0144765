"""Two network namespaces joined by a bad wire, for the soak of the link. Needs root; nothing outside them is touched.

The wire is a TUN device in each namespace, with this process between them: it delays (and so reorders), drops,
duplicates and throttles IP packets, as `tc netem` does. Where the kernel has netem, that is used
instead, on a veth pair. Both take the same `Weather`.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

ROBOT_IP, LEARNER_IP = "10.177.0.1", "10.177.0.2"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_QUEUE = 1000  # packets on the way in one direction, as netem's default limit


@dataclass(frozen=True)
class Weather:
    """What the wire does to packets, in each direction. Delay and jitter in seconds, rate in bit/s (0: any)."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    rate: float = 0.0
    down: bool = False

    def netem(self) -> list[str]:
        """Arguments of `tc qdisc ... netem`."""
        words = ["delay", f"{self.delay * 1e3:g}ms", f"{self.jitter * 1e3:g}ms", "limit", str(_QUEUE)]
        words += ["loss", f"{100 * (1.0 if self.down else self.loss):g}%", "duplicate", f"{100 * self.duplicate:g}%"]
        return words + (["rate", f"{self.rate:g}bit"] if self.rate else [])


class UserWire:
    """The wire in this process."""

    name = "user-space wire over TUN devices"

    def __init__(self, spaces: tuple[str, str]) -> None:
        self.done: Counter[str] = Counter()
        self._weather = Weather()
        self._rng = random.Random(0)
        self._ends = [_tun(f"rdtun{i}", space) for i, space in enumerate(spaces)]
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._on_the_way = [0, 0]
        self._free = [0.0, 0.0]  # when each direction can take the next packet
        self._serial = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Once both ends are up: one that is down takes no packet."""
        self._thread.start()

    def set(self, weather: Weather) -> None:
        self._weather = weather

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        for end in self._ends:
            os.close(end)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = max(0.0, min(0.1, self._waiting[0][0] - time.monotonic())) if self._waiting else 0.1
            for end in select.select(self._ends, [], [], pause)[0]:
                self._take(self._ends.index(end), os.read(end, 65536))
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, side, packet = heapq.heappop(self._waiting)
                self._on_the_way[side] -= 1
                os.write(self._ends[1 - side], packet)
                self.done["delivered"] += 1

    def _take(self, side: int, packet: bytes) -> None:
        weather, rng = self._weather, self._rng
        if weather.down or rng.random() < weather.loss or self._on_the_way[side] >= _QUEUE:
            self.done["dropped"] += 1
            return
        copies = 1 + (rng.random() < weather.duplicate)
        self.done["duplicated"] += copies - 1
        for _ in range(copies):
            due = time.monotonic()
            if weather.rate:
                due = self._free[side] = max(due, self._free[side]) + len(packet) * 8 / weather.rate
            due += max(0.0, weather.delay + rng.uniform(-1, 1) * weather.jitter)
            self._serial += 1
            self._on_the_way[side] += 1
            heapq.heappush(self._waiting, (due, self._serial, side, packet))


class NetemWire:
    """A veth pair with the kernel's netem on both ends."""

    name = "tc netem on a veth pair"

    def __init__(self, spaces: tuple[str, str]) -> None:
        self.done: Counter[str] = Counter()
        self._spaces = spaces
        _ip("link", "add", "rdtun0", "netns", spaces[0], "type", "veth", "peer", "name", "rdtun1", "netns", spaces[1])

    def begin(self) -> None:
        self.set(Weather())

    def set(self, weather: Weather) -> None:
        for i, space in enumerate(self._spaces):
            command = ["tc", "-n", space, "qdisc", "replace", "dev", f"rdtun{i}", "root", "netem", *weather.netem()]
            subprocess.run(command, check=True, capture_output=True)

    def stop(self) -> None:
        """It goes with the namespaces."""


def why_not() -> str:
    """Why network namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    try:
        _ip("netns", "add", "rdprobe")
        _ip("netns", "delete", "rdprobe")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces are not permitted: {error}"
    return ""


def has_netem() -> bool:
    """Whether the kernel has the qdisc."""
    command = ["tc", "qdisc", "replace", "dev", "lo", "root", "netem", "delay", "0ms"]
    space = "rdprobe"
    _ip("netns", "add", space)
    try:
        return subprocess.run(["tc", "-n", space, *command[1:]], capture_output=True).returncode == 0
    finally:
        _ip("netns", "delete", space)


@contextlib.contextmanager
def two_spaces() -> Iterator[tuple[str, str, UserWire | NetemWire]]:
    """Names of the robot's and the learner's namespace, and the wire between them."""
    spaces = (f"rdrobot{os.getpid()}", f"rdlearner{os.getpid()}")
    try:
        for space in spaces:
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        wire: UserWire | NetemWire = NetemWire(spaces) if has_netem() else UserWire(spaces)
        try:
            addresses = (ROBOT_IP, LEARNER_IP)
            for i, space in enumerate(spaces):
                _ip("-n", space, "address", "add", addresses[i], "peer", addresses[1 - i], "dev", f"rdtun{i}")
                _ip("-n", space, "link", "set", f"rdtun{i}", "up")
            wire.begin()
            yield *spaces, wire
        finally:
            wire.stop()
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)


def _tun(name: str, space: str) -> int:
    """A TUN device in a namespace; the file descriptor stays here."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip("link", "set", name, "netns", space)
    return end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
