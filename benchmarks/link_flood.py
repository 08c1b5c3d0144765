"""How fast pictures become durable, from the bare disk to the whole link: where is it lost?

    python -m benchmarks.link_flood [--robots 4] [--megabytes 256] [--rounds 3] [--spec camera]

The same rows (a picture of 64x64x3 that does not compress), encoded beforehand, by turns in one run:

  disk    written and synced in pieces of 4 MB by a program that does nothing else
  SQLite  inserted as they are into one table of a database with the settings of the store, 8 MB in a transaction
  store   checked and added to the learner's store, 8 MB in a transaction
  link    sent to a learner, a process of its own with the real server and store, as fast as it acknowledges; robots are
          sockets of one process, without spools

Megabytes a second until all of it is durable, median over the rounds, and the median of its share of the disk in the
same round.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing as mp
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.link import PATIENCE, disk_speed, spec_named
from benchmarks.link_knee import chunk_of, learn
from benchmarks.machine import machine
from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Packed
from robot_dreamer.link.database import connect
from robot_dreamer.link.messages import Ack, Hello, Problem, Refused, Welcome, decode_from_learner, encode
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS
from robot_dreamer.spec import RobotSpec


class Chunk(NamedTuple):
    """Rows of one robot, as a message and as what is in it."""

    robot: str
    previous: int
    last: int
    block: Packed
    message: bytes


def chunks_of(spec: RobotSpec, robot: str, size: int) -> list[Chunk]:
    """About `size` bytes of them, each as large as a robot makes it."""
    codec = BlockCodec(spec)
    rows, each = [synthetic_row(spec, robot, "b", i) for i in range(64)], codec.rows_in(LIMITS.chunk_bytes)
    found = []
    for number in range(max(1, size // (each * codec.row_bytes))):
        first = number * each
        now = [dataclasses.replace(rows[i % len(rows)], sequence=i) for i in range(first, first + each)]
        block, chunk = chunk_of(codec, now, number)
        found.append(Chunk(robot, chunk.previous, chunk.last, block, encode(chunk)))
    return found


def batches(flights: list[list[Chunk]]) -> list[list[Chunk]]:
    """Chunks of all robots in turn, as many as the learner stores together."""
    each = max(1, LIMITS.batch_bytes // LIMITS.chunk_bytes)
    turns = [chunk for together in zip(*flights, strict=True) for chunk in together]
    return [turns[i : i + each] for i in range(0, len(turns), each)]


def sqlite(flights: list[list[Chunk]], folder: Path, row_bytes: int) -> None:
    """Insert the blocks and nothing else."""
    database = connect(folder / "bare.sqlite", row_bytes)
    database.execute("CREATE TABLE blocks (id INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    for batch in batches(flights):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO blocks (blob) VALUES (?)", [(chunk.block.blob,) for chunk in batch])
        database.execute("COMMIT")
    database.close()


def stored(flights: list[list[Chunk]], folder: Path, spec: RobotSpec) -> None:
    """Add the blocks to a store."""
    store = ExperienceStore(folder / "store.sqlite", spec)
    for batch in batches(flights):
        with store.transaction():
            for chunk in batch:
                store.add_chunk(chunk.robot, "b", chunk.previous, chunk.last, store.examine([chunk.block]))
    store.close()


class Flood:
    """Robots that send what they have as fast as it is acknowledged, and the learner that it goes to.

    Everything raises RuntimeError where the learner does not do its part.
    """

    def __init__(self, spec_name: str, flights: list[list[Chunk]], folder: Path) -> None:
        self._flights, spawn = flights, mp.get_context("spawn")
        self._pipe, its = spawn.Pipe()
        self._learner = spawn.Process(target=learn, args=(spec_name, str(folder), its), daemon=True)
        self._learner.start()
        address, spec = self._pipe.recv(), spec_named(spec_name)
        self._sockets: list[zmq.Socket[bytes]] = []
        for chunks in flights:
            socket = zmq.Context.instance().socket(zmq.DEALER)
            socket.linger, socket.rcvtimeo = 0, int(1000 * PATIENCE)
            socket.connect(address)
            socket.send(encode(Hello(robot=chunks[0].robot, boot="b", spec_hash=spec.hash, spec=spec.to_json())))
            answer = decode_from_learner(socket.recv())
            if not isinstance(answer, Welcome):
                raise RuntimeError(f"benchmark invalid: {chunks[0].robot} is not welcome: {answer}")
            self._sockets.append(socket)

    def run(self) -> None:
        """Send all; returns when the last row is durable."""
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        number = {socket: i for i, socket in enumerate(self._sockets)}
        sent, settled = [0] * len(number), [0] * len(number)
        while any(count < len(chunks) for count, chunks in zip(settled, self._flights, strict=True)):
            for socket, i in number.items():
                while sent[i] < min(settled[i] + LIMITS.window_most, len(self._flights[i])):
                    socket.send(self._flights[i][sent[i]].message, copy=False)
                    sent[i] += 1
            if not (ready := poller.poll(int(1000 * PATIENCE))):
                raise RuntimeError("benchmark invalid: the learner is silent")
            for socket, _ in ready:
                message = decode_from_learner(socket.recv())
                if isinstance(message, Refused | Problem) or (isinstance(message, Ack) and message.resend):
                    raise RuntimeError(f"benchmark invalid: the learner answers {message}")
                settled[number[socket]] += isinstance(message, Ack)

    def close(self) -> None:
        """Of all sockets, and the learner, whose store must hold every row."""
        for socket in self._sockets:
            socket.close()
        self._pipe.send("stop")
        count, expected = self._pipe.recv(), sum(c.block.rows for chunks in self._flights for c in chunks)
        self._learner.join(PATIENCE)
        if count != expected:
            raise RuntimeError(f"benchmark invalid: the store holds {count} rows of {expected}")


def measure(spec_name: str, flights: list[list[Chunk]], side: str) -> float:
    """Seconds until all of it is durable."""
    spec, size = spec_named(spec_name), sum(len(c.block.blob) for chunks in flights for c in chunks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if side == "disk":
            return size / disk_speed(name, size)
        if side == "SQLite":
            return seconds_of(lambda: sqlite(flights, folder, BlockCodec(spec).row_bytes))
        if side == "store":
            return seconds_of(lambda: stored(flights, folder, spec))
        flood = Flood(spec_name, flights, folder)
        seconds = seconds_of(flood.run)
        flood.close()
    return seconds


def seconds_of(run: Callable[[], None]) -> float:
    """By the clock."""
    begin = time.monotonic()
    run()
    return time.monotonic() - begin


def main() -> None:
    """All sides by turns; one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", choices=("cartpole", "camera"), default="camera", help="numbers, or pictures too")
    parser.add_argument("--robots", type=int, default=4)
    parser.add_argument("--megabytes", type=int, default=256, help="of all robots together")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spec = spec_named(options.spec)
    flights = [chunks_of(spec, f"r{i}", (options.megabytes << 20) // options.robots) for i in range(options.robots)]
    size = sum(len(chunk.block.blob) for chunks in flights for chunk in chunks) / 1e6
    print(f"{machine('pyzmq')}; {options.robots} robots, {size:.0f} MB, rows of {BlockCodec(spec).row_bytes} bytes\n")
    speeds: dict[str, list[float]] = {side: [] for side in ("disk", "SQLite", "store", "link")}
    for _ in range(options.rounds):
        for side, found in speeds.items():
            found.append(size / measure(options.spec, flights, side))
    print("| side | MB/s | share of the disk |\n|---|---|---|")
    for side, found in speeds.items():
        share = np.median(np.divide(found, speeds["disk"]))
        print(f"| {side} | {np.median(found):.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
