"""A million mutated messages: refused by name, never an exception of another kind, a hang, or much memory.

By hand (the seed of each batch is in the failure, and its messages are kept in a file):

    pytest -m soak -s tests/e2e/test_link_mutations.py
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections import Counter, deque
from pathlib import Path

import msgspec
import pytest
import zmq
from link_mutations import from_learner, from_robot, mutated
from link_peers import FAST, SPEC
from test_link_faults import LOCAL, free_address, process
from test_link_peers import Client

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.messages import (
    Alive,
    Hello,
    Problem,
    Pulse,
    Refused,
    Welcome,
    decode_from_learner,
    decode_from_robot,
    encode,
)
from robot_dreamer.link.reader import StoreReader
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import UNEXPECTED
from tests.waiting import until

BATCH = 40  # messages between two questions; fewer than a connection holds
HANG, AGAIN = 5_000, 500  # ms
MEMORY = 1 << 20  # KiB
KINDS = {
    "truncated", "foreign", "checksum", "malformed", "protocol", "frames", "oversize", "chunk", "claimed",
}  # fmt: skip
"""What a learner may say of a message that it could not use."""


def kept(error: BaseException, seed: int, batch: list[bytes]) -> AssertionError:
    """The failure, with the file that holds what caused it: MessagePack, an array of frames."""
    with tempfile.NamedTemporaryFile(
        prefix=f"robot_dreamer-mutations-{seed}-", suffix=".msgpack", delete=False
    ) as file:
        file.write(msgspec.msgpack.encode(batch))
    return AssertionError(f"seed {seed}: {type(error).__name__}: {error}; the messages are kept: {file.name}")


def most_memory(pid: int) -> int:
    """KiB that a process has held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


COUNTS = pytest.mark.parametrize(
    "count", [1_200, pytest.param(500_000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]
)


@COUNTS
def test_whatever_robots_send_the_learner_serves_on(tmp_path: Path, count: int) -> None:
    said: Counter[str] = Counter()
    address, path = free_address(), tmp_path / "store.sqlite"
    with process("learner", str(path), address) as child, Client(address) as client:
        assert child.stdout is not None and child.stdout.readline().strip() == address
        honest = RobotLink(SPEC, "honest", tmp_path / "honest", address, timing=FAST)
        honest.start()
        client.socket.rcvtimeo = AGAIN
        for seed in range(count // BATCH):
            rng = random.Random(seed)
            boot = f"boot{seed}"
            batch = [mutated(rng, from_robot(rng, boot, "0" * 64)) for _ in range(BATCH)]
            try:
                answered(client, boot, 2 * seed)
                for message in batch:
                    client.say(message)
                said.update(answered(client, boot, 2 * seed + 1))
                assert child.poll() is None, "the learner ended"
            except BaseException as error:
                raise kept(error, seed, batch) from error
            if seed % 50 == 0:
                honest.record(synthetic_row(SPEC, "honest", honest.boot, seed // 50))
        until(lambda: honest.status().spooled == 0 and honest.status().acknowledged == -(-(count // BATCH) // 50))
        memory = most_memory(child.pid)
        honest.stop()
    assert said.keys() <= KINDS, said
    assert {"malformed", "chunk", "checksum"} <= said.keys()
    assert memory < MEMORY
    reader = StoreReader(path)
    rows = [r for _, r in reader.read(0, 10**8)]
    reader.close()
    assert [r.sequence for r in rows if r.robot == "honest"] == list(range(-(-(count // BATCH) // 50)))
    assert len({(r.robot, r.boot, r.sequence) for r in rows}) == len(rows)
    print(f"\n{count} messages, seeds 0 to {count // BATCH - 1}: {dict(said)}, {len(rows)} rows, {memory >> 10} MiB")


def answered(client: Client, boot: str, echo: int) -> Counter[str]:
    """Ask whether it is still there, again and again as robots do: a reply for which a queue has no room is lost by
    design. Returns what it said of the messages before, by kind.
    """
    said: Counter[str] = Counter()
    for _ in range(HANG // AGAIN):
        client.hello(boot=boot)  # a mutated goodbye may have been a good one
        client.say(Alive(2**61 + echo, None, 0, {}, {}, -1))
        try:
            while True:
                message = decode_from_learner(client.socket.recv())
                if isinstance(message, Problem):
                    assert message.kind != UNEXPECTED, message.text
                    said[message.kind] += 1
                if isinstance(message, Pulse) and message.echo == 2**61 + echo:
                    return said
        except zmq.Again:
            continue
    raise AssertionError(f"no answer for {HANG} ms")


def greeted(fake: zmq.Socket, identity: bytes) -> tuple[bytes, Hello]:
    """Ask the robot to say hello again: connection and hello. It may have come anew, if it believed to be refused."""
    for _ in range(HANG // AGAIN):
        fake.send_multipart([identity, encode(Refused("no_session", "say hello first"))])
        try:
            while True:
                identity, frame = fake.recv_multipart()
                message = decode_from_robot(frame)
                if isinstance(message, Hello):
                    return identity, message
        except zmq.Again:
            continue
    raise AssertionError(f"no hello for {HANG} ms")


@COUNTS
def test_whatever_a_learner_sends_the_robot_records_on(tmp_path: Path, count: int) -> None:
    """The robot is a process that ends when it stumbles over a message, and says how many rows are on its disk."""
    context = zmq.Context()
    fake = context.socket(zmq.ROUTER)
    fake.linger, fake.rcvtimeo = 0, AGAIN
    fake.bind(LOCAL)
    batches: deque[list[bytes]] = deque(maxlen=3)  # the robot may be as many behind
    identity, seed, said = b"nobody", 0, deque[str](maxlen=1)
    try:
        with process("robot", "r1", str(tmp_path / "r1"), fake.getsockopt_string(zmq.LAST_ENDPOINT)) as child:
            assert child.stdout is not None
            listener = threading.Thread(target=said.extend, args=(child.stdout,), daemon=True)
            listener.start()
            try:
                for seed in range(count // BATCH):
                    rng = random.Random(seed)
                    identity, hello = greeted(fake, identity)
                    batches.append([mutated(rng, from_learner(rng, hello.boot)) for _ in range(BATCH)])
                    for message in (encode(Welcome("store", None)), *batches[-1]):
                        fake.send_multipart([identity, message])
                greeted(fake, identity)
                before = said[0]
                until(lambda: child.poll() is not None or said[0] != before, seconds=HANG / 1000)
                assert child.poll() is None, "the robot ended"
            except BaseException as error:
                raise kept(error, seed, sum(batches, [])) from error
            memory = most_memory(child.pid)
        assert memory < MEMORY
        print(f"\n{count} messages, seeds 0 to {seed}: {said[0].strip()} rows on disk, {memory >> 10} MiB")
    finally:
        context.destroy(linger=0)
