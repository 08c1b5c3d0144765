"""Blocks of rows and messages as bytes: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.bounds import LARGEST
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Compressor, Packed, decompress, pack, unpack
from robot_dreamer.link.errors import FrameError, RowError
from robot_dreamer.link.messages import (
    MAGIC,
    MAX_MESSAGE,
    PROTOCOL,
    Ack,
    Alive,
    Hello,
    Rows,
    decode_from_learner,
    decode_from_robot,
    encode,
)
from robot_dreamer.record import RecordError
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec

SPEC_WITH_IMAGE = parse_spec("""
name: camera_robot
rate: 50
observations:
  - name: image
    shape: [8, 8, 3]
    dtype: uint8
    source: {topic: image, type: sensor_msgs/msg/Image, field: data}
  - name: gyro
    shape: [3]
    source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}
actions:
  - name: gear
    values: [[0.0], [1.0], [2.0]]
    command: {topic: gear}
  - name: wheels
    low: [-1.0, -1.0]
    high: [1.0, 1.0]
    command: {topic: wheels}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 100}
""")
SPECS = [load_spec("cartpole"), SPEC_WITH_IMAGE]


def assert_same_row(a, b) -> None:
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, dict) and field.name != "drawn":
            assert x.keys() == y.keys()
            for name in x:
                assert x[name].dtype == y[name].dtype
                np.testing.assert_array_equal(x[name], y[name])
        else:
            assert x == y and type(x) is type(y), field.name


@given(
    spec=st.sampled_from(SPECS),
    sequence=st.integers(0, LARGEST),
    reward=st.floats(width=32, allow_nan=False, allow_infinity=False),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    stamp=st.integers(0, LARGEST),
    version=st.integers(-2, LARGEST),
)
def test_a_row_survives_the_codec(spec: RobotSpec, sequence, reward, flags, stamp, version) -> None:
    row = dataclasses.replace(
        synthetic_row(spec, "robot-1.x", "b0", sequence % 1000),
        sequence=sequence,
        reward=reward,
        is_first=flags[0],
        is_last=flags[1],
        is_terminal=flags[1] and flags[2],
        stamp_capture=stamp,
        policy_version=version,
    )
    codec = BlockCodec(spec)
    before = dataclasses.replace(row, sequence=max(0, sequence - 3))
    rows = [row] if before.sequence == sequence else [before, row]
    block = codec.decode(codec.encode(rows))
    assert not codec.unfit(block)
    for found, expected in zip(block.records(), rows, strict=True):
        assert_same_row(found, expected)
    assert_same_row(block.records(len(rows) - 1)[0], row)
    assert codec.pack(block) == codec.encode(rows)


@given(st.data())
@settings(max_examples=300)
def test_a_changed_block_is_refused(data) -> None:
    codec = BlockCodec(SPECS[1])
    blob = bytearray(codec.encode([synthetic_row(SPECS[1], "r", "b", i) for i in (3, 4)]))
    kind = data.draw(st.sampled_from(["flip", "cut", "grow"]))
    if kind == "flip":
        blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del blob[data.draw(st.integers(0, len(blob) - 1)) :]
    else:
        blob += data.draw(st.binary(min_size=1, max_size=100))
    with pytest.raises(RowError):
        codec.decode(bytes(blob))


@given(st.binary(max_size=400))
def test_noise_is_no_block(noise: bytes) -> None:
    with pytest.raises(RowError):
        BlockCodec(SPECS[0]).decode(noise)


def test_a_block_of_another_spec_is_named_as_such() -> None:
    blob = BlockCodec(SPECS[0]).encode([synthetic_row(SPECS[0], "r", "b", 0)])
    with pytest.raises(RowError) as caught:
        BlockCodec(SPECS[1]).decode(blob)
    assert caught.value.kind == "spec"


def damaged(codec: BlockCodec, rows, field: str, name: str, index: int, value) -> bytearray:
    """A block with a good checksum and one value overwritten."""
    blob = codec.encode(rows)
    view = codec.decode(blob)
    column = getattr(view, field)[name]
    flat = column.reshape(len(view), -1)
    flat[index, 0] = value
    blob[:4] = zlib.crc32(blob[4:]).to_bytes(4, "little")
    return blob


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("action_requested", "wheels", np.nan),
        ("observation", "gyro", -np.inf),
        ("action", "gear", 3),
        ("action_requested", "gear", -1),
        ("scalars", "reward", np.nan),
        ("scalars", "reward", 1e300),
        ("scalars", "episode", -1),
        ("scalars", "is_first", 2),
        ("scalars", "is_terminal", 1),
    ],
)
def test_a_good_checksum_does_not_make_a_value_valid(field: str, name: str, value) -> None:
    codec = BlockCodec(SPEC_WITH_IMAGE)
    rows = [synthetic_row(SPEC_WITH_IMAGE, "r", "b", i) for i in range(3)]
    block = codec.decode(damaged(codec, rows, field, name, 1, value))
    (invalid,) = codec.unfit(block).values()
    assert invalid.tolist() == [False, True, False]
    rest = codec.decode(codec.pack(block.pick(~invalid)))
    for found, expected in zip(rest.records(), (rows[0], rows[2]), strict=True):
        assert_same_row(found, expected)


def test_a_block_whose_sequence_does_not_rise_is_refused() -> None:
    codec = BlockCodec(SPECS[0])
    rows = [synthetic_row(SPECS[0], "r", "b", i) for i in (4, 5)]
    with pytest.raises(RecordError, match="rise"):
        codec.encode(rows[::-1])
    with pytest.raises(RowError) as caught:
        codec.decode(damaged(codec, rows, "scalars", "sequence", 1, 4))
    assert caught.value.kind == "order"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reward": float("nan")}, "reward"),
        ({"is_terminal": True}, "is_terminal"),
        ({"sequence": -1}, "sequence: expected 0 to"),
        ({"sequence": 2**70}, "sequence: expected 0 to"),
        ({"episode": None}, "cannot be"),
        ({"observation": {}}, "observation: expected"),
        ({"action": {"force": np.zeros(1, np.float64)}}, "action force: expected float32"),
        ({"action": {"force": [0.0]}}, "cannot be read"),
        ({"robot": "other"}, "different robots"),
    ],
)
def test_the_robot_refuses_to_encode_what_does_not_fit_and_says_why(change, complaint: str) -> None:
    rows = [synthetic_row(SPECS[0], "r", "b", i) for i in range(3)]
    rows[1] = dataclasses.replace(rows[1], **change)
    with pytest.raises(RecordError, match=complaint):
        BlockCodec(SPECS[0]).encode(rows)


def test_arrays_that_are_not_contiguous_are_encoded_like_others() -> None:
    row = synthetic_row(SPEC_WITH_IMAGE, "r", "b", 0)
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, ::2] = row.observation["image"]
    strided = dataclasses.replace(row, observation=row.observation | {"image": wide[:, ::2]})
    codec = BlockCodec(SPEC_WITH_IMAGE)
    assert codec.encode([strided]) == codec.encode([row])


@given(st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=300)), min_size=1, max_size=20))
def test_a_chunk_survives_packing_and_compression(blocks) -> None:
    data = pack(Packed(*block) for block in blocks)
    encoding, packed = Compressor(sample=100).compress(data)
    assert unpack(decompress(encoding, packed, len(data)), sum(rows for rows, _ in blocks)) == blocks


@given(st.binary(max_size=200), st.integers(1, 10))
def test_noise_in_a_chunk_is_refused_or_consistent(noise: bytes, count: int) -> None:
    try:
        blocks = unpack(noise, count)
    except RowError as error:
        assert error.kind == "chunk"
    else:
        assert pack(blocks) == noise


@pytest.mark.parametrize("size", [1, 999, 1001, 10**6])
def test_a_chunk_cannot_inflate_beyond_its_claim(size: int) -> None:
    bomb = zlib.compress(bytes(1000), 9)
    with pytest.raises(RowError):
        decompress("zlib", bomb, size)
    assert decompress("zlib", bomb, 1000) == bytes(1000)


def test_compression_pauses_where_it_does_not_help() -> None:
    compressor = Compressor(pause=3)
    noise = np.random.default_rng(0).bytes(2000)
    assert [compressor.compress(x)[0] for x in (noise, bytes(2000), bytes(2000), bytes(2000), bytes(2000))] == [
        "raw",
        "raw",
        "raw",
        "raw",
        "zlib",
    ]


HELLO = Hello(robot="r", boot="b", spec_hash="0" * 64, spec="{}")
ROWS = Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="raw", size=3, data=memoryview(b"abc"))


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_noise_is_no_message(noise: bytes) -> None:
    for decode in (decode_from_robot, decode_from_learner):
        for frame in (noise, MAGIC + bytes([PROTOCOL]) + struct.pack("<I", zlib.crc32(noise)) + noise):
            with pytest.raises(FrameError):
                decode(frame)


@given(st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    frame = bytearray(encode(ROWS))
    frame[position % len(frame)] ^= 1 << bit
    with pytest.raises(FrameError):
        decode_from_robot(bytes(frame))


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b"RDL", "truncated"),
        (b"GET / HTTP/1.1\r\n\r\n", "foreign"),
        (MAGIC + bytes([PROTOCOL + 1, 0, 0, 0, 0]), "protocol"),
        (MAGIC + bytes([PROTOCOL, 1, 2, 3, 4]) + b"x", "checksum"),
        (bytes(MAX_MESSAGE + 1), "oversize"),
        (encode(Ack("b", 0, 0, False)), "malformed"),  # a learner's message in the wrong direction
    ],
)
def test_what_is_wrong_with_a_frame_has_a_name(frame: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_from_robot(frame)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "message",
    [
        Hello(robot="../../etc", boot="b", spec_hash="0" * 64, spec="{}"),
        Hello(robot="r", boot="b", spec_hash="xyz", spec="{}"),
        Rows(boot="b", chunk=0, previous=-2, last=3, count=1, encoding="raw", size=3, data=memoryview(b"abc")),
        Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="lzma", size=3, data=memoryview(b"abc")),
        Rows(boot="b", chunk=0, previous=-1, last=2**63, count=1, encoding="raw", size=3, data=memoryview(b"abc")),
        Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="raw", size=2**40, data=memoryview(b"abc")),
        Alive(echo=0, round_trip=None, spooled=0, dropped={}, figures={str(i): i for i in range(65)}, fetched=-1),
        Alive(echo=0, round_trip=0.1, spooled=-1, dropped={}, figures={}, fetched=-1),
    ],
)
def test_values_out_of_range_are_refused(message) -> None:
    with pytest.raises(FrameError) as caught:
        decode_from_robot(encode(message))
    assert caught.value.kind == "malformed"


def test_good_messages_survive() -> None:
    assert decode_from_robot(encode(HELLO)) == HELLO
    assert decode_from_robot(encode(ROWS)) == ROWS
    ack = Ack("b", 3, -1, True)
    assert decode_from_learner(encode(ack)) == ack
