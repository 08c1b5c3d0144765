"""A row as bytes: encoded once on the robot, and the same bytes in spool, on the wire and in the learner's store.

    offset  size  meaning
    0       4     CRC-32 (zlib) of the rest
    4       8     first 8 bytes of the spec's hash: names, shapes, dtypes and order of the arrays follow from the spec
    12      2     H, bytes of the header
    14      H     MessagePack array: robot, boot, sequence, episode, reward, is_first, is_last, is_terminal,
                  stamp_capture, stamp_applied, policy_version
    14+H    -     observations, then actions, then requested actions, each in the spec's order, C order

All numbers are little endian. The length is checked before anything is read. A chunk is rows one after another, each
behind its length (uint32).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from robot_dreamer.link.errors import RowError
from robot_dreamer.link.messages import MAX_CHUNK, MAX_ROW, Id
from robot_dreamer.record import RecordError, StepRecord, validate_record
from robot_dreamer.spec import RobotSpec

_PREFIX = struct.Struct("<I8sH")
_LENGTH = struct.Struct("<I")
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Index = Annotated[int, Meta(ge=0, le=2**62)]


class RowHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The scalars of a row; see StepRecord."""

    robot: Id
    boot: Id
    sequence: _Index
    episode: _Index
    reward: float
    is_first: bool
    is_last: bool
    is_terminal: bool
    stamp_capture: _Int64
    stamp_applied: _Int64
    policy_version: _Int64


class RowCodec:
    """Turns rows of one spec into bytes and back.

    Raises ValueError for a spec whose rows are larger than a message may be.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self._stamp = bytes.fromhex(spec.hash)[:8]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(RowHeader)
        observations = [(o.name, o.shape, np.dtype(o.dtype).newbyteorder("<")) for o in spec.observations]
        actions = [(a.name, a.shape, np.dtype(a.dtype).newbyteorder("<")) for a in spec.actions]
        self._groups = (observations, actions, actions)
        self.arrays_size = sum(math.prod(shape) * dtype.itemsize for group in self._groups for _, shape, dtype in group)
        if self.arrays_size + 1024 > MAX_ROW:
            raise ValueError(f"a row of {spec.name!r} has {self.arrays_size} bytes, at most {MAX_ROW - 1024} fit")

    def encode(self, row: StepRecord) -> bytes:
        """Raises RecordError unless the row fits the spec."""
        validate_record(row, self.spec)
        header = self._encoder.encode(
            RowHeader(
                robot=row.robot,
                boot=row.boot,
                sequence=int(row.sequence),
                episode=int(row.episode),
                reward=float(row.reward),
                is_first=bool(row.is_first),
                is_last=bool(row.is_last),
                is_terminal=bool(row.is_terminal),
                stamp_capture=int(row.stamp_capture),
                stamp_applied=int(row.stamp_applied),
                policy_version=int(row.policy_version),
            )
        )
        sources = (row.observation, row.action, row.action_requested)
        arrays = [
            source[name].astype(dtype, copy=False).tobytes()
            for source, group in zip(sources, self._groups, strict=True)
            for name, _, dtype in group
        ]
        rest = b"".join((self._stamp, len(header).to_bytes(2, "little"), header, *arrays))
        return zlib.crc32(rest).to_bytes(4, "little") + rest

    def decode(self, blob: bytes) -> StepRecord:
        """Bytes -> row, checked against the spec; its arrays are read-only views of `blob`. Raises RowError."""
        if len(blob) < _PREFIX.size:
            raise RowError("truncated", f"row of {len(blob)} bytes is shorter than its prefix")
        checksum, stamp, header_size = _PREFIX.unpack_from(blob)
        if stamp != self._stamp:
            raise RowError("spec", f"row was recorded for spec {stamp.hex()}..., ours is {self.spec.hash[:16]}...")
        expected = _PREFIX.size + header_size + self.arrays_size
        if len(blob) != expected:
            raise RowError("size", f"row of {len(blob)} bytes, expected {expected}")
        if zlib.crc32(memoryview(blob)[4:]) != checksum:
            raise RowError("checksum", "row was changed after it was recorded")
        try:
            header = self._decoder.decode(blob[_PREFIX.size : _PREFIX.size + header_size])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RowError("header", f"header of the row: {error}") from error
        offset = _PREFIX.size + header_size
        groups: list[dict[str, NDArray[Any]]] = []
        for group in self._groups:
            arrays: dict[str, NDArray[Any]] = {}
            for name, shape, dtype in group:
                size = math.prod(shape)
                arrays[name] = np.frombuffer(blob, dtype, size, offset).reshape(shape)
                offset += size * dtype.itemsize
            groups.append(arrays)
        row = StepRecord(
            robot=header.robot,
            boot=header.boot,
            sequence=header.sequence,
            episode=header.episode,
            observation=groups[0],
            action=groups[1],
            action_requested=groups[2],
            reward=header.reward,
            is_first=header.is_first,
            is_last=header.is_last,
            is_terminal=header.is_terminal,
            stamp_capture=header.stamp_capture,
            stamp_applied=header.stamp_applied,
            policy_version=header.policy_version,
        )
        try:
            validate_record(row, self.spec)
        except RecordError as error:
            raise RowError("invalid", str(error)) from error
        return row


def pack(blobs: Iterable[bytes]) -> bytes:
    """Rows -> the data of a chunk."""
    return b"".join(part for blob in blobs for part in (_LENGTH.pack(len(blob)), blob))


def unpack(data: bytes, count: int) -> list[bytes]:
    """Data of a chunk -> rows. Raises RowError("chunk") unless it holds exactly `count` rows."""
    blobs: list[bytes] = []
    offset = 0
    while offset < len(data) and len(blobs) < count:
        if offset + _LENGTH.size > len(data):
            break
        (size,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if size > len(data) - offset:
            raise RowError("chunk", f"row {len(blobs)} claims {size} bytes, {len(data) - offset} are left")
        blobs.append(data[offset : offset + size])
        offset += size
    if offset != len(data) or len(blobs) != count:
        left = len(data) - offset
        raise RowError("chunk", f"chunk holds {len(blobs)} rows and {left} further bytes, expected {count} rows")
    return blobs


class Compressor:
    """zlib where it helps: a chunk that hardly shrinks switches compression off for the next `pause` chunks."""

    def __init__(self, worthwhile: float = 0.8, pause: int = 50) -> None:
        self._worthwhile, self._pause, self._skip = worthwhile, pause, 0

    def compress(self, data: bytes) -> tuple[Literal["raw", "zlib"], bytes]:
        """Returns (encoding, data)."""
        if self._skip:
            self._skip -= 1
            return "raw", data
        packed = zlib.compress(data, 1)
        if len(packed) <= self._worthwhile * len(data):
            return "zlib", packed
        self._skip = self._pause
        return "raw", data


def decompress(encoding: str, data: bytes, size: int) -> bytes:
    """Undo `Compressor.compress`; never produces more than `size` bytes. Raises RowError("chunk")."""
    if size > MAX_CHUNK:
        raise RowError("chunk", f"chunk claims {size} bytes, at most {MAX_CHUNK} are allowed")
    if encoding == "zlib":
        inflater = zlib.decompressobj()
        try:
            plain = inflater.decompress(data, size)
        except zlib.error as error:
            raise RowError("chunk", f"chunk is not zlib data: {error}") from error
        # The stream's end may need one more call once exactly `size` bytes are out.
        if not inflater.eof and len(plain) == size:
            plain += inflater.decompress(inflater.unconsumed_tail, 1)
        if not inflater.eof or inflater.unused_data:
            raise RowError("chunk", f"chunk does not end after the {size} bytes that it claims")
        data = plain
    if len(data) != size:
        raise RowError("chunk", f"chunk has {len(data)} bytes, it claims {size}")
    return data
