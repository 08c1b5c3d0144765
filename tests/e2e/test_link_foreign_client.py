"""A robot written from docs/link.md alone, as one in another language would be: it uses nothing of the link.

Its only helpers are what every language has: ZeroMQ, MessagePack, CRC-32, SHA-256 and packed little-endian numbers.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from test_link_faults import learner

from robot_dreamer.link import keys
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import load_spec
from tests.waiting import until

SPEC = load_spec("cartpole")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "link.md").read_text()
KINDS = re.findall(r"^\| `(\w+)` \| (?:robot|learner) \|", DOCUMENT, re.M)
PROTOCOL = int(re.search(r"protocol version, (\d+)", DOCUMENT)[1])


class ForeignRobot:
    """One connection; `curve`: content of the key file that the workstation handed out."""

    def __init__(self, address: str, spec_json: str, spec_hash: str, curve: dict[str, str] | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger, self._socket.rcvtimeo = 0, 20_000
        if curve is not None:
            self._socket.curve_publickey = curve["public"].encode()
            self._socket.curve_secretkey = curve["secret"].encode()
            self._socket.curve_serverkey = curve["learner"].encode()
        self._socket.connect(address)
        self._spec_json, self._spec_hash = spec_json, spec_hash

    def __enter__(self) -> ForeignRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def say(self, kind: str, **fields: Any) -> None:
        body = msgspec.msgpack.encode({"type": kind, **fields})
        self._socket.send(b"RDL" + struct.pack("<BI", PROTOCOL, zlib.crc32(body)) + body)

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types."""
        for _ in range(1000):
            frame = self._socket.recv()
            version, checksum = struct.unpack("<BI", frame[3:8])
            assert frame[:3] == b"RDL" and version == PROTOCOL and zlib.crc32(frame[8:]) == checksum
            message: dict[str, Any] = msgspec.msgpack.decode(frame[8:])
            if message["type"] in kinds:
                return message
        raise AssertionError(f"no {kinds}")

    def hello(self, robot: str, boot: str) -> dict[str, Any]:
        self.say("hello", robot=robot, boot=boot, spec_hash=self._spec_hash, spec=self._spec_json)
        return self.hear("welcome", "refused")

    def block(self, robot: str, boot: str, first: int, count: int) -> bytes:
        """Rows first .. first + count of an endless episode; numbers that `expected` knows too."""
        n = range(first, first + count)
        header = msgspec.msgpack.encode([robot, boot, count])
        columns = struct.pack(f"<{count}q", *n) + struct.pack(f"<{count}q", *[0] * count)  # sequence, episode
        columns += struct.pack(f"<{count}q", *(1000 * i for i in n)) + struct.pack(
            f"<{count}q", *(1000 * i + 7 for i in n)
        )
        columns += struct.pack(f"<{count}q", *[5] * count) + struct.pack(f"<{count}d", *(0.5 * i for i in n))
        columns += bytes(i == 0 for i in n) + bytes(count) + bytes(count)
        for values in (1, 2, 2):  # cart_position, joint_velocity, pole_angle
            columns += b"".join(struct.pack(f"<{values}f", *([float(i)] * values)) for i in n)
        for action in (0.25, 0.75):  # executed, requested
            columns += struct.pack(f"<{count}f", *[action] * count)
        rest = bytes.fromhex(self._spec_hash)[:8] + struct.pack("<H", len(header)) + header + columns
        return struct.pack("<I", zlib.crc32(rest)) + rest

    def rows(
        self, boot: str, chunk: int, previous: int, last: int, blocks: list[tuple[int, bytes]], pack: bool
    ) -> None:
        data = b"".join(struct.pack("<II", len(blob), count) + blob for count, blob in blocks)
        encoding, sent = ("zlib", zlib.compress(data)) if pack else ("raw", data)
        fields = {"boot": boot, "chunk": chunk, "previous": previous, "last": last, "size": len(data), "data": sent}
        self.say("rows", count=sum(count for count, _ in blocks), encoding=encoding, **fields)


def secured(folder: Path, store: ExperienceStore) -> tuple[LinkServer, dict[str, str]]:
    (handout,) = keys.create(folder / "keys", ["foreign"])
    server = LinkServer(store, SPEC, "tcp://127.0.0.1:*", keys=folder / "keys")
    return server, json.loads(handout.read_text())


def test_a_foreign_robot_sends_rows_and_fetches_a_bundle(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server, handout = secured(tmp_path, store)
    server.start()
    file = tmp_path / "bundle.zip"
    file.write_bytes(random.Random(0).randbytes(150_000))
    server.publish(file, 3, 30)
    try:
        with ForeignRobot(server.address, SPEC.to_json(), SPEC.hash, handout) as robot:
            assert handout["robot"] == "foreign"
            welcome = robot.hello("foreign", "boot")
            assert welcome["type"] == "welcome" and welcome["store"] == store.id
            one, two = robot.block("foreign", "boot", 0, 3), robot.block("foreign", "boot", 3, 2)
            robot.rows("boot", 0, -1, 4, [(3, one), (2, two)], pack=True)
            assert robot.hear("ack") == {"type": "ack", "boot": "boot", "chunk": 0, "sequence": 4, "resend": False}
            late = robot.block("foreign", "boot", 9, 1)
            robot.rows("boot", 1, 8, 9, [(1, late)], pack=False)  # 5 to 8 were lost on the way
            assert robot.hear("ack") == {"type": "ack", "boot": "boot", "chunk": 1, "sequence": 4, "resend": True}
            robot.rows("boot", 2, -1, 9, [(10, robot.block("foreign", "boot", 0, 10))], pack=False)
            assert robot.hear("ack")["sequence"] == 9
            status = {"spooled": 0, "dropped": {"queue_full": 2}, "figures": {"bundle_version": 3, "note": "C++"}}
            robot.say("alive", echo=17, round_trip=None, fetched=-1, **status)
            pulse = robot.hear("pulse")
            assert pulse["echo"] == 17 and pulse["received"] == 10 and pulse["duplicates"] == 5
            assert until(lambda: [s for s in server.status() if s.dropped])[0].dropped == {"queue_full": 2}
            offer = welcome["bundle"]
            assert (
                offer["version"] == 3
                and offer["training_step"] == 30
                and offer == pulse["bundle"] | {"age": offer["age"]}
            )
            content = b""
            while len(content) < offer["size"]:
                robot.say("fetch", sha256=offer["sha256"], offset=len(content), length=65536)
                piece = robot.hear("piece")
                assert piece["offset"] == len(content)
                content += piece["data"]
            assert hashlib.sha256(content).hexdigest() == offer["sha256"] and content == file.read_bytes()
            robot.say("goodbye")
            until(lambda: not server.status()[0].connected)
        rows = [row for _, row in store.read(0, 100)]
    finally:
        server.stop()
        store.close()
    assert [row.sequence for row in rows] == list(range(10))
    row = rows[7]
    assert (row.robot, row.boot, row.episode, row.reward, row.policy_version) == ("foreign", "boot", 0, 3.5, 5)
    assert (row.stamp_capture, row.stamp_applied) == (7000, 7007) and rows[0].is_first and not row.is_last
    assert row.action["force"] == np.float32(0.25) and row.action_requested["force"] == np.float32(0.75)
    assert {name: value.tolist() for name, value in row.observation.items()} == {
        "cart_position": [7.0],
        "joint_velocity": [7.0, 7.0],
        "pole_angle": [7.0, 7.0],
    }


def test_a_foreign_robot_is_told_what_is_wrong(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server), ForeignRobot(server.address, SPEC.to_json(), SPEC.hash) as robot:
        robot.say("alive", echo=0, round_trip=None, spooled=0, dropped={}, figures={}, fetched=-1)
        assert robot.hear("refused")["reason"] == "no_session"
        assert robot.hello("foreign", "boot")["type"] == "welcome"
        robot.say("alive", echo=0, round_trip=None, spooled="many", dropped={}, figures={}, fetched=-1)
        problem = robot.hear("problem")
        assert problem["kind"] == "malformed" and "spooled" in problem["text"]
        with ForeignRobot(server.address, SPEC.to_json(), SPEC.hash) as second:
            refused = second.hello("foreign", "another-boot")
            assert refused["reason"] == "claimed" and "own id" in refused["text"]
        with ForeignRobot(server.address, load_spec("quadruped").to_json(), load_spec("quadruped").hash) as other:
            refused = other.hello("other", "boot")
            assert refused["reason"] == "spec" and "quadruped" in refused["text"]


def test_the_document_says_where_spec_and_hash_come_from() -> None:
    command = re.search(r'python -c "(.+)" cartpole', DOCUMENT)
    assert command is not None
    found = subprocess.run([sys.executable, "-c", command[1], "cartpole"], capture_output=True, text=True, timeout=60)
    assert found.stdout.split(maxsplit=1) == [SPEC.hash, SPEC.to_json() + "\n"], found.stderr


@pytest.mark.parametrize("name", KINDS)
def test_every_field_has_its_type_in_the_document(name: str) -> None:
    assert len(KINDS) >= 11
    line = next(row for row in DOCUMENT.splitlines() if row.startswith(f"| `{name}` |"))
    fields = re.findall(r"`(\w+)`", line.split("|")[3])
    types = DOCUMENT.split("Types of fields:")[1].split("\n\n")[1]
    for field in fields:
        if field not in ("raw", "zlib"):  # values of `encoding`
            assert f"`{field}`" in types, f"{name}.{field} has no type in docs/link.md"
