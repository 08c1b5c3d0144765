"""Messages of the link as an enemy or a broken program would send them: mostly right, with one thing that is not."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from link_peers import SPEC
from test_link_peers import chunk, garbage

from robot_dreamer.link.messages import (
    MAGIC,
    PROTOCOL,
    Ack,
    Alive,
    Announcement,
    Discard,
    Discarded,
    Fetch,
    FromLearner,
    FromRobot,
    Gone,
    Goodbye,
    Hello,
    Piece,
    Problem,
    Pulse,
    Refused,
    Rows,
    Welcome,
    encode,
)

_NUMBERS = (0, 1, -1, 2**31, 2**32, 2**53, 2**62, 2**62 + 1, 2**63 - 1, 2**64 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 1e308, -1e308, float("inf"), float("nan"), 5e-324)
_ODD: tuple[Any, ...] = (
    None, True, "", "\0", "../x", "x" * 65, "x" * 20_000, "\ud7ff" * 100, b"", bytes(70_000), [], {}, [[]] * 100,
    {"a": 1}, {1: 2}, dict.fromkeys(map(str, range(65)), 1),
)  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def framed(payload: bytes) -> bytes:
    """A payload with a header and a checksum that are right."""
    return MAGIC + bytes([PROTOCOL]) + struct.pack("<I", zlib.crc32(payload)) + payload


def from_robot(rng: random.Random, boot: str, bundle: str) -> FromRobot:
    """A message that a learner takes, of a robot that has said hello under this boot."""
    first = rng.randrange(50)
    return rng.choice(
        (
            chunk(*range(first, first + rng.randint(1, 4)), previous=first - 1, boot=boot),
            Alive(rng.randrange(99), 0.01, 3, {"invalid": 1}, {"bundle_version": 3, "state": "policy"}, -1),
            Fetch(bundle, rng.randrange(1000), 64),
            Hello("raw", boot, SPEC.hash, SPEC.to_json()),
            Discard(boot, rng.randrange(50)),
            Goodbye(),
        )
    )


def from_learner(rng: random.Random, boot: str) -> FromLearner:
    """A message that a robot takes."""
    sha256 = bytes([rng.randrange(3)]).hex() * 32
    offered = Announcement(rng.randrange(5), 10, sha256, rng.choice((1, 100, 1 << 20)), 0.5)
    return rng.choice(
        (
            Welcome("store", rng.choice((None, offered))),
            Refused("no_session", "say hello first"),
            Ack(boot, rng.randrange(9), rng.randrange(-1, 9), rng.random() < 0.5),
            Discarded(boot, rng.randrange(50)),
            Pulse(rng.randrange(9), 3, 0, {"late": 1}, rng.choice((None, offered))),
            Piece(sha256, 0, rng.randbytes(rng.choice((1, 100, 64 << 10)))),
            Gone(sha256),
            Problem("chunk", "what"),
        )
    )


def mutated(rng: random.Random, message: FromRobot | FromLearner) -> bytes:
    """One frame that differs from the message in one to three things; mostly the checksums are right all the same."""
    ways: list[Callable[[random.Random, Any], bytes]] = [_torn, _bytes, _fields, _fields]
    if isinstance(message, Rows):
        ways += [_data, _data, _data]
    return rng.choice(ways)(rng, message)


def _torn(rng: random.Random, message: Any) -> bytes:
    return garbage(rng, bytes(encode(message)))


def _bytes(rng: random.Random, message: Any) -> bytes:
    return framed(changed(rng, bytes(encode(message))[8:]))


def _fields(rng: random.Random, message: Any) -> bytes:
    plain: dict[str, Any] = msgspec.msgpack.decode(bytes(encode(message))[8:])
    for _ in range(rng.randint(1, 3)):
        name, way = rng.choice(list(plain) or ["type"]), rng.randrange(6)
        if way == 0:
            plain.pop(name, None)
        elif way == 1:
            plain[rng.choice(("further", name.upper(), ""))] = odd(rng)
        elif way == 2 and isinstance(plain.get(name), dict):
            plain[name] = {**plain[name], rng.choice([*plain[name], "x"]): odd(rng)}
        else:
            plain[name] = odd(rng)
    return framed(msgspec.msgpack.encode(plain))


def _data(rng: random.Random, rows: Rows) -> bytes:
    """The rows themselves: blocks whose checksum is right, lengths that are not, a stream that does not end."""
    data = bytes(rows.data)
    size, count = struct.unpack_from("<II", data)
    block = changed(rng, data[8 : 8 + size])
    if rng.random() < 0.7 and len(block) >= 4:
        block = struct.pack("<I", zlib.crc32(block[4:])) + block[4:]
    if rng.random() < 0.3:
        size, count = (rng.choice((0, 1, size + 1, 2**31, 2**32 - 1)), rng.choice((0, 1, count, 2**16, 2**32 - 1)))
    else:
        size = len(block)
    data = struct.pack("<II", size, count) + block
    packed = zlib.compress(data, 1)
    changes: dict[str, Any] = {"size": len(data), "data": memoryview(data)}
    if rng.random() < 0.4:
        stream = changed(rng, packed) if rng.random() < 0.5 else packed
        changes |= {"encoding": "zlib", "data": memoryview(stream)}
    if rng.random() < 0.2:
        changes["size"] = rng.choice((1, len(data) - 1, len(data) + 1, 12 << 20))
    if rng.random() < 0.3:
        changes["last"] = rng.choice((0, rows.last + 1, 2**62))
    return bytes(encode(msgspec.structs.replace(rows, **changes)))


def changed(rng: random.Random, content: bytes) -> bytes:
    """Some bytes set, cut out or put in."""
    broken = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(broken) + 1)
        way = rng.randrange(5)
        if way == 0:
            del broken[at : at + rng.randint(1, 9)]
        elif way == 1:
            broken[at:at] = rng.randbytes(rng.randint(1, 9))
        elif way == 2:
            broken[at : at + 8] = struct.pack("<q", rng.choice(_NUMBERS[:-2] + (-(2**63),)))
        elif way == 3:
            broken[at : at + 8] = struct.pack("<d", rng.choice(_FLOATS))
        elif broken:
            broken[at % len(broken)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def odd(rng: random.Random) -> Any:
    """A value that a field does not expect, or only just."""
    way = rng.randrange(5)
    if way == 0:
        return rng.choice(_NUMBERS)
    if way == 1:
        return rng.choice(_FLOATS)
    if way == 2:
        return nested(rng.choice((3, 100, 900)))
    return rng.choice(_ODD)
