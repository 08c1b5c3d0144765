"""Every message of the link, and the only code that turns bytes from the network into one.

A ZeroMQ message is one frame (after the routing id that the ROUTER socket adds):

    offset  size  meaning
    0       3     b"RDL"
    3       1     protocol version, the lowest that a peer must know to read this message
    4       4     CRC-32 (zlib) of the rest, little endian
    8       -     MessagePack map; the key "type" names the message, unknown keys are refused

The checksum covers the whole message because a flipped bit in a sequence number would be a silent loss, not an error.
docs/link.md shows the conversation that these messages make.
"""

from __future__ import annotations

import struct
import zlib
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from robot_dreamer.bounds import Count, CountOrNone, Seconds, Shown
from robot_dreamer.link.errors import FrameError

PROTOCOL = 4  # the newest that we read; one that says what was drawn for an episode (blocks.carries_draws)
OLDEST = 3  # of all other messages: so a peer that knows of no draws hears everything else
MAGIC = b"RDL"
MAX_MESSAGE = 16 << 20  # bytes of one frame; the sockets refuse larger ones before they are read
MAX_ROWS = 1 << 16  # rows of one message
MAX_BLOCK = 8 << 20  # bytes of one block
MAX_CHUNK = 12 << 20  # bytes of a chunk, before compression
_HEADER = struct.Struct("<3sBI")

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(max_length=16384)]
Label = Annotated[str, Meta(max_length=64)]
Counters = Annotated[dict[Label, Count], Meta(max_length=64)]
Figure = Shown | int | Annotated[str, Meta(max_length=256)]
Figures = Annotated[dict[Label, Figure], Meta(max_length=64)]


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle that the learner would like robots to run. `age`: seconds since it was published."""

    version: Count
    training_step: Count
    sha256: Hash
    size: Count
    age: Seconds


# robot -> learner


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="hello"):
    """First message of a connection, and after a refusal "no_session". `spec`: RobotSpec as JSON."""

    robot: Id
    boot: Id
    spec_hash: Hash
    spec: Annotated[str, Meta(max_length=1 << 18)]


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="rows"):
    """A chunk of rows of one boot, in order (link/chunks.py and link/blocks.py describe `data`).

    `previous` is the sequence number that went before the chunk on this connection, -1 if it starts at the oldest row
    that the robot still holds. A learner that has not seen `previous` must not take the chunk: something was lost
    on the way. Numbers missing after `previous` and inside the chunk were dropped by the robot, and counted there.
    """

    boot: Id
    chunk: Count  # counts chunks of this process of the robot
    previous: CountOrNone
    last: Count  # sequence number of the last row
    count: Annotated[int, Meta(ge=1, le=MAX_ROWS)]
    encoding: Literal["raw", "zlib"]
    size: Annotated[int, Meta(ge=1, le=MAX_CHUNK)]  # bytes of data before compression
    data: memoryview


class Discard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="discard"):
    """A person says that this episode must not be learned from. Sent until it is answered; twice is once."""

    boot: Id
    episode: Count


class Alive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alive"):
    """Heartbeat. `echo` comes back in the answer (round trip); the rest is for the learner's display."""

    echo: Count
    round_trip: Seconds | None  # as last measured
    spooled: Count
    dropped: Counters
    figures: Figures
    fetched: CountOrNone  # newest bundle version fetched whole, -1 for none


class Fetch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="fetch"):
    """Asks for one piece of a bundle that was announced: the newest, or the one whose download has begun."""

    sha256: Hash
    offset: Count
    length: Annotated[int, Meta(ge=1, le=1 << 20)]


class Goodbye(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="goodbye"):
    """The robot stops on purpose."""


# learner -> robot


class Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="welcome"):
    """Answer to a Hello. `store` is the id of the learner's store: bundle versions are compared within one store."""

    store: Id
    bundle: Announcement | None


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="refused"):
    """The robot is not served. `reason` is for programs, `text` for people."""

    reason: Literal["no_session", "claimed", "spec", "not_allowed", "full"]
    text: Text


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ack"):
    """Everything of `boot` up to `sequence` is settled: durable here, or rejected and counted.

    `resend`: chunk number `chunk` could not be taken; send again from the oldest row that is not settled.
    """

    boot: Id
    chunk: Count
    sequence: CountOrNone
    resend: bool


class Discarded(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="discarded"):
    """Answer to a Discard: it is durable here."""

    boot: Id
    episode: Count


class Pulse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="pulse"):
    """Answer to Alive, also sent unasked when a bundle is published. Totals are of this robot and this store."""

    echo: Count
    received: Count
    duplicates: Count
    rejected: Counters
    bundle: Announcement | None


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="piece"):
    """One piece of a bundle; shorter than asked for only at its end."""

    sha256: Hash
    offset: Count
    data: bytes


class Gone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="gone"):
    """Answer to a Fetch of a bundle that is no longer on offer: take the announced one."""

    sha256: Hash


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="problem"):
    """A message of the robot was not understood or not possible now; it was counted under `kind` and thrown away."""

    kind: Label
    text: Text


FromRobot = Hello | Rows | Discard | Alive | Fetch | Goodbye
FromLearner = Welcome | Refused | Ack | Discarded | Pulse | Piece | Gone | Problem

_M = TypeVar("_M")
_encoder = msgspec.msgpack.Encoder()
_from_robot: msgspec.msgpack.Decoder[FromRobot] = msgspec.msgpack.Decoder(FromRobot)
_from_learner: msgspec.msgpack.Decoder[FromLearner] = msgspec.msgpack.Decoder(FromLearner)


def encode(message: FromRobot | FromLearner, protocol: int = OLDEST) -> bytearray:
    """Message -> one frame, of a protocol that a peer must know to read it."""
    frame = bytearray(_HEADER.size)
    _encoder.encode_into(message, frame, _HEADER.size)
    if len(frame) > MAX_MESSAGE:
        raise FrameError("oversize", f"a {type(message).__name__} of {len(frame)} bytes does not fit into a message")
    _HEADER.pack_into(frame, 0, MAGIC, protocol, zlib.crc32(memoryview(frame)[_HEADER.size :]))
    return frame


def decode_from_robot(frame: bytes | bytearray | memoryview) -> FromRobot:
    """One frame -> message; the data of Rows is a view of the frame. Raises FrameError, whatever the bytes are."""
    return _decode(frame, _from_robot)


def decode_from_learner(frame: bytes | bytearray | memoryview) -> FromLearner:
    """One frame -> message. Raises FrameError, whatever the bytes are."""
    return _decode(frame, _from_learner)


def _decode(frame: bytes | bytearray | memoryview, decoder: msgspec.msgpack.Decoder[_M]) -> _M:
    if len(frame) > MAX_MESSAGE:
        raise FrameError("oversize", f"message of {len(frame)} bytes, at most {MAX_MESSAGE} are allowed")
    if len(frame) < _HEADER.size:
        raise FrameError("truncated", f"message of {len(frame)} bytes is shorter than its header")
    magic, protocol, checksum = _HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise FrameError("foreign", f"message does not start with {MAGIC!r}: the peer does not speak this protocol")
    if not OLDEST <= protocol <= PROTOCOL:
        text = f"peer speaks protocol {protocol}, we speak {PROTOCOL}: install the same version on both sides"
        raise FrameError("protocol", text)
    payload = memoryview(frame)[_HEADER.size :]
    if zlib.crc32(payload) != checksum:
        raise FrameError("checksum", "message was changed on the way")
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameError("malformed", f"not a known message: {error}") from error
