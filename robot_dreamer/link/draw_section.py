"""The part of a block that says what was drawn for the episodes that begin in it (see blocks.py).

A MessagePack map from the row within the block to its draws (see draws.py). Most blocks have none, and are the bytes
that they were before there was such a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, pairwise
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from robot_dreamer.draws import Draws
from robot_dreamer.link.errors import RowError
from robot_dreamer.link.messages import MAX_BLOCK, MAX_ROWS
from robot_dreamer.record import RecordError, StepRecord, drawn_problem

MAX_DRAWN = 256
"""Rows of a block that carry draws: with all that each may have, it stays within MAX_BLOCK."""
SectionSize = Annotated[int, Meta(ge=0, le=MAX_BLOCK)]
Drawn = dict[int, Draws]
"""Row within the block -> its draws; rows without any are not in it."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Drawn] = msgspec.msgpack.Decoder(
    Annotated[dict[Annotated[int, Meta(ge=0, lt=MAX_ROWS)], Draws], Meta(max_length=MAX_DRAWN)]
)
_drawn = attrgetter("drawn")


def cut(rows: Sequence[StepRecord]) -> list[Sequence[StepRecord]]:
    """The rows in as few pieces as fit into a block each."""
    begins = _begins(rows)
    edges = [0, *begins[MAX_DRAWN::MAX_DRAWN], len(rows)]
    return [rows[start:stop] for start, stop in pairwise(edges)]


def gather(rows: Sequence[StepRecord]) -> Drawn:
    """What the rows carry. Raises RecordError if a row carries what it cannot, or more of them than fit."""
    drawn = {i: rows[i].drawn for i in _begins(rows)}
    for i, draws in drawn.items():
        if problem := drawn_problem(draws, rows[i].is_first):
            raise RecordError(problem)
    if len(drawn) > MAX_DRAWN:
        raise RecordError(f"drawn: expected at most {MAX_DRAWN} rows of a block with it, found {len(drawn)}")
    return drawn


def encode_section(drawn: Drawn) -> bytes:
    """Its bytes; none if no row carries any."""
    return _encoder.encode(drawn) if drawn else b""


def decode_section(data: memoryview, rows: int) -> Drawn:
    """Of a block with so many rows. Raises RowError."""
    if not data:
        return {}
    try:
        drawn = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RowError("drawn", f"what was drawn for the episodes of the block: {error}") from error
    if drawn and max(drawn) >= rows:
        raise RowError("drawn", f"the block has {rows} rows, and draws of row {max(drawn)}")
    return drawn


def picked(drawn: Drawn, rows: NDArray[Any]) -> Drawn:
    """Of the chosen rows only, (N,) bool, under their new numbers."""
    return {int(rows[:i].sum()): draws for i, draws in drawn.items() if rows[i]}


def _begins(rows: Sequence[StepRecord]) -> list[int]:
    """Those that carry draws; no bytecode is run per row."""
    return list(compress(range(len(rows)), map(_drawn, rows)))
