"""Random Gymnasium spaces: each environment is lived in for a while, or refused before its first step in one line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("mujoco")
from robot_dreamer.learner.local import LocalActor
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import SpecError
from tests.gym_worlds import ID, told

DTYPES = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64]
PICTURES = [(64, 64, 3), (3, 64, 64), (64, 64), (48, 80, 1), (64, 64, 4), (4, 64, 64), (84, 84, 3), (7, 7, 3)]


def box(chance: random.Random) -> spaces.Box:
    if chance.random() < 0.2:
        shape, unit = chance.choice(PICTURES), chance.random() < 0.3
        return spaces.Box(0, 1, shape, np.float32) if unit else spaces.Box(0, 255, shape, np.uint8)
    dtype, shape = chance.choice(DTYPES), tuple(chance.choice([0, 1, 1, 2, 3]) for _ in range(chance.randrange(3)))
    whole = np.issubdtype(dtype, np.integer)
    low, high = chance.choice([(0, 1), (-1, 1), (-3, 5), (2, 2), (0, 100), (-1e30, 1e30), (-np.inf, np.inf)])
    if whole:
        info = np.iinfo(dtype)
        low, high = (int(np.clip(x, max(info.min, -(2**53)), min(info.max, 2**53))) for x in (low, high))
    elif dtype == np.float16 and abs(high) > 6e4:
        low, high = -np.inf, np.inf
    return spaces.Box(low, high, shape, dtype)


def space(chance: random.Random, depth: int = 0) -> spaces.Space[Any]:
    kinds = ["box", "box", "discrete", "multi", "binary", "text"] + ["dict", "tuple"] * (depth < 3)
    kind = chance.choice(kinds)
    parts = range(chance.randint(1, 3))
    if kind == "dict":
        return spaces.Dict(
            {chance.choice(["a", "B", "é", "action", "x y", "位"]) + str(i): space(chance, depth + 1) for i in parts}
        )
    if kind == "tuple":
        return spaces.Tuple([space(chance, depth + 1) for _ in parts])
    if kind == "discrete":
        return spaces.Discrete(chance.choice([1, 2, 5, 20_000]), start=chance.choice([0, -2, 7]))
    if kind == "multi":
        return spaces.MultiDiscrete([chance.choice([1, 2, 4]) for _ in parts])
    if kind == "binary":
        return spaces.MultiBinary(chance.choice([1, 3]))
    return spaces.Text(5) if kind == "text" else box(chance)


def numbers(shown: Any) -> Any:
    """A copy of what was shown, to compare with later."""
    if isinstance(shown, dict):
        return {key: numbers(value) for key, value in shown.items()}
    return tuple(map(numbers, shown)) if isinstance(shown, tuple) else np.array(shown)


@pytest.mark.parametrize("seed", [*range(60), *(pytest.param(s, marks=pytest.mark.soak) for s in range(60, 1000))])
def test_it_is_lived_in_or_refused_in_one_line(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    observed, acted = space(chance), space(chance)
    if chance.random() < 0.7:  # most of them can be acted in
        acted = chance.choice([spaces.Discrete(3), spaces.Box(-2, 2, (2,)), spaces.Box(0, 3, (2,), np.int64)])
    samples: list[Any] = []

    def show(step: int) -> Any:
        samples.append(numbers(observed.sample()))
        return samples[-1]

    try:
        environment, _ = told(observed, acted, show)
    except SpecError as error:
        assert ID in str(error) and "\n" not in str(error)
        return
    store = ExperienceStore(tmp_path / "store.sqlite", environment.spec)
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store, seed=0)
    for _ in range(40):
        actor.step()  # the world asserts that what it gets is within its space
    actor.flush()
    rows = [row for _, row in store.read(0, 100)]
    assert len(rows) >= 39 and "cut" not in caplog.text
    for row, shown in zip(rows, samples, strict=False):
        for reader in environment._readers:
            assert np.array_equal(row.observation[reader.spec.name], reader.read(shown)), reader.spec.name
    store.close()
