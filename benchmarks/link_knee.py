"""The link until it bends: 1 to 128 robots that send at their rate, and one learner that makes their rows durable.

    python -m benchmarks.link_knee [--robots 1 2 4 …] [--seconds 10] [--picture knee.png]

The robots are sockets of one process: each speaks the link's protocol as a robot does, ten chunks a second with a few
in flight, from rows in memory; spools, which every real robot has on a disk of its own, are left out. The learner is a
process of its own with the real server and store. A row's delay is from when it was due to the acknowledgement, which
the learner sends when the row is durable. Two kinds of rows: numbers of a cart-pole, and beside them a picture of
64x64x3 that does not compress; for pictures the durable bytes a second are compared with what a program reaches that
writes and syncs as many bytes to the same disk. Where the robots' process needs a whole core it is what bends.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing as mp
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.link import LOCAL, PATIENCE, disk_speed, spec_named
from benchmarks.loop_course import resident
from benchmarks.machine import machine
from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Packed, pack
from robot_dreamer.link.messages import Ack, Alive, Hello, Refused, Rows, Welcome, decode_from_learner, encode
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS, TIMING
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec

RATES = {"cartpole": 100.0, "camera": 20.0}  # rows a second of each robot
WORDS = {"cartpole": "numbers", "camera": "pictures"}
CHUNKS = 10  # a second
WARM = 2.0  # seconds that are not counted
BENT = 0.95  # share of the offered rows that are durable in the same time, below which the link bends


@dataclass(frozen=True)
class Point:
    """One number of robots: rows and bytes a second, seconds, and what the learner needs."""

    robots: int
    offered: float
    durable: float
    bytes_per_row: float
    delay_median: float
    delay_99: float
    processor: float
    robots_processor: float
    resident: float


@dataclass
class Sender:
    """A robot without spool."""

    name: str
    socket: zmq.Socket[bytes]
    sequence: int = 0
    settled: int = -1
    chunk: int = 0
    flight: deque[tuple[int, float]] = field(default_factory=deque)  # last row of a chunk, when it was due
    said: float = 0.0
    connected: bool = False


def chunk_of(codec: BlockCodec, rows: list[StepRecord], number: int) -> tuple[Packed, Rows]:
    """Rows of boot "b" that follow one another: as a block, and as the chunk of that number which holds it."""
    block = Packed(len(rows), bytes(codec.encode(rows)))
    data, first, last = pack([block]), rows[0].sequence, rows[-1].sequence
    return block, Rows("b", number, first - 1, last, len(rows), "raw", len(data), memoryview(data))


class Senders:
    """All robots, in one thread.

    Attributes:
      delays: (when settled, seconds from due) of each chunk.
    """

    def __init__(self, spec: RobotSpec, rate: float, count: int, address: str) -> None:
        self._spec, self._rate, self._codec = spec, rate, BlockCodec(spec)
        self._rows = [synthetic_row(spec, "r", "b", i) for i in range(64)]
        context = zmq.Context.instance()
        self._poller = zmq.Poller()
        self.robots: list[Sender] = []
        for i in range(count):
            socket = context.socket(zmq.DEALER)
            socket.linger, socket.sndhwm = 0, LIMITS.queued_messages
            socket.connect(address)
            self._poller.register(socket, zmq.POLLIN)
            self.robots.append(Sender(f"r{i}", socket))
            hello = Hello(robot=f"r{i}", boot="b", spec_hash=spec.hash, spec=spec.to_json())
            socket.send(encode(hello))
        self._of = {robot.socket: robot for robot in self.robots}
        self.delays: list[tuple[float, float]] = []
        self._begin = 0.0

    @property
    def settled(self) -> int:
        """Durable rows of all robots."""
        return sum(robot.settled + 1 for robot in self.robots)

    def connect(self) -> None:
        """Wait until all are welcome; from now on rows are due."""
        deadline = time.monotonic() + PATIENCE
        while not all(robot.connected for robot in self.robots):
            if time.monotonic() > deadline:
                raise RuntimeError("the learner did not welcome all robots in time")
            self._receive(0.1)
        self._begin = time.monotonic()

    def run(self, seconds: float) -> None:
        """Send for so long, each robot at its rate and in turn; what the learner cannot take yet stays due."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for i, robot in enumerate(self.robots):
                own = self._begin + i / (len(self.robots) * CHUNKS)  # they do not send all at the same moment
                due = int(max(0.0, now - own) * CHUNKS) * round(self._rate / CHUNKS)
                if due > robot.sequence and len(robot.flight) < LIMITS.window:
                    self._send(robot, due, own + due / self._rate)
                if now - robot.said > TIMING.heartbeat:
                    robot.said = now
                    robot.socket.send(encode(Alive(0, None, 0, {}, {}, -1)))
            self._receive(0.002)

    def close(self) -> None:
        """Of all sockets."""
        for robot in self.robots:
            robot.socket.close()

    def _send(self, robot: Sender, until_row: int, due: float) -> None:
        """All rows that are due, LIMITS.chunk_bytes at most."""
        most = max(1, LIMITS.chunk_bytes // self._codec.row_bytes)
        last = min(until_row, robot.sequence + most)
        rows = [
            dataclasses.replace(self._rows[i % len(self._rows)], robot=robot.name, sequence=i)
            for i in range(robot.sequence, last)
        ]
        robot.socket.send(encode(chunk_of(self._codec, rows, robot.chunk)[1]), copy=False)
        robot.flight.append((last - 1, due - (until_row - last) / self._rate))
        robot.sequence, robot.chunk = last, robot.chunk + 1

    def _receive(self, patience: float) -> None:
        for socket, _ in self._poller.poll(int(1000 * patience)):
            robot, message = self._of[socket], decode_from_learner(socket.recv())
            now = time.monotonic()
            if isinstance(message, Welcome):
                robot.connected = True
            elif isinstance(message, Refused):
                raise RuntimeError(f"the learner refuses {robot.name}: {message.text}")
            elif isinstance(message, Ack):
                if message.resend:
                    raise RuntimeError(f"benchmark invalid: the learner asks {robot.name} to send again")
                robot.settled = max(robot.settled, message.sequence)
                while robot.flight and robot.flight[0][0] <= robot.settled:
                    self.delays.append((now, now - robot.flight.popleft()[1]))


def learn(spec_name: str, folder: str, pipe: Any) -> None:
    """The learner: tells its address, then (processor seconds, bytes resident) whenever it is asked."""
    spec = spec_named(spec_name)
    store = ExperienceStore(Path(folder) / "store.sqlite", spec)
    server = LinkServer(store, spec, LOCAL)
    server.start()
    pipe.send(server.address)
    while pipe.recv() == "look":
        pipe.send((time.process_time(), resident()))
    server.stop()
    pipe.send(store.count())
    store.close()


def measure(spec_name: str, robots: int, seconds: float) -> Point:
    """All robots for so long."""
    spec, rate = spec_named(spec_name), RATES[spec_name]
    spawn = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        mine, its = spawn.Pipe()
        learner = spawn.Process(target=learn, args=(spec_name, folder, its), daemon=True)
        learner.start()
        try:
            senders = Senders(spec, rate, robots, mine.recv())
            senders.connect()
            senders.run(WARM)
            processor, durable, begin, own = ask(mine)[0], senders.settled, time.monotonic(), time.process_time()
            senders.run(seconds)
            spent = time.monotonic() - begin
            point = Point(
                robots,
                robots * rate,
                (senders.settled - durable) / spent,
                float(BlockCodec(spec).row_bytes),
                *np.percentile([delay for at, delay in senders.delays if at >= begin], [50, 99]),
                (ask(mine)[0] - processor) / spent,
                (time.process_time() - own) / spent,
                ask(mine)[1],
            )
            senders.close()
            mine.send("stop")
            stored = mine.recv()
        finally:
            learner.join(PATIENCE)
    if stored < senders.settled:
        raise RuntimeError(f"benchmark invalid: {senders.settled} rows were settled, the store holds {stored}")
    return point


def ask(pipe: Any) -> tuple[float, float]:
    """Processor seconds and bytes of the learner."""
    pipe.send("look")
    answer: tuple[float, float] = pipe.recv()
    return answer


def line(point: Point) -> str:
    """One row of the table."""
    share = point.durable / point.offered
    return (
        f"{point.robots:7}{point.offered:10.0f}{point.durable:10.0f}{share:8.0%}"
        f"{1e-6 * point.durable * point.bytes_per_row:8.1f}{1e3 * point.delay_median:10.0f}{1e3 * point.delay_99:8.0f}"
        f"{100 * point.processor:8.0f}{100 * point.processor / point.robots:11.2f}{1e-6 * point.resident:8.0f}"
        f"{100 * point.robots_processor:10.0f}"
    )


HEADER = (
    "          rows a second                   delay, ms      learner, % of a core  learner   robots'\n"
    " robots   offered   durable   share    MB/s    median     99 %     all  per robot      MB  % of core"
)


def knee(points: list[Point]) -> int:
    """The most robots whose rows are durable as fast as they come, and half of them before the next chunk; or 0."""
    return max((p.robots for p in points if p.durable >= BENT * p.offered and p.delay_median <= 1 / CHUNKS), default=0)


def draw(found: dict[str, list[Point]], picture: Path) -> None:
    """Durable rows and delays over robots, a column for each kind of rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(found), figsize=(5 * len(found), 6), sharex="col", squeeze=False)
    for (name, points), (top, bottom) in zip(found.items(), panels.T, strict=True):
        robots = [point.robots for point in points]
        top.plot(robots, [point.offered for point in points], "--", color="0.6", label="sent")
        top.plot(robots, [point.durable for point in points], "o-", color="tab:blue", label="durable")
        top.set(xscale="log", yscale="log", ylabel="rows a second")
        top.set_title(f"{WORDS[name]}, {RATES[name]:g} rows a second of each robot")
        bottom.plot(robots, [1e3 * point.delay_median for point in points], "o-", color="tab:blue", label="median")
        bottom.plot(robots, [1e3 * point.delay_99 for point in points], "o:", color="tab:blue", label="99 %")
        bottom.set(yscale="log", ylabel="until durable, ms", xlabel="robots")
        bottom.set_xticks(robots, [str(count) for count in robots])
        bottom.minorticks_off()
        for panel in (top, bottom):
            if (most := knee(points)) and most < robots[-1]:
                panel.axvline(most, color="tab:red", linewidth=0.8, label="the last before it bends")
            panel.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    print(f"written: {picture}")


def main() -> None:
    """Measure all numbers of robots for both kinds of rows; tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of robots")
    parser.add_argument("--picture", type=Path, help="picture to draw")
    options = parser.parse_args()
    print(machine("pyzmq"))
    found: dict[str, list[Point]] = {}
    for name in RATES:
        print(f"\n{WORDS[name]}, {RATES[name]:g} rows a second of each robot\n\n{HEADER}", flush=True)
        found[name] = []
        for robots in options.robots:
            found[name].append(measure(name, robots, options.seconds))
            print(line(found[name][-1]), flush=True)
        print(f"the last before it bends: {knee(found[name]) or 'none of these'}")
    with tempfile.TemporaryDirectory() as folder:
        disk = disk_speed(folder)
    best = max(point.durable * point.bytes_per_row for point in found["camera"])
    alone = f"{best / disk:.0%} of {disk / 1e6:.1f} MB/s written and synced alone"
    print(f"\npictures: {best / 1e6:.1f} MB/s durable, {alone}")
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
