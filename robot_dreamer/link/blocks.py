"""Rows as bytes, a block at a time: encoded once on the robot, the same bytes in spool, on the wire and in the store.

    offset  size  meaning
    0       4     CRC-32 (zlib) of the rest
    4       8     first 8 bytes of the spec's hash: names, shapes, dtypes and order of the arrays follow from the spec;
                  what older programs stored has the first 8 of that spec's older hash
    12      2     H, bytes of the header
    14      H     MessagePack array: robot, boot, number of rows N; and D, where D is not 0
    14+H    D     what was drawn for the episodes that begin here, see draw_section.py
    14+H+D  -     columns, N values each: sequence, episode, stamp_capture, stamp_applied, policy_version (int64),
                  reward (float64), is_first, is_last, is_terminal (uint8, 0 or 1), then observations, actions and
                  requested actions, each in the spec's order, C order

All numbers are little endian; sequence rises from row to row. The length is checked before anything is read. Columns,
because then a block is checked by a few numpy calls, whatever the number of its rows.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from robot_dreamer.bounds import LARGEST
from robot_dreamer.link.draw_section import Drawn, SectionSize, decode_section, encode_section, gather, picked
from robot_dreamer.link.errors import RowError
from robot_dreamer.link.messages import MAX_BLOCK, MAX_ROWS, Id
from robot_dreamer.record import (
    ACTION_ROUNDING,
    LOWEST,
    RANGES,
    RecordError,
    StepRecord,
    drawn_problem,
    validate_ranges,
    validate_record,
)
from robot_dreamer.spec import RobotSpec

Buffer = bytes | bytearray | memoryview

_PREFIX = struct.Struct("<I8sH")
_FOUR = 0x94  # MessagePack: an array of four
_SCALARS = (
    ("sequence", np.dtype("<i8")),
    ("episode", np.dtype("<i8")),
    ("stamp_capture", np.dtype("<i8")),
    ("stamp_applied", np.dtype("<i8")),
    ("policy_version", np.dtype("<i8")),
    ("reward", np.dtype("<f8")),
    ("is_first", np.dtype("u1")),
    ("is_last", np.dtype("u1")),
    ("is_terminal", np.dtype("u1")),
)
_FLAGS = ("is_first", "is_last", "is_terminal")
_LOWEST = np.array(list(LOWEST.values()))[:, None]
_LARGEST = float(np.finfo(np.float32).max)
_UNFIT = (RecordError, AttributeError, KeyError, TypeError, ValueError, OverflowError, BufferError)
_HEADER_ROOM = 256  # bytes; more than prefix and header ever need


class BlockHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose rows these are, and how many; bytes of the section behind it."""

    robot: Id
    boot: Id
    count: Annotated[int, Meta(ge=1, le=MAX_ROWS)]
    drawn: SectionSize = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one boot. Arrays have the rows as first dimension; those of a decoded block are views of its bytes.

    Attributes:
      drawn: by row.
      scalars: by field of StepRecord.
      observation, action, action_requested: by name.
    """

    robot: str
    boot: str
    drawn: Drawn
    scalars: dict[str, NDArray[Any]]
    observation: dict[str, NDArray[Any]]
    action: dict[str, NDArray[Any]]
    action_requested: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.scalars["sequence"])

    @property
    def sequence(self) -> NDArray[np.int64]:
        return self.scalars["sequence"]

    @property
    def groups(self) -> tuple[dict[str, NDArray[Any]], ...]:
        """All columns, in the order in which they are written."""
        return self.scalars, self.observation, self.action, self.action_requested

    def pick(self, rows: NDArray[np.bool_]) -> Block:
        """The chosen rows only."""
        chosen = ({name: column[rows] for name, column in group.items()} for group in self.groups)
        return Block(self.robot, self.boot, picked(self.drawn, rows), *chosen)

    def records(self, start: int = 0, stop: int | None = None) -> list[StepRecord]:
        """Rows start..stop as records."""
        part = slice(start, len(self) if stop is None else stop)
        s = {name: column[part].tolist() for name, column in self.scalars.items()}
        arrays = [[(name, list(column[part])) for name, column in group.items()] for group in self.groups[1:]]
        return [
            StepRecord(
                robot=self.robot,
                boot=self.boot,
                sequence=s["sequence"][i],
                episode=s["episode"][i],
                observation={name: column[i] for name, column in arrays[0]},
                action={name: np.asarray(column[i]) for name, column in arrays[1]},
                action_requested={name: np.asarray(column[i]) for name, column in arrays[2]},
                reward=s["reward"][i],
                is_first=bool(s["is_first"][i]),
                is_last=bool(s["is_last"][i]),
                is_terminal=bool(s["is_terminal"][i]),
                stamp_capture=s["stamp_capture"][i],
                stamp_applied=s["stamp_applied"][i],
                policy_version=s["policy_version"][i],
                drawn=self.drawn.get(start + i, {}),
            )
            for i in range(len(s["sequence"]))
        ]


class BlockCodec:
    """Turns rows of one spec into bytes and back.

    Args:
      made_for: a spec of the same contract, whose older hashes blocks may have; default: `spec`.

    Attributes:
      row_bytes: bytes of one row in a block.

    Raises ValueError for a spec whose rows are larger than a message may be.
    """

    def __init__(self, spec: RobotSpec, made_for: RobotSpec | None = None) -> None:
        self.spec = spec
        self._stamp, *_ = self._known = [bytes.fromhex(found)[:8] for found in (made_for or spec).hashes]
        self._decoder = msgspec.msgpack.Decoder(BlockHeader)
        observations = [(o.name, o.shape, np.dtype(o.dtype).newbyteorder("<")) for o in spec.observations]
        actions = [(a.name, a.shape, np.dtype(a.dtype).newbyteorder("<")) for a in spec.actions]
        scalars: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = [(name, (), dtype) for name, dtype in _SCALARS]
        self._layout = (scalars, observations, actions, actions)
        self._classes = {a.name: len(a.values) for a in spec.actions if a.discrete}
        self.row_bytes = sum(math.prod(shape) * dtype.itemsize for group in self._layout for _, shape, dtype in group)
        if self.row_bytes + _HEADER_ROOM > MAX_BLOCK:
            raise ValueError(f"a row of {spec.name!r} has {self.row_bytes} bytes, at most {MAX_BLOCK} fit")

    def rows_in(self, size: int) -> int:
        """Rows that a block of about `size` bytes holds; at least one."""
        return min(MAX_ROWS, max(1, (size - _HEADER_ROOM) // self.row_bytes))

    def restamped(self, blob: Buffer) -> Buffer:
        """A block of an older program under today's hash; any other as it is. Raises RowError if it was changed."""
        if blob[4:12] == self._stamp or blob[4:12] not in self._known:
            return blob
        self.decode(blob)  # else the new checksum would be right for wrong bytes
        block = bytearray(blob)
        block[4:12] = self._stamp
        return _checked(block)

    def encode(self, rows: Sequence[StepRecord]) -> bytearray:
        """Rows of one robot and boot -> block. Raises RecordError unless they fit the spec and their sequence rises."""
        try:
            parts, drawn = self._gather(rows), gather(rows)
        except _UNFIT as error:
            self._explain(rows)
            raise RecordError(f"rows cannot be encoded: {error}") from error
        robot, boot = rows[0].robot, rows[0].boot
        if set(map(attrgetter("robot", "boot"), rows)) != {(robot, boot)}:
            raise RecordError("rows of different robots or boots do not go into one block")
        blob = self._seal(robot, boot, len(rows), drawn, parts)
        block = self._view(blob, robot, boot, len(rows), drawn)
        if self.unfit(block):
            self._explain(rows)
            raise RecordError("a number does not fit into the row's format")
        if not _rises(block.sequence):
            raise RecordError(f"sequence must rise within a boot, found {block.sequence.tolist()[:20]}")
        return blob

    def pack(self, block: Block) -> bytearray:
        """Block -> bytes."""
        parts = [column.tobytes() for group in block.groups for column in group.values()]
        return self._seal(block.robot, block.boot, len(block), block.drawn, parts)

    def decode(self, blob: Buffer) -> Block:
        """Bytes -> block; its arrays are views of `blob`. Values are not looked at (see `unfit`). Raises RowError."""
        if len(blob) < _PREFIX.size:
            raise RowError("truncated", f"block of {len(blob)} bytes is shorter than its prefix")
        checksum, stamp, header_size = _PREFIX.unpack_from(blob)
        if stamp not in self._known:
            raise RowError("spec", f"block was recorded for spec {stamp.hex()}..., ours is {self.spec.hash[:16]}...")
        view = memoryview(blob)
        if zlib.crc32(view[4:]) != checksum:
            raise RowError("checksum", "block was changed after it was recorded")
        try:
            header = self._decoder.decode(view[_PREFIX.size : _PREFIX.size + header_size])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RowError("header", f"header of the block: {error}") from error
        section = _PREFIX.size + header_size
        expected = section + header.drawn + header.count * self.row_bytes
        if len(blob) != expected:
            raise RowError("size", f"block of {len(blob)} bytes, expected {expected}")
        drawn = decode_section(view[section : section + header.drawn], header.count)
        block = self._view(blob, header.robot, header.boot, header.count, drawn)
        if not _rises(block.sequence):
            raise RowError("order", "the sequence numbers of the block do not rise")
        return block

    def unfit(self, block: Block) -> dict[str, NDArray[np.bool_]]:
        """Rows without the values that a row may have, see record.validate_record and validate_ranges.

        Kind of RecordError -> (N,) the rows that have it; only kinds that are there, and a row is counted under one.
        """
        left = self._well_formed(block)
        found = {} if left.all() else {"invalid": ~left}
        for kind, outside in self._beyond(block).items():
            if outside.ndim and (bad := outside & left).any():
                found[kind] = bad
                left &= ~bad
        return found

    def _beyond(self, block: Block) -> dict[str, NDArray[np.bool_]]:
        """By kind, the rows with numbers outside of the spec's ranges: record.validate_ranges for whole blocks."""
        beyond: dict[str, Any] = dict.fromkeys(RANGES, np.False_)
        most = 1.0 + ACTION_ROUNDING
        for action in self.spec.actions:
            if not action.discrete:
                beyond["action_range"] |= _outside(block.action[action.name], (-most, most))
        for o in self.spec.observations:
            if o.limits:
                beyond["observation_range"] |= _outside(block.observation[o.name], o.limits)
        if self.spec.reward_range:
            beyond["reward_range"] = _outside(block.scalars["reward"], self.spec.reward_range)
        return beyond

    def _well_formed(self, block: Block) -> NDArray[np.bool_]:
        s = block.scalars
        # Checked together: a call costs more than its few numbers.
        whole = np.concatenate([s[name] for name in LOWEST]).reshape(len(LOWEST), -1)
        good: NDArray[np.bool_] = np.all((whole >= _LOWEST) & (whole <= LARGEST), axis=0)
        good &= np.abs(s["reward"]) <= _LARGEST  # which a NaN is not either
        good &= (np.concatenate([s[name] for name in _FLAGS]).reshape(len(_FLAGS), -1) <= 1).all(0)
        good &= s["is_terminal"] <= s["is_last"]
        floats = [column for group in block.groups[1:] for column in group.values() if column.dtype.kind == "f"]
        if floats and not np.isfinite(np.concatenate(floats, axis=None)).all():
            for column in floats:
                good &= ~_rows_with(~np.isfinite(column))
        for i, drawn in block.drawn.items():
            good[i] &= not drawn_problem(drawn, bool(s["is_first"][i]))
        for name, classes in self._classes.items():
            for group in (block.action, block.action_requested):
                good &= (group[name] >= 0) & (group[name] < classes)
        return good

    def _explain(self, rows: Sequence[StepRecord]) -> None:
        """Raise RecordError with the field and value that is wrong, if a row has one."""
        for row in rows:
            try:
                validate_record(row, self.spec)
                validate_ranges(row, self.spec)
            except RecordError:
                raise
            except _UNFIT as error:
                raise RecordError(f"row cannot be read: {error}") from error

    def _gather(self, rows: Sequence[StepRecord]) -> list[Any]:
        """The columns, as buffers to be joined. map and attrgetter: no bytecode is run per row."""
        parts: list[Any] = [
            np.fromiter(map(attrgetter(name), rows), bool if dtype.itemsize == 1 else dtype, len(rows))
            for name, dtype in _SCALARS
        ]
        for field, layout in zip(("observation", "action", "action_requested"), self._layout[1:], strict=True):
            groups = list(map(attrgetter(field), rows))
            if set(map(len, groups)) != {len(layout)}:
                raise RecordError(f"{field}: expected {len(layout)} arrays")
            for name, shape, dtype in layout:
                arrays = list(map(itemgetter(name), groups))
                found = set(map(attrgetter("shape"), arrays)), set(map(attrgetter("dtype"), arrays))
                if found != ({shape}, {dtype.newbyteorder("=")}):
                    raise RecordError(f"{field} {name}: found {found}")
                if sys.byteorder == "little" and all(map(attrgetter("flags.c_contiguous"), arrays)):
                    parts += arrays
                else:
                    parts.append(np.stack(arrays).astype(dtype))
        return parts

    def _seal(self, robot: str, boot: str, count: int, drawn: Drawn, parts: list[Any]) -> bytearray:
        section = encode_section(drawn)
        header = msgspec.msgpack.encode((robot, boot, count, len(section)) if section else (robot, boot, count))
        blob = bytearray().join((_PREFIX.pack(0, self._stamp, len(header)), header, section, *parts))
        return _checked(blob)

    def _view(self, blob: Buffer, robot: str, boot: str, count: int, drawn: Drawn) -> Block:
        offset = len(blob) - count * self.row_bytes
        groups: list[dict[str, NDArray[Any]]] = []
        for layout in self._layout:
            group: dict[str, NDArray[Any]] = {}
            for name, shape, dtype in layout:
                group[name] = column = np.ndarray((count, *shape), dtype, blob, offset)
                offset += column.nbytes
            groups.append(group)
        return Block(robot, boot, drawn, *groups)


def carries_draws(blob: Buffer) -> bool:
    """Whether only a program that knows of draws can read a block: its header has a fourth entry."""
    return len(blob) > _PREFIX.size and blob[_PREFIX.size] == _FOUR


def _checked(blob: bytearray) -> bytearray:
    """With its checksum written in."""
    struct.pack_into("<I", blob, 0, zlib.crc32(memoryview(blob)[4:]))
    return blob


def _rises(sequence: NDArray[np.int64]) -> bool:
    """Compared, not subtracted: the difference of two int64 need not be one."""
    return bool((sequence[1:] > sequence[:-1]).all())


def _outside(column: NDArray[Any], limits: tuple[float, ...]) -> Any:
    """Rows in which any number is below the first or above the second of `limits`, see `_rows_with`."""
    low, high = limits
    return _rows_with((column < low) | (column > high))


def _rows_with(wrong: NDArray[np.bool_]) -> Any:
    """(N, ...) -> (N,) the rows in which something is wrong; where nothing is, which is the rule, one False for all."""
    return wrong.reshape(len(wrong), -1).any(1) if wrong.any() else np.False_
