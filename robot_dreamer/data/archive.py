"""A row as bytes for archives: it names its fields, so that a bag can be read when wire and store have moved on.

    offset  size  meaning
    0       4     CRC-32 (zlib) of the rest, little endian
    4       -     MessagePack map: the fields of StepRecord; arrays as raw little-endian bytes by name, C order;
                  without those that have a default, where they have it

Shapes and dtypes of the arrays follow from the spec, which travels in the same bag. A field that a later StepRecord
has and that an older bag lacks takes its default.
"""

from __future__ import annotations

import dataclasses
import math
import typing
import zlib
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from robot_dreamer.data.errors import DataError
from robot_dreamer.link.messages import Id
from robot_dreamer.record import RecordError, StepRecord, validate_record
from robot_dreamer.spec import RobotSpec

FORMAT = 1
_ARRAYS = ("observation", "action", "action_requested")
_BOUNDED: dict[str, Any] = {"robot": Id, "boot": Id}
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


def _archived_type() -> type[msgspec.Struct]:
    """StepRecord with bytes in place of arrays; made from it, so that no field can be forgotten."""
    types = typing.get_type_hints(StepRecord)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in dataclasses.fields(StepRecord):
        kind = dict[str, bytes] if field.name in _ARRAYS else _BOUNDED.get(field.name, types[field.name])
        kind = _Int64 if kind is int else kind
        if field.default_factory is not dataclasses.MISSING:
            fields.append((field.name, kind, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not dataclasses.MISSING:
            fields.append((field.name, kind, field.default))
        else:
            fields.append((field.name, kind))
    return msgspec.defstruct("ArchivedRow", fields, forbid_unknown_fields=True, omit_defaults=True)


_Archived = _archived_type()


class Archiver:
    """Turns rows of one spec into bytes and back, every field exactly."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        observations = [(o.name, o.shape, np.dtype(o.dtype).newbyteorder("<")) for o in spec.observations]
        actions = [(a.name, a.shape, np.dtype(a.dtype).newbyteorder("<")) for a in spec.actions]
        self._layout = dict(zip(_ARRAYS, (observations, actions, actions), strict=True))
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(_Archived)

    def encode(self, row: StepRecord) -> bytes:
        """Raises RecordError unless the row fits the spec."""
        validate_record(row, self.spec)
        fields = {name: getattr(row, name) for name in _Archived.__struct_fields__}
        for kind, layout in self._layout.items():
            fields[kind] = {name: fields[kind][name].astype(dtype, copy=False).tobytes() for name, _, dtype in layout}
        body = self._encoder.encode(_Archived(**fields))
        return zlib.crc32(body).to_bytes(4, "little") + body

    def decode(self, blob: bytes) -> StepRecord:
        """Raises DataError for damaged bytes, or a row that does not fit the spec. Arrays are read-only."""
        body = memoryview(blob)[4:]
        if len(blob) < 4 or zlib.crc32(body) != int.from_bytes(blob[:4], "little"):
            raise DataError("its checksum is wrong: the row was damaged after it was written")
        try:
            found = self._decoder.decode(body)
            fields = {name: getattr(found, name) for name in found.__struct_fields__}
            for kind, layout in self._layout.items():
                fields[kind] = _arrays(kind, fields[kind], layout)
            row = StepRecord(**fields)
            validate_record(row, self.spec)
        except DataError:
            raise
        except (msgspec.MsgspecError, RecordError, ValueError, RecursionError) as error:
            raise DataError(str(error)) from error
        return row


def _arrays(
    kind: str, blobs: dict[str, bytes], layout: list[tuple[str, tuple[int, ...], np.dtype[Any]]]
) -> dict[str, NDArray[Any]]:
    if blobs.keys() != {name for name, _, _ in layout}:
        raise DataError(f"{kind}: expected {sorted(name for name, _, _ in layout)}, found {sorted(blobs)}")
    arrays = {}
    for name, shape, dtype in layout:
        expected = math.prod(shape) * dtype.itemsize
        if len(blobs[name]) != expected:
            raise DataError(f"{kind} {name}: expected {expected} bytes, found {len(blobs[name])}")
        arrays[name] = np.frombuffer(blobs[name], dtype).reshape(shape)
    return arrays
