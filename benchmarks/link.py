"""What the link costs and carries: `python -m benchmarks.link [--quick]`.

Robots and learner are separate processes on this machine, over loopback TCP, with both disks written durably. Tables:
throughput for 1 and 16 robots beside bare pyzmq (the same rows encoded beforehand, one DEALER message each, received by
a ROUTER in Python and dropped: nothing encoded, checked or stored), measured in turns; the robot's CPU time at its
control rate, the delay from action to replay, and what a control loop feels of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing as mp
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec, load_spec

LOCAL = "tcp://127.0.0.1:*"
ROUNDS = 3
PATIENCE = 300.0  # seconds before a measurement gives up


def spec_named(name: str) -> RobotSpec:
    """`cartpole` (state only), or `camera`: the same robot with a 64x64x3 image at 50 Hz."""
    spec = load_spec("cartpole")
    if name == "cartpole":
        return spec
    image = {
        "name": "image",
        "shape": [64, 64, 3],
        "dtype": "uint8",
        "source": {"topic": "image", "type": "sensor_msgs/msg/Image", "field": "data"},
    }
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    plain |= {"name": "camera", "rate": 50.0, "observations": [*plain["observations"], image]}
    return msgspec.convert(plain, RobotSpec)


def some_rows(spec: RobotSpec, robot: str, boot: str, count: int) -> list[StepRecord]:
    """Rows whose arrays repeat after 64; images are noise, which does not compress: the worst case."""
    first = [synthetic_row(spec, robot, boot, i) for i in range(min(count, 64))]
    return [dataclasses.replace(first[i % 64], sequence=i) for i in range(count)]


def fast_robot(spec_name: str, robot: str, folder: str, address: str, count: int, go: Any) -> None:
    """Records `count` rows, made beforehand, as fast as the link takes them."""
    spec = spec_named(spec_name)
    link = RobotLink(spec, robot, Path(folder) / robot, address)
    rows = some_rows(spec, robot, link.boot, count)
    half = min(LIMITS.queue_rows, LIMITS.queue_bytes // BlockCodec(spec).row_bytes) // 2
    link.start()
    while not link.status().connected:
        time.sleep(0.01)
    go.wait(PATIENCE)
    for start in range(0, count, 256):
        for row in rows[start : start + 256]:
            link.record(row)
        while link.status().queued > half:
            time.sleep(0.001)
    link.stop(PATIENCE)
    if link.status().dropped or link.status().spooled:
        raise RuntimeError(f"benchmark invalid: {link.status()}")


def bare_robot(spec_name: str, robot: str, address: str, count: int, go: Any) -> None:
    """The columns of the same rows, encoded beforehand, each row in one bare DEALER message."""
    spec = spec_named(spec_name)
    codec = BlockCodec(spec)
    blobs = [bytes(codec.encode([row])[-codec.row_bytes :]) for row in some_rows(spec, robot, "b", 64)]
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(address)
    socket.send(b"ready")
    go.wait(PATIENCE)
    for i in range(count):
        socket.send(blobs[i % len(blobs)])
    socket.recv()  # the other side has counted all


def link_seconds(spec_name: str, robots: int, each: int) -> float:
    """Time from the first row recorded to the last row durable at the learner."""
    spawn = mp.get_context("spawn")
    spec = spec_named(spec_name)
    with tempfile.TemporaryDirectory() as folder:
        store = ExperienceStore(Path(folder) / "store.sqlite", spec)
        server = LinkServer(store, spec, LOCAL)
        server.start()
        go = spawn.Event()
        arguments = [(spec_name, f"r{i}", folder, server.address, each, go) for i in range(robots)]
        children = [spawn.Process(target=fast_robot, args=a, daemon=True) for a in arguments]
        for child in children:
            child.start()
        until(lambda: sum(s.connected for s in server.status()) == robots)
        begin = time.monotonic()
        go.set()
        until(lambda: sum(s.received for s in server.status()) == each * robots)
        seconds = time.monotonic() - begin
        join(children)
        server.stop()
        if store.count() != each * robots:
            raise RuntimeError(f"benchmark invalid: {store.count()} rows of {each * robots}")
        store.close()
    return seconds


def bare_seconds(spec_name: str, robots: int, each: int) -> float:
    """The same with bare sockets, from the first row sent to the last row received; nothing is checked or stored."""
    spawn = mp.get_context("spawn")
    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(LOCAL)
    address = router.getsockopt_string(zmq.LAST_ENDPOINT)
    go = spawn.Event()
    children = [
        spawn.Process(target=bare_robot, args=(spec_name, f"r{i}", address, each, go), daemon=True)
        for i in range(robots)
    ]
    for child in children:
        child.start()
    identities = {router.recv_multipart()[0] for _ in children}
    begin = time.monotonic()
    go.set()
    for _ in range(each * robots):
        router.recv_multipart()
    seconds = time.monotonic() - begin
    for identity in identities:
        router.send_multipart([identity, b"done"])
    join(children)
    router.close()
    return seconds


def throughput(spec_name: str, robots: int, total: int) -> tuple[float, float]:
    """Rows/s through the link and through bare pyzmq, measured in turns so that both meet the same machine."""
    each = total // robots
    link = bare = 0.0
    for _ in range(ROUNDS):
        bare += bare_seconds(spec_name, robots, each)
        link += link_seconds(spec_name, robots, each)
    rows = ROUNDS * each * robots
    return rows / link, rows / bare


def disk_speed(folder: str, size: int = 128 << 20, piece: int = 4 << 20) -> float:
    """Bytes/s that the disk makes durable, written in order, a piece at a time."""
    data = os.urandom(piece)
    with open(os.path.join(folder, "disk"), "wb", buffering=0) as file:
        begin = time.monotonic()
        for left in range(size, 0, -piece):
            file.write(data[:left])
            os.fdatasync(file.fileno())
        return size / (time.monotonic() - begin)


def paced_robot(spec_name: str, folder: str, address: str | None, seconds: float, out: Any) -> None:
    """A control loop at the spec's rate. Puts (CPU seconds of this process, lateness of each tick) into `out`."""
    spec = spec_named(spec_name)
    link = None if address is None else RobotLink(spec, "r", Path(folder) / "r", address)
    rows = some_rows(spec, "r", "" if link is None else link.boot, 64)
    if link is not None:
        link.start()
        while not link.status().connected:
            time.sleep(0.01)
    late = []
    cpu = time.process_time()
    begin = time.monotonic()
    ticks = int(seconds * spec.rate)
    for i in range(ticks):
        due = begin + i * spec.period
        time.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
        row = dataclasses.replace(rows[i % len(rows)], sequence=i, stamp_applied=time.monotonic_ns())
        if link is not None:
            link.record(row)
    out.put((time.process_time() - cpu, late))
    if link is not None:
        link.stop(PATIENCE)


def paced(spec_name: str, seconds: float) -> dict[str, float]:
    """One robot at its control rate, with the link and without."""
    spawn = mp.get_context("spawn")
    spec = spec_named(spec_name)
    results: dict[str, float] = {}
    delays: list[float] = []
    size = BlockCodec(spec).row_bytes
    for name in ("without", "with"):
        with tempfile.TemporaryDirectory() as folder:
            store = ExperienceStore(Path(folder) / "store.sqlite", spec)
            server = LinkServer(store, spec, LOCAL)
            server.start()
            out = spawn.Queue()
            address = server.address if name == "with" else None
            child = spawn.Process(target=paced_robot, args=(spec_name, folder, address, seconds, out), daemon=True)
            child.start()
            cursor = 0
            while child.is_alive():
                fresh = store.read(cursor, 1000)
                now = time.monotonic_ns()
                delays += [(now - row.stamp_applied) / 1e6 for _, row in fresh]
                cursor = fresh[-1][0] if fresh else cursor
                if not out.empty():
                    cpu, late = out.get()
                    results |= {f"cpu_{name}": 100 * cpu / seconds}
                    results |= {f"p99_{name}": float(np.percentile(late, 99)) * 1e3, f"worst_{name}": max(late) * 1e3}
                time.sleep(0.002)
            join([child])
            server.stop()
            store.close()
    results |= {"p50_delay": float(np.percentile(delays, 50)), "p99_delay": float(np.percentile(delays, 99))}
    results["rate"], results["MB/s"] = spec.rate, spec.rate * size / 1e6
    return results


def until(condition: Any) -> None:
    """Wait for a condition, at most PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("benchmark invalid: waited in vain")
        time.sleep(0.005)


def join(children: list[Any]) -> None:
    for child in children:
        child.join(PATIENCE)
        if child.exitcode != 0:
            raise RuntimeError(f"benchmark invalid: a robot ended with {child.exitcode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    scale = 10 if parser.parse_args().quick else 1
    print(f"{machine('pyzmq')}\n")
    with tempfile.TemporaryDirectory() as folder:
        disk = disk_speed(folder) / 1e6
    print(f"The one disk of both sides makes {disk:.0f} MB/s durable, written in order by nobody else.\n")
    print("| rows | robots | link, rows/s | MB/s | bare pyzmq, rows/s | link / bare |\n|---|---|---|---|---|---|")
    for name, total in (("cartpole", 320_000), ("camera", 32_000)):
        size = BlockCodec(spec_named(name)).row_bytes
        for robots in (1, 16):
            ours, bare = throughput(name, robots, total // scale)
            speed = f"{ours:,.0f} | {ours * size / 1e6:.1f} | {bare:,.0f} | {ours / bare:.0%}"
            print(f"| {name}, {size} B | {robots} | {speed} |")
    print("\n| one robot | rate, Hz | MB/s | CPU with link | CPU without | delay to replay p50 / p99, ms", end="")
    print(" | tick late with link p99 / worst, ms | without |\n|---|---|---|---|---|---|---|---|")
    for name in ("cartpole", "camera"):
        r = paced(name, 60.0 / scale)
        print(
            f"| {name} | {r['rate']:.0f} | {r['MB/s']:.2f} | {r['cpu_with']:.1f} % | {r['cpu_without']:.1f} % "
            f"| {r['p50_delay']:.0f} / {r['p99_delay']:.0f} | {r['p99_with']:.2f} / {r['worst_with']:.2f} "
            f"| {r['p99_without']:.2f} / {r['worst_without']:.2f} |"
        )


if __name__ == "__main__":
    main()
