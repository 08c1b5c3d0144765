"""What was drawn for an episode: through blocks, spool, link and store; what is none is refused by name."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.draws import MAX_DRAWS, draws_problem, numbers_of, read_draws
from robot_dreamer.link import messages
from robot_dreamer.link.blocks import BlockCodec, carries_draws
from robot_dreamer.link.chunks import Packed
from robot_dreamer.link.draw_section import MAX_DRAWN, cut
from robot_dreamer.link.errors import FrameError, RowError
from robot_dreamer.link.messages import OLDEST, PROTOCOL, decode_from_robot, encode
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import NewBlock, Spool
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.link.writer import SpoolWriter
from robot_dreamer.record import RecordError, StepRecord
from tests.spools import CODEC, SPEC, open_spool
from tests.unit.test_link_blocks import assert_same_row

DRAWN: dict[str, Any] = {
    "mass": {"trunk": 5.25, "hand": 0.1},
    "centre_of_mass": {"trunk": [0.01, -0.02, 0.0]},
    "delay": {"sensors": 0.012},
    "surface": "ice",
    "payload": True,
}
NUMBERS = st.floats(-1e300, 1e300) | st.integers(-(2**62), 2**62)
NAMES = st.text(max_size=3)
VALUES = NUMBERS | st.booleans() | NAMES | st.lists(NUMBERS, max_size=2)
DRAWS = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)


def rows(count: int, steps: int = 1, drawn: dict[str, Any] | None = None, boot: str = "b") -> list[StepRecord]:
    """Episodes of `steps` actions; each carries what was drawn, and its number."""
    made = [synthetic_row(SPEC, "r", boot, i, steps) for i in range(count)]
    return [dataclasses.replace(x, drawn={**(drawn or DRAWN), "n": x.episode}) if x.is_first else x for x in made]


@given(st.lists(DRAWS, min_size=1, max_size=3), st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_draws_survive_the_codec_and_come_back_with_their_row(draws: list[dict[str, Any]], start: int) -> None:
    made = [synthetic_row(SPEC, "r", "b", i, 1) for i in range(2 * len(draws))]
    made = [dataclasses.replace(x, drawn=draws[x.episode]) if x.is_first else x for x in made]
    blob = CODEC.encode(made)
    block = CODEC.decode(blob)
    assert not CODEC.unfit(block) and CODEC.pack(block) == blob
    for found, expected in zip(block.records(start), made[start:], strict=True):
        assert_same_row(found, expected)
    assert carries_draws(blob) == any(draws)
    kept = block.sequence % 3 != 0
    rest = CODEC.decode(CODEC.pack(block.pick(kept))).records() if kept.any() else []
    assert [row.drawn for row in rest] == [row.drawn for row in made if row.sequence % 3]


@given(DRAWS)
@settings(max_examples=25, deadline=None)
def test_what_a_reset_says_is_read_as_it_was_drawn(draws: dict[str, Any]) -> None:
    assert read_draws(json.dumps(draws)) == draws and not draws_problem(draws)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a JSON object of values by name: Input data was truncated"),
        ("[1]", "Expected `object`, got `array`"),
        ('{"a": 1} b', "trailing characters"),
        ('{"a": NaN}', "malformed"),
        ('{"a": 1e999}', "out of range"),
        ('{"a": null}', "got `null`"),
        ('{"a": ' + "9" * 5000 + "}", "out of range"),
        ('{"a": {"b": {"c": 1}}}', "got `object`"),
        ('{"a":' * 3000, "got `object`"),
        ('{"' + "k" * 129 + '": 1}', "length <= 128"),
        ('{"a": "\ud800"}', "surrogates not allowed"),
        ('{"a": [' + "1," * MAX_DRAWS + "1]}", f"expected at most {MAX_DRAWS} bytes, found {2 * MAX_DRAWS + 10}"),
        ('{"a": [' + ",".join(["1e5"] * 4000) + "]}", f"expected at most {MAX_DRAWS} bytes, found 36006"),
    ],
)
def test_what_are_no_draws_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_draws(text)
    assert words in str(refused.value)


def test_numbers_have_the_whole_of_their_name() -> None:
    assert dict(numbers_of(DRAWN)) == {
        "mass, trunk": 5.25,
        "mass, hand": 0.1,
        "centre_of_mass, trunk [0]": 0.01,
        "centre_of_mass, trunk [1]": -0.02,
        "centre_of_mass, trunk [2]": 0.0,
        "delay, sensors": 0.012,
        "payload": 1.0,
    }


@pytest.mark.parametrize(
    ("drawn", "row", "words"),
    [
        (DRAWN, 1, "drawn: expected none on a row that is not is_first"),
        ({"a": float("nan")}, 0, "drawn: expected values by name"),
        ({"a": object()}, 0, "drawn: expected values by name"),
        ({"a": {"b": {"c": 1}}}, 0, "drawn: expected values by name"),
        ({"a": ["x"]}, 0, "drawn: expected values by name"),
        ({str(i): float(i) for i in range(2000)}, 0, f"drawn: expected at most {MAX_DRAWS} bytes"),
    ],
)
def test_a_row_that_cannot_carry_its_draws_is_refused(drawn: dict[str, Any], row: int, words: str) -> None:
    made = rows(6)
    made[row] = dataclasses.replace(made[row], drawn=drawn)
    with pytest.raises(RecordError, match=words):
        CODEC.encode(made)


def recorded(folder: Path, made: list[StepRecord]) -> tuple[Spool, SpoolWriter]:
    """The spool of a robot with these rows, and who wrote them."""
    spool = open_spool(folder)
    writer = SpoolWriter(spool, CODEC, "r", "b", Timing(commit=0.005), LinkLimits())
    for one in made:
        writer.put(one)
    writer.worker.start()
    writer.stop(10.0)
    return spool, writer


def test_robot_and_learner_count_such_a_row_and_keep_the_others(tmp_path: Path) -> None:
    made = rows(6)
    made[1] = dataclasses.replace(made[1], drawn=DRAWN)
    store = ExperienceStore(tmp_path / "s", SPEC)
    result = store.add(made)
    assert (result.stored, result.rejected) == (5, {"invalid": 1})
    store.close()
    spool, writer = recorded(tmp_path, made)
    assert (spool.rows, writer.dropped()) == (5, {"invalid": 1})
    assert "row 1 refused: drawn: expected none on a row that is not is_first" in writer.last_error
    spool.close()


def sealed(section: bytes, made: list[StepRecord]) -> bytes:
    """A block with a section of somebody else."""
    bare = bytes(CODEC.encode([dataclasses.replace(x, drawn={}) for x in made]))
    header = msgspec.msgpack.encode(("r", "b", len(made), len(section)))
    columns = bare[len(bare) - len(made) * CODEC.row_bytes :]
    rest = bare[4:12] + len(header).to_bytes(2, "little") + header + section + columns
    return zlib.crc32(rest).to_bytes(4, "little") + rest


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        (b"\xc1", "drawn"),
        (msgspec.msgpack.encode([DRAWN]), "drawn"),
        (msgspec.msgpack.encode({6: DRAWN}), "drawn"),
        (msgspec.msgpack.encode({-1: DRAWN}), "drawn"),
        (msgspec.msgpack.encode({0: {"a": {"b": {"c": 1}}}}), "drawn"),
        (msgspec.msgpack.encode({0: {"a": float("inf")}}), "drawn"),
        (msgspec.msgpack.encode(dict.fromkeys(range(MAX_DRAWN + 1), DRAWN)), "drawn"),
        (msgspec.msgpack.encode({1: DRAWN}), "invalid"),
        (msgspec.msgpack.encode({0: {str(i): float(i) for i in range(2000)}}), "invalid"),
        (msgspec.msgpack.encode({0: DRAWN}), ""),
    ],
)
def test_a_good_checksum_does_not_make_draws_of_a_peer_good(tmp_path: Path, section: bytes, kind: str) -> None:
    made = rows(6)
    blob = sealed(section, made)
    if kind == "drawn":
        with pytest.raises(RowError, match="drawn|draws") as refused:
            CODEC.decode(blob)
        assert refused.value.kind == "drawn"
    store = ExperienceStore(tmp_path / "s", SPEC)
    with store.transaction():
        result = store.add_chunk("r", "b", -1, 5, store.examine([Packed(6, blob)]))
    lost = {"drawn": 6, "invalid": 1}.get(kind, 0)
    assert result is not None and result.stored == 6 - lost and result.rejected.total() == lost
    assert all(x.drawn in ({}, DRAWN) for _, x in store.read(0, 9))
    store.close()


@given(st.binary(max_size=60) | DRAWS.map(lambda draws: msgspec.msgpack.encode({0: draws})[:-1]))
@settings(max_examples=50, deadline=None)
def test_any_section_is_refused_or_is_one(section: bytes) -> None:
    blob = sealed(section, rows(2))
    try:
        block = CODEC.decode(blob)
    except RowError as error:
        assert error.kind == "drawn"
    else:
        assert CODEC.decode(CODEC.pack(block)).drawn == block.drawn and all(
            len(bad) == 2 for bad in CODEC.unfit(block).values()
        )


def test_more_draws_than_a_block_holds_go_into_several(tmp_path: Path) -> None:
    large = {"x": [float(i) for i in range(1700)]}  # 15 KiB
    made = rows(2 * MAX_DRAWN + 9, drawn=large, steps=0)
    assert [len(piece) for piece in cut(made)] == [MAX_DRAWN, MAX_DRAWN, 9]
    assert len(CODEC.encode(made[:MAX_DRAWN])) < messages.MAX_BLOCK
    with pytest.raises(RecordError, match=f"at most {MAX_DRAWN} rows"):
        CODEC.encode(made)
    spool, writer = recorded(tmp_path, made)
    assert spool.rows == len(made) and not writer.dropped()
    store = ExperienceStore(tmp_path / "s", SPEC)
    shipper = Shipper(spool, Timing(), LinkLimits())
    while (chunk := shipper.next_chunk(0.0)) is not None:
        frame = encode(chunk, shipper.protocol)
        assert len(frame) < messages.MAX_MESSAGE and frame[3] == PROTOCOL
    assert store.add(made).stored == len(made)
    assert [x.drawn["n"] for _, x in store.read(0, 10**6)] == [x.episode for x in made]
    spool.close()
    store.close()


def test_only_what_carries_draws_needs_a_learner_that_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)
    pieces = [[dataclasses.replace(x, drawn={}) for x in rows(4)], rows(6)[4:]]
    spool.append([NewBlock("b", piece[-1].sequence, len(piece), CODEC.encode(piece)) for piece in pieces])
    shipper = Shipper(spool, Timing(), LinkLimits(chunk_blocks=1))
    frames = []
    while (chunk := shipper.next_chunk(0.0)) is not None:
        frames.append(encode(chunk, shipper.protocol))
    spool.close()
    assert [frame[3] for frame in frames] == [OLDEST, PROTOCOL] and OLDEST < PROTOCOL
    assert [decode_from_robot(frame).last for frame in frames] == [3, 5]  # type: ignore[union-attr]
    monkeypatch.setattr(messages, "PROTOCOL", OLDEST)  # a learner of before: it settles no row that it cannot read
    assert decode_from_robot(frames[0]).last == 3  # type: ignore[union-attr]
    with pytest.raises(FrameError, match=f"peer speaks protocol {PROTOCOL}, we speak {OLDEST}: install the same"):
        decode_from_robot(frames[1])


def test_blocks_without_draws_have_the_header_of_before() -> None:
    blob = BlockCodec(SPEC).encode([synthetic_row(SPEC, "r", "b", 0)])
    assert blob[14:21] == b"\x93\xa1r\xa1b\x01" + blob[20:21] and not carries_draws(blob)
    assert len(blob) == 14 + 6 + CODEC.row_bytes
