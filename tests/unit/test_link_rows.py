"""Rows and messages as bytes: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from robot_dreamer.link.rows import Compressor, RowCodec, decompress, pack, unpack
from robot_dreamer.link.synthetic import synthetic_row
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
        if isinstance(x, dict):
            assert x.keys() == y.keys()
            for name in x:
                assert x[name].dtype == y[name].dtype
                np.testing.assert_array_equal(x[name], y[name])
        else:
            assert x == y and type(x) is type(y), field.name


@given(
    spec=st.sampled_from(SPECS),
    sequence=st.integers(0, 2**40),
    reward=st.floats(width=32, allow_nan=False, allow_infinity=False),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    stamp=st.integers(-(2**63), 2**63 - 1),
    version=st.integers(-1, 2**40),
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
    codec = RowCodec(spec)
    assert_same_row(codec.decode(codec.encode(row)), row)


@given(st.data())
@settings(max_examples=300)
def test_a_changed_row_is_refused(data) -> None:
    codec = RowCodec(SPECS[1])
    blob = bytearray(codec.encode(synthetic_row(SPECS[1], "r", "b", 3)))
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
def test_noise_is_no_row(noise: bytes) -> None:
    with pytest.raises(RowError):
        RowCodec(SPECS[0]).decode(noise)


def test_a_row_of_another_spec_is_named_as_such() -> None:
    blob = RowCodec(SPECS[0]).encode(synthetic_row(SPECS[0], "r", "b", 0))
    with pytest.raises(RowError) as caught:
        RowCodec(SPECS[1]).decode(blob)
    assert caught.value.kind == "spec"


def test_a_row_with_a_good_checksum_and_a_nan_is_invalid() -> None:
    codec = RowCodec(SPECS[0])
    blob = bytearray(codec.encode(synthetic_row(SPECS[0], "r", "b", 0)))
    blob[-4:] = np.float32(np.nan).tobytes()  # the last number of the requested action
    blob[:4] = zlib.crc32(blob[4:]).to_bytes(4, "little")
    with pytest.raises(RowError) as caught:
        codec.decode(bytes(blob))
    assert caught.value.kind == "invalid" and "force" in str(caught.value)


def test_the_robot_refuses_to_encode_a_row_that_does_not_fit() -> None:
    row = dataclasses.replace(synthetic_row(SPECS[0], "r", "b", 0), reward=float("nan"))
    with pytest.raises(RecordError, match="reward"):
        RowCodec(SPECS[0]).encode(row)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_a_chunk_survives_packing_and_compression(blobs: list[bytes]) -> None:
    data = pack(blobs)
    encoding, packed = Compressor().compress(data)
    assert unpack(decompress(encoding, packed, len(data)), len(blobs)) == blobs


@given(st.binary(max_size=200), st.integers(1, 10))
def test_noise_in_a_chunk_is_refused_or_consistent(noise: bytes, count: int) -> None:
    try:
        blobs = unpack(noise, count)
    except RowError as error:
        assert error.kind == "chunk"
    else:
        assert pack(blobs) == noise


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
ROWS = Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="raw", size=3, data=b"abc")


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
        Rows(boot="b", chunk=0, previous=-2, last=3, count=1, encoding="raw", size=3, data=b"abc"),
        Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="lzma", size=3, data=b"abc"),
        Rows(boot="b", chunk=0, previous=-1, last=2**63, count=1, encoding="raw", size=3, data=b"abc"),
        Rows(boot="b", chunk=0, previous=-1, last=3, count=1, encoding="raw", size=2**40, data=b"abc"),
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
