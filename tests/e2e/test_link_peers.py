"""Who is served, who is refused, and what garbage does: nothing, but it is counted."""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
from link_peers import FAST, PATIENT, SPEC
from test_link_faults import LOCAL, learner, record, robot, sequences

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Packed, pack
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import (
    MAGIC,
    MAX_MESSAGE,
    PROTOCOL,
    Ack,
    Alive,
    Fetch,
    Hello,
    Problem,
    Refused,
    Rows,
    Welcome,
    decode_from_learner,
    decode_from_robot,
    encode,
)
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from tests.waiting import until


class Client:
    """A bare DEALER that says whatever the test wants."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = 20_000
        self.socket.connect(address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self._context.destroy(linger=0)

    def say(self, message) -> None:
        self.socket.send(message if isinstance(message, bytes) else encode(message))

    def hear(self, kind):
        """The next message of a kind."""
        for _ in range(1000):
            message = decode_from_learner(self.socket.recv())
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind}")

    def hello(self, name: str = "raw", boot: str = "boot", spec=SPEC) -> None:
        self.say(Hello(robot=name, boot=boot, spec_hash=spec.hash, spec=spec.to_json()))


def chunk(*numbers: int, previous: int = -1, name: str = "raw", boot: str = "boot") -> Rows:
    blob = BlockCodec(SPEC).encode([synthetic_row(SPEC, name, boot, i) for i in numbers])
    data = pack([Packed(len(numbers), blob)])
    return Rows(
        boot=boot,
        chunk=0,
        previous=previous,
        last=numbers[-1],
        count=len(numbers),
        encoding="raw",
        size=len(data),
        data=memoryview(data),
    )


def test_a_client_written_from_the_message_table_is_served(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.hello()
        assert client.hear(Welcome).store == store.id
        client.say(chunk(0, 1, 2))
        assert client.hear(Ack) == Ack("boot", 0, 2, False)
        client.say(chunk(5, 6, previous=4))
        assert client.hear(Ack) == Ack("boot", 0, 2, True)
        client.say(chunk(0, 1, 2, 3))
        assert client.hear(Ack) == Ack("boot", 0, 3, False)
        assert sequences(store, "boot") == [0, 1, 2, 3]
        assert server.status()[0].duplicates == 3


def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        healthy = store.transaction
        refusals = [sqlite3.OperationalError("database or disk is full")] * 2

        @contextmanager
        def failing_commit() -> Iterator[None]:
            with healthy():
                yield
                if refusals:
                    raise refusals.pop()

        monkeypatch.setattr(store, "transaction", failing_commit)
        for _ in range(2):
            client.say(chunk(0, 1))
            answer = client.hear((Ack, Problem))
            assert isinstance(answer, Problem) and "disk is full" in answer.text
            assert store.count() == 0
        client.say(chunk(0, 1))
        assert client.hear((Ack, Problem)) == Ack("boot", 0, 1, False)
        assert store.count() == 2 and server.bad_messages["store_failed"] == 2
        client.say(b"a stranger's noise")
        client.hear(Problem)
        assert len(server.troubles()) == 2 and "disk is full" in server.troubles()["store_failed"]["text"]


def test_speaking_before_hello_is_answered(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.say(chunk(0))
        assert client.hear(Refused).reason == "no_session"
        client.say(Fetch("0" * 64, 0, 10))
        assert client.hear(Refused).reason == "no_session"
        assert store.count() == 0 and server.bad_messages["no_session"] == 2


def garbage(rng: random.Random, good: bytes) -> bytes:
    """Noise, or a good message cut short, with a flipped bit, or with a good frame around noise."""
    choice = rng.randrange(4)
    if choice == 0:
        return rng.randbytes(rng.randrange(60))
    if choice == 1:
        return good[: rng.randrange(len(good))]
    if choice == 2:
        damaged = bytearray(good)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    noise = rng.randbytes(rng.randrange(60))
    return MAGIC + bytes([PROTOCOL]) + zlib.crc32(noise).to_bytes(4, "little") + noise


def test_garbage_is_counted_by_kind_and_disturbs_nobody(tmp_path: Path) -> None:
    rng = random.Random(0)
    good = encode(chunk(0, 1))
    sent = 0
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as link,
        Client(server.address) as client,
    ):
        until(lambda: link.status().connected)
        client.hello()
        client.hear(Welcome)
        for _ in range(100):
            client.say(Alive(0, None, 0, {}, {}, -1))  # garbage is no sign of life
            for _ in range(10):
                client.say(garbage(rng, good))
                sent += 1
            for _ in range(10):
                client.hear(Problem)
        client.socket.send_multipart([b"two", b"frames"])
        client.hear(Problem)
        record(link, 0, 50)
        until(lambda: store.count() == 50)
        counted = {s.robot: s for s in server.status()}
        assert sum(counted["raw"].bad_messages.values()) == sent + 1 == server.bad_messages.total()
        assert {"truncated", "foreign", "checksum", "malformed", "frames"} <= set(counted["raw"].bad_messages)
        assert counted["r1"].bad_messages == {}
        assert link.status().sessions == 1
        server.check()


@pytest.mark.parametrize("count", [5_000, pytest.param(120_000, marks=pytest.mark.soak)])
def test_a_flood_of_garbage_from_a_peer_that_never_reads(tmp_path: Path, count: int) -> None:
    """Replies pile up in front of it until they are dropped; nobody else notices."""
    rng = random.Random(1)
    good = encode(chunk(0, 1))
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as link,
        Client(server.address) as client,
    ):
        until(lambda: link.status().connected)
        for i in range(count):
            client.say(garbage(rng, good))
            if i % (count // 20) == 0:
                record(link, i // (count // 20), 1)
        until(lambda: sum(v for k, v in server.bad_messages.items() if k != "reply_not_taken") == count)
        until(lambda: store.count() == 20)
        assert link.status().sessions == 1
        server.check()


def test_a_row_of_somebody_else_or_of_nonsense_is_rejected_and_settled(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        stolen = BlockCodec(SPEC).encode([synthetic_row(SPEC, "victim", "boot", 0)])
        data = pack([Packed(1, stolen), Packed(1, b"nonsense")])
        client.say(Rows("boot", 0, -1, 1, 2, "raw", len(data), memoryview(data)))
        assert client.hear(Ack).sequence == 1
        assert store.count() == 0
        assert server.status()[0].rejected == {"identity": 1, "truncated": 1}


def test_a_message_that_claims_too_much_ends_only_its_own_connection(tmp_path: Path) -> None:
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as link,
    ):
        with Client(server.address) as client:
            client.say(bytes(MAX_MESSAGE + 1))
            record(link, 0, 20)
            until(lambda: store.count() == 20)
        assert link.status().sessions == 1


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_garbage_from_the_learner_is_counted_on_the_robot(tmp_path: Path, count: int) -> None:
    context = zmq.Context()
    fake = context.socket(zmq.ROUTER)
    fake.linger, fake.rcvtimeo = 0, 20_000
    fake.bind(LOCAL)
    rng = random.Random(0)
    try:
        with robot(tmp_path, fake.getsockopt_string(zmq.LAST_ENDPOINT)) as link:
            identity, frame = fake.recv_multipart()
            assert isinstance(decode_from_robot(frame), Hello)
            good = encode(Welcome("store", None))
            for i in range(count):
                fake.send_multipart([identity, garbage(rng, good)])
                if i % 50 == 49:  # never more than the robot's queue holds; the Problem is a sign of life
                    fake.send_multipart([identity, encode(Problem("x", "garbage follows"))])
                    until(lambda sent=i + 1: sum(link.status().bad_messages.values()) == sent)
            fake.send_multipart([identity, encode(Ack("b", 0, 5, False))])  # valid, but nobody said welcome
            until(lambda: sum(link.status().bad_messages.values()) == count + 1)
            assert link.status().bad_messages["out_of_state"] == 1
            fake.send_multipart([identity, encode(Welcome("store", None))])
            until(lambda: link.status().connected)
            record(link, 0, 5)
            until(lambda: link.status().sent >= 5)
            fake.send_multipart([identity, encode(Ack(link.boot, 0, 10**6, False))])  # of rows that were never sent
            until(lambda: link.status().bad_messages.get("acknowledgement") == 1)
            assert link.status().spooled == 5 and link.status().fault == ""
            fake.send_multipart([identity, encode(Ack(link.boot, 0, 4, False))])
            until(lambda: link.status().spooled == 0)
    finally:
        context.destroy(linger=0)


def test_another_spec_is_refused_with_both_sides_at_both_ends(tmp_path: Path) -> None:
    other = msgspec.structs.replace(SPEC, rate=50.0)
    with learner(tmp_path) as (_, server):
        link = RobotLink(other, "r1", tmp_path / "r1", server.address, timing=FAST)
        link.start()
        until(lambda: link.status().state == "refused")
        for text in (link.status().last_error, str(server.troubles())):
            assert "rate: ours 25.0, theirs 50.0" in text
        assert server.refusals["spec"] >= 1
        link.stop()


def test_the_second_of_two_robots_with_one_id_is_refused(tmp_path: Path) -> None:
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as first,
    ):
        until(lambda: first.status().connected)
        with robot(tmp_path / "elsewhere", server.address) as second:
            until(lambda: "in use by another live connection" in second.status().last_error)
            record(first, 0, 20)
            record(second, 0, 20)
            until(lambda: store.count() == 20)
            assert sequences(store, first.boot) == list(range(20))
            until(lambda: second.status().spooled == 20)  # kept, for when it may come in
            assert "in use" in server.status()[0].refused
            assert first.status().sessions == 1


def test_a_killed_robot_gets_its_id_back_at_once(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        with Client(server.address) as killed:
            killed.hello(boot="before")
            killed.hear(Welcome)
        with Client(server.address) as again:
            again.hello(boot="after")
            assert isinstance(again.hear((Welcome, Refused)), Welcome)


def test_another_protocol_is_refused_with_a_reason(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server), Client(server.address) as client:
        frame = bytearray(encode(Alive(0, None, 0, {}, {}, -1)))
        frame[3] = PROTOCOL + 1
        client.say(bytes(frame))
        problem = client.hear(Problem)
        assert problem.kind == "protocol" and f"we speak {PROTOCOL}" in problem.text


def test_the_last_error_goes_when_things_work_again(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server), robot(tmp_path, server.address) as link:
        until(lambda: link.status().connected)
        session = next(session for _, session in server._sessions.live())
        server._sessions.drop(session)  # as if it had been silent: the robot is asked to say hello again
        until(lambda: link.status().sessions == 2)
        link._uplink._fail("trouble of a moment")
        assert link.status().last_error == "trouble of a moment"
        until(lambda: link.status().last_error == "")


def test_a_port_in_use_is_named_with_the_flag(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server):
        second = LinkServer(store, SPEC, server.address, timing=FAST)
        with pytest.raises(LinkError, match=rf"cannot listen on {server.address}: Address already in use.*--bind"):
            second.start()


def test_a_store_of_another_spec_is_refused(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, _), pytest.raises(ValueError, match="rate"):
        LinkServer(store, msgspec.structs.replace(SPEC, rate=50.0), LOCAL)
