"""Equal contracts have equal hashes, however they are written; what was made with the older hash is still accepted."""

from __future__ import annotations

import json
import typing
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.errors import RowError
from robot_dreamer.onboard.manifest import BundleError, own_spec
from robot_dreamer.spec import load_spec, parse_spec
from robot_dreamer.spec.contract import as_spelled, digest, tuned, version_1
from robot_dreamer.spec.meaning import FIELDS, table
from robot_dreamer.spec.robot import Episode, RobotSpec
from tests.onboard_models import toy_manifest, toy_model

CARTPOLE = load_spec("cartpole")
SHIPPED = {
    "a1": "4f0502795ec3c563",
    "a1_stand": "52ebc26c2ac397f7",
    "cartpole": "569647fce5cbc1db",
    "cartpole_camera": "21bb0f8db953d52c",
    "cartpole_slow": "9911d99c3815be5c",
    "diff_drive_camera": "cc65a17cf5a1cec1",
    "quadruped": "22075124d0b5783a",
    "so101": "c86202165cb54359",
    "ur5_pick": "b4b07c12f28456f8",
}
"""First 16 digits: stores and bundles out there carry them."""
VERSION_1 = {
    "cartpole": "eb24b48f0e219824",
    "cartpole_camera": "6d53f29147800c7c",
    "cartpole_slow": "4dec5009f7b3d59a",
    "diff_drive_camera": "354143bd8b235b7a",
    "quadruped": "fe77661ae33139d0",
}
"""Those of robots that were there then."""


def action(spec: RobotSpec, **changes: object) -> RobotSpec:
    return msgspec.structs.replace(spec, actions=(msgspec.structs.replace(spec.actions[0], **changes),))


@pytest.mark.parametrize("robot", SHIPPED)
def test_hashes_of_the_shipped_robots_are_as_they_were(robot: str) -> None:
    assert load_spec(robot).hash[:16] == SHIPPED[robot]


@pytest.mark.parametrize("robot", VERSION_1)
def test_hashes_of_version_1_are_as_they_were(robot: str) -> None:
    spec = load_spec(robot)
    assert [found[:16] for found in spec.hashes] == [SHIPPED[robot], VERSION_1[robot]]


FIRST, *OTHERS = CARTPOLE.observations
COMMAND = msgspec.structs.replace(CARTPOLE.actions[0].command, scale=(1.0,), offset=(0.0,))
SPELLINGS = {
    "whole numbers": action(CARTPOLE, low=(-1,), high=(1,), neutral=(0,)),
    "lists": action(CARTPOLE, low=[-1.0], high=[1.0]),
    "numpy": action(CARTPOLE, low=tuple(np.array([-1.0])), high=(np.float32(1.0),)),
    "no neutral": action(CARTPOLE, neutral=()),
    "a command as it is": action(CARTPOLE, command=COMMAND),
    "an observation as it is": msgspec.structs.replace(
        CARTPOLE, observations=(msgspec.structs.replace(FIRST, scale=(1.0,)), *OTHERS)
    ),
    "rate": msgspec.structs.replace(CARTPOLE, rate=25),
}


@pytest.mark.parametrize("spec", SPELLINGS.values(), ids=SPELLINGS)
def test_what_means_the_same_has_one_hash(spec: RobotSpec) -> None:
    assert spec.hash == CARTPOLE.hash


@pytest.mark.parametrize("changes", [{"low": (-2.0,)}, {"max_rate": (1.0,)}, {"unit": "N"}, {"name": "push"}])
def test_what_means_something_else_has_another(changes: dict[str, object]) -> None:
    assert action(CARTPOLE, **changes).hash != CARTPOLE.hash


SOURCE = FIRST.source
TUNED = {
    "max_age": msgspec.structs.replace(FIRST, source=msgspec.structs.replace(SOURCE, max_age=0.2)),
    "topic": msgspec.structs.replace(FIRST, source=msgspec.structs.replace(SOURCE, topic="joints")),
}


def test_what_merely_tunes_is_told_and_has_the_same_hash() -> None:
    others = {
        'observations[0].source.topic: ours "joint_states", theirs "joints"': {
            "observations": (TUNED["topic"], *OTHERS)
        },
        "observations[0].source.max_age: ours not given, theirs 0.2": {"observations": (TUNED["max_age"], *OTHERS)},
        "episode.max_steps: ours 250, theirs 9": {"episode": Episode(9)},
        "actions[0].neutral[0]: ours 0.0, theirs 0.5": {"actions": action(CARTPOLE, neutral=(0.5,)).actions},
        "reward_range: ours not given, theirs [0.0, 1.0]": {"reward_range": (0.0, 1.0)},
        'description: ours "': {"description": "another"},
    }
    for line, changes in others.items():
        other = msgspec.structs.replace(CARTPOLE, **changes)
        assert other.hash == CARTPOLE.hash and any(found.startswith(line) for found in tuned(CARTPOLE, other))
    assert tuned(CARTPOLE, msgspec.structs.replace(CARTPOLE, rate=50.0)) == []


def structs(kind: object) -> set[type[msgspec.Struct]]:
    """All structs that the type of a field speaks of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {kind}
    return set().union(*(structs(part) for part in typing.get_args(kind)))


def test_each_field_is_in_the_table_of_meanings_and_in_the_docs() -> None:
    expected, waiting = set(), [RobotSpec]
    while waiting:
        struct = waiting.pop()
        for name, kind in typing.get_type_hints(struct).items():
            key = f"{struct.__name__}.{name}"
            if name in struct.__struct_fields__ and key not in expected:
                expected.add(key)
                waiting += structs(kind) if FIELDS[key].means else ()
    assert expected == set(FIELDS)
    assert table() in (Path(__file__).parents[2] / "docs" / "contract.md").read_text()


numbers = st.integers(-5, 5) | st.floats(-5, 5, allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(low=st.lists(numbers, min_size=1, max_size=3), span=numbers.map(lambda x: abs(x) + 1), rate=st.integers(1, 100))
def test_a_spec_and_its_json_have_one_hash(low: list[float], span: float, rate: int) -> None:
    command = msgspec.structs.replace(CARTPOLE.actions[0].command, names=())
    limits = {"low": tuple(low), "high": tuple(x + span for x in low), "neutral": (), "command": command}
    spec = msgspec.structs.replace(action(CARTPOLE, **limits), rate=rate)
    again = parse_spec(spec.to_json())
    assert again.hash == spec.hash and parse_spec(again.to_json()).hash == spec.hash


def test_bundles_and_blocks_of_the_older_hash_are_accepted_and_others_are_not() -> None:
    spec = action(CARTPOLE, neutral=())
    older = digest(as_spelled(spec))
    assert spec.hashes == (spec.hash, digest(version_1(spec)), older) and len(set(spec.hashes)) == 3
    _, inputs, outputs = toy_model(spec)
    manifest = toy_manifest(spec, inputs, outputs)
    assert own_spec(msgspec.structs.replace(manifest, spec_hash=older)).hash == spec.hash
    with pytest.raises(BundleError, match="spec_hash"):
        own_spec(msgspec.structs.replace(manifest, spec_hash="0" * 64))
    codec, rows = BlockCodec(spec), [synthetic_row(spec, "r", "b", i) for i in range(3)]
    blob = bytes(codec.encode(rows))
    stamped = blob[:4] + bytes.fromhex(older)[:8] + blob[12:]
    for found in (blob, restamped(stamped)):
        assert len(codec.decode(found)) == 3
    with pytest.raises(RowError, match="was recorded for spec"):
        codec.decode(restamped(blob[:4] + bytes(8) + blob[12:]))


def restamped(blob: bytes) -> bytes:
    """With the checksum that fits."""
    return zlib.crc32(blob[4:]).to_bytes(4, "little") + blob[4:]


def test_the_contract_is_json() -> None:
    assert json.loads(json.dumps(CARTPOLE.contract())) == CARTPOLE.contract()
