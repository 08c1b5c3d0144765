"""Spools and blocks that tests fill them with."""

from __future__ import annotations

from pathlib import Path

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.spool import NewBlock, Spool
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")
CODEC = BlockCodec(SPEC)


def blocks(boot: str, numbers, size: int = 1) -> list[NewBlock]:
    """Rows in blocks of `size`."""
    rows = [synthetic_row(SPEC, "r", boot, i) for i in numbers]
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [NewBlock(boot, part[-1].sequence, len(part), CODEC.encode(part)) for part in parts]


BYTES = len(blocks("b", [0])[0].blob)  # a block of one row


def open_spool(path: Path, limit: int = 1 << 30, when_full="drop_oldest") -> Spool:
    return Spool(path / "spool.sqlite", SPEC, "r", limit, when_full)
