"""A chunk: the blocks of one message, one behind the other, each behind its length and number of rows (uint32 each)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from robot_dreamer.link.blocks import Buffer
from robot_dreamer.link.errors import RowError
from robot_dreamer.link.messages import MAX_CHUNK

_PREFIX = struct.Struct("<II")


class Packed(NamedTuple):
    """A block as bytes, and the number of rows that it is said to hold."""

    rows: int
    blob: Buffer


def pack(blocks: Iterable[Packed]) -> bytes:
    """Blocks -> the data of a chunk."""
    return b"".join(part for count, blob in blocks for part in (_PREFIX.pack(len(blob), count), blob))


def unpack(data: Buffer, count: int) -> list[Packed]:
    """Data of a chunk -> blocks, views of it. Raises RowError("chunk") unless they claim `count` rows altogether."""
    blocks: list[Packed] = []
    view = memoryview(data)
    offset = rows = 0
    while offset + _PREFIX.size <= len(data) and rows < count:
        size, block_rows = _PREFIX.unpack_from(data, offset)
        offset += _PREFIX.size
        if size > len(data) - offset:
            raise RowError("chunk", f"block {len(blocks)} claims {size} bytes, {len(data) - offset} are left")
        if not block_rows:
            raise RowError("chunk", f"block {len(blocks)} claims to hold no row")
        blocks.append(Packed(block_rows, view[offset : offset + size]))
        offset += size
        rows += block_rows
    if offset != len(data) or rows != count:
        left = len(data) - offset
        raise RowError("chunk", f"chunk holds {rows} rows and {left} further bytes, expected {count} rows")
    return blocks


class Compressor:
    """zlib where it helps: a sample that hardly shrinks switches compression off for the next `pause` chunks."""

    def __init__(self, worthwhile: float = 0.8, pause: int = 50, sample: int = 16 << 10) -> None:
        self._worthwhile, self._pause, self._sample, self._skip = worthwhile, pause, sample, 0

    def compress(self, data: Buffer) -> tuple[Literal["raw", "zlib"], Buffer]:
        """Returns (encoding, data)."""
        if self._skip:
            self._skip -= 1
            return "raw", data
        sample = memoryview(data)[: self._sample]
        packed = zlib.compress(sample, 1)
        if len(packed) <= self._worthwhile * len(sample):
            return "zlib", packed if len(sample) == len(data) else zlib.compress(data, 1)
        self._skip = self._pause
        return "raw", data


def decompress(encoding: str, data: Buffer, size: int) -> Buffer:
    """Undo `Compressor.compress`; never produces more than `size` bytes. Raises RowError("chunk")."""
    if size > MAX_CHUNK:
        raise RowError("chunk", f"chunk claims {size} bytes, at most {MAX_CHUNK} are allowed")
    if encoding == "zlib":
        inflater = zlib.decompressobj()
        try:
            plain = inflater.decompress(data, size)
            # The stream's end may need one more call once exactly `size` bytes are out.
            if not inflater.eof and len(plain) == size:
                plain += inflater.decompress(inflater.unconsumed_tail, 1)
        except zlib.error as error:
            raise RowError("chunk", f"chunk is not zlib data: {error}") from error
        if not inflater.eof or inflater.unused_data:
            raise RowError("chunk", f"chunk does not end after the {size} bytes that it claims")
        data = plain
    if len(data) != size:
        raise RowError("chunk", f"chunk has {len(data)} bytes, it claims {size}")
    return data
