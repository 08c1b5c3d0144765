"""Peers that mean harm, or err as badly: they cost themselves their messages, and nobody else anything."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from link_peers import PATIENT, SPEC
from test_link_faults import LOCAL, learner, record, robot
from test_link_peers import Client, chunk

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link import keys
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Packed, pack
from robot_dreamer.link.messages import Ack, Alive, Problem, Pulse, Refused, Rows, Welcome
from robot_dreamer.link.server import UNEXPECTED, LinkServer
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until


def rows_of(blob: bytes | bytearray, count: int, last: int, name: str = "boot") -> Rows:
    data = pack([Packed(count, blob)])
    return Rows(name, 0, -1, last, count, "raw", len(data), memoryview(data))


def forged(sequence: list[int]) -> bytearray:
    """A block with these sequence numbers and a right checksum."""
    blob = BlockCodec(SPEC).encode([synthetic_row(SPEC, "raw", "boot", i) for i in range(len(sequence))])
    BlockCodec(SPEC).decode(blob).scalars["sequence"][:] = np.array(sequence, np.int64)
    blob[:4] = zlib.crc32(memoryview(blob)[4:]).to_bytes(4, "little")
    return blob


def test_a_chunk_that_ends_one_byte_too_late_costs_itself_only(tmp_path: Path) -> None:
    good = chunk(0, 1)
    longer = bytearray(zlib.compress(bytes(good.data) + b"x"))
    longer[-1] ^= 0xFF  # its checksum, which zlib looks at in the last call
    bad = msgspec.structs.replace(good, encoding="zlib", data=memoryview(longer))
    with learner(tmp_path) as (store, server), Client(server.address) as client, Client(server.address) as other:
        client.hello()
        client.hear(Welcome)
        client.say(bad)
        assert client.hear((Ack, Problem)).kind == "chunk"
        other.hello("second")
        assert other.hear(Welcome).store == store.id
        client.say(good)
        assert client.hear(Ack).sequence == 1


def test_a_handler_that_stumbles_costs_its_message_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client, Client(server.address) as other:
        for peer, name in ((client, "raw"), (other, "second")):
            peer.hello(name)
            peer.hear(Welcome)
        add_chunk, pulse = store.add_chunk, server._pulse

        def stumble(robot: str, *rest):
            if robot == "raw":
                raise ZeroDivisionError("nobody thought of it")
            return add_chunk(robot, *rest)

        def no_pulse(identity, session, echo):
            if session.robot == "raw":
                raise KeyError("nor of this")
            pulse(identity, session, echo)

        monkeypatch.setattr(store, "add_chunk", stumble)
        monkeypatch.setattr(server, "_pulse", no_pulse)
        client.say(chunk(0, 1))
        other.say(chunk(0, 1, name="second"))
        assert client.hear((Ack, Problem)).kind == UNEXPECTED
        assert other.hear((Ack, Problem)) == Ack("boot", 0, 1, False)
        client.say(Alive(1, None, 0, {}, {}, -1))
        assert "KeyError" in client.hear(Problem).text
        other.say(Alive(1, None, 0, {}, {}, -1))
        assert other.hear(Pulse).received == 2
        assert server.bad_messages[UNEXPECTED] == 2
        monkeypatch.undo()
        client.say(chunk(0, 1))
        assert client.hear((Ack, Problem)) == Ack("boot", 0, 1, False)
        server.check()


@pytest.mark.parametrize(
    ("sequence", "kind", "stored"),
    [
        ([5, -(2**63) + 3, 2], "order", []),  # whose differences, in 64 bits, are positive
        ([5, 5, 6], "order", []),
        ([2**63 - 1, -(2**63), 7], "order", []),
        ([-3, 4, 5], "invalid", [4, 5]),
        ([1, 2, 2**62 + 1], "identity", []),
    ],
)
def test_whatever_the_sequence_numbers_the_store_can_be_read_again(tmp_path: Path, sequence, kind, stored) -> None:
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        client.say(rows_of(forged(sequence), 3, 9))
        assert client.hear(Ack).sequence == 9
        assert list(server.status()[0].rejected) == [kind]
        assert [r.sequence for _, r in store.read(0, 99)] == stored
        client.say(chunk_behind(10, 11))
        client.hear(Ack)
        assert [r.sequence for _, r in store.read(0, 99)] == [*stored, 10, 11]


def chunk_behind(*numbers: int) -> Rows:
    return msgspec.structs.replace(chunk(*numbers), previous=9)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"action": {"force": np.array([1e20], np.float32)}}, "action_range"),
        ({"action": {"force": np.array([-1.01], np.float32)}}, "action_range"),
        ({"stamp_capture": -(2**63)}, "invalid"),
        ({"stamp_applied": 2**63 - 1}, "invalid"),
        ({"episode": 2**62 + 1}, "invalid"),
        ({"policy_version": -9}, "invalid"),
    ],
)
def test_rows_that_bend_the_learner_are_rejected_by_kind(tmp_path: Path, change, kind: str) -> None:
    codec = BlockCodec(SPEC)
    rows = [synthetic_row(SPEC, "raw", "boot", i) for i in range(3)]
    blob = codec.encode(rows)
    block = codec.decode(blob)
    wrong = dataclasses.replace(rows[1], **change)
    for name in block.scalars:
        block.scalars[name][1] = getattr(wrong, name)
    block.action["force"][1] = wrong.action["force"]
    blob[:4] = zlib.crc32(memoryview(blob)[4:]).to_bytes(4, "little")
    with learner(tmp_path) as (store, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        client.say(rows_of(blob, 3, 2))
        client.hear(Ack)
        assert server.status()[0].rejected == {kind: 1}
        assert [r.sequence for _, r in store.read(0, 99)] == [0, 2]


@contextmanager
def thief(address: str, own: Path, identity: bytes) -> Iterator[Client]:
    """A client with keys of its own that calls its connection as it likes."""
    mine = keys.load_robot_keys(own)
    client = Client("inproc://nowhere-yet")
    socket = client._context.socket(zmq.DEALER)
    socket.linger, socket.rcvtimeo, socket.routing_id = 0, 20_000, identity
    socket.curve_publickey, socket.curve_secretkey = mine.public.encode(), mine.secret.encode()
    socket.curve_serverkey = mine.learner.encode()
    socket.connect(address)
    client.socket = socket
    with client:
        yield client


def test_nobody_writes_under_the_name_of_another(tmp_path: Path) -> None:
    """Even with the name of the connection that the other one had until a moment ago."""
    handouts = keys.create(tmp_path / "keys", ["a", "b"])
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL, keys=tmp_path / "keys", timing=PATIENT)
    server.start()
    try:
        with thief(server.address, handouts[0], b"same") as a:
            a.hello("a")
            a.hear(Welcome)
        # a is silent, and for `silence` its session lives on.
        with thief(server.address, handouts[1], b"same") as b:
            b.say(chunk(0, 1, name="a"))
            assert b.hear((Ack, Refused)).reason == "no_session"
            assert store.count() == 0 and server.bad_messages["foreign_key"] == 1
            b.hello("b")
            b.hear(Welcome)
            b.say(chunk(0, 1, name="b"))
            assert b.hear((Ack, Refused)).sequence == 1
            assert {r.robot for _, r in store.read(0, 9)} == {"b"}
            assert [s.connected for s in server.status()] == [False, True], "one connection speaks for one robot"
    finally:
        server.stop()
        store.close()


def test_what_a_learner_says_cannot_end_the_robots_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with learner(tmp_path) as (store, server), robot(tmp_path, server.address) as link:
        until(lambda: link.status().connected)
        uplink = link._uplink
        handle = uplink.shipper.handle
        raises = [ZeroDivisionError("nobody thought of it")]

        def stumble(ack, now):
            if raises:
                raise raises.pop()
            handle(ack, now)

        monkeypatch.setattr(uplink.shipper, "handle", stumble)
        record(link, 0, 5)
        until(lambda: store.count() == 5 and link.status().acknowledged == 5)
        assert link.status().bad_messages == {"unexpected": 1} and link.status().fault == ""
