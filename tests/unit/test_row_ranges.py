"""Numbers outside of what the spec says can be: refused on the robot, by a store and by an import, under one kind."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.onboard.sample import Sample
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import RecordError, StepRecord, validate_ranges
from robot_dreamer.spec import load_spec

CARTPOLE = load_spec("cartpole")
CART, *REST = CARTPOLE.observations
SPEC = msgspec.structs.replace(
    CARTPOLE, observations=(msgspec.structs.replace(CART, range=(-2.0, 2.0)), *REST), reward_range=(-1.0, 1.0)
)


def row(i: int, **changes: Any) -> StepRecord:
    made = synthetic_row(SPEC, "r", "b", i)
    observation = made.observation | {CART.name: np.zeros(1, np.float32)}
    return dataclasses.replace(made, **{"observation": observation, **changes})


BAD = [
    ("action_range", {"action": {"force": np.array([1.01], np.float32)}}),
    ("action_range", {"action": {"force": np.array([-1e20], np.float32)}}),
    ("observation_range", {CART.name: 2.1}),
    ("observation_range", {CART.name: -3e38}),
    ("reward_range", {"reward": 1.5}),
    ("reward_range", {"reward": 3.4e38}),
]


@pytest.mark.parametrize(("kind", "changes"), BAD)
def test_a_row_outside_is_refused_under_its_kind_and_the_others_are_stored(
    tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    if CART.name in changes:
        changes = {"observation": row(3).observation | {CART.name: np.array([changes[CART.name]], np.float32)}}
    bad = row(3, **changes)
    with pytest.raises(RecordError) as error:
        validate_ranges(bad, SPEC)
    assert error.value.kind == kind
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    result = store.add([row(0), row(1), row(2), bad, row(4)])
    assert (result.stored, result.rejected) == (4, Counter({kind: 1}))
    assert [r.sequence for _, r in store.read(0, 10)] == [0, 1, 2, 4]
    store.close()


@pytest.mark.parametrize("rounding", [1.0, np.nextafter(np.float32(1.0), np.float32(2.0))])
def test_the_borders_themselves_are_within(tmp_path: Path, rounding: float) -> None:
    fine = row(0, action={"force": np.array([rounding], np.float32)}, reward=1.0)
    fine.observation[CART.name][:] = 2.0
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    assert store.add([fine]).stored == 1
    store.close()


@pytest.mark.parametrize(
    ("kind", "observed", "reward"),
    [("observation_range", 2.5, 0.0), ("observation_range", -1e30, 0.0), ("reward_range", 0.0, 1.5), ("", 2.0, 1.0)],
)
def test_the_robot_refuses_such_a_sample_and_cuts_its_episode(kind: str, observed: float, reward: float) -> None:
    rows: list[StepRecord] = []
    slot = PolicySlot(SPEC, RandomPolicy(SPEC, 0))
    controller = Controller(SPEC, slot, robot="r", boot="b", record=rows.append, seed=0)

    def sample(number: float, paid: float, stamp: int) -> Sample:
        arrays = {o.name: np.zeros(o.shape, np.float32) for o in SPEC.observations}
        return Sample(arrays | {CART.name: np.array([number], np.float32)}, paid, False, stamp)

    assert controller.tick(sample(0.0, 0.0, 1)).command is not None
    controller.applied(2)
    decision = controller.tick(sample(observed, reward, 3))
    assert (decision.kind, controller.refused[kind]) == (kind, int(bool(kind)))
    assert (decision.command is None) == bool(kind) and controller.abandoned == int(bool(kind))
