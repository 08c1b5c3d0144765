"""What the page says in words follows from the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.verdicts import behavior_verdicts, model_verdicts


def portrait(seen: float = 0.1, dreamt: float = 0.3, still: float = 0.5, nats: float = 2.0) -> dict[str, Any]:
    """Of a robot with one sensor that varies by 1, and a component that stands still."""
    return {
        "spread/eye": np.array([1.0, 0.0]),
        "rmse/seen/eye": np.array([seen, 5.0]),
        "rmse/dreamt/eye": np.full((4, 2), dreamt),
        "rmse/still/eye": np.full((4, 2), still),
        "surprise": np.full((2, 4), nats),
    }


def said(arrays: dict[str, Any], objective: str = "dreamer_v3", **model: Any) -> list[tuple[str, str]]:
    settings = {"free_nats": 1.0, "kl_rule": "dyn_rep"} | model  # the default, which World Models leaves as it is
    return list(model_verdicts(RunFiles(Path(), run={"config": {"objective": objective, "model": settings}}), arrays))


def test_a_good_model_is_called_so() -> None:
    assert said(portrait()) == [("good", "Dreams beat the assumption that nothing changes for eye.")]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (portrait(seen=0.95), "Blind to eye"),
        (portrait(nats=0.01), "The posterior has collapsed: the KL is 0.01 nats"),
        (portrait(dreamt=0.6), "Dreams are no better than the assumption that nothing changes for eye."),
        (portrait(nats=float("nan")), "not finite"),
    ],
)
def test_what_is_wrong_is_said(arrays: dict[str, Any], words: str) -> None:
    assert any(level == "bad" and words in text for level, text in said(arrays))


def test_nothing_is_said_of_dreams_of_what_does_not_change() -> None:
    """A goal, a battery: that nothing changes is right, and no dream can come nearer."""
    goal = portrait() | {"spread/goal": np.array([0.4]), "rmse/seen/goal": np.array([0.1])}
    for still in (0.0, np.nan):  # the same all through each window; windows of one row
        goal |= {"rmse/dreamt/goal": np.full((4, 1), 0.05), "rmse/still/goal": np.full((4, 1), still)}
        assert said(goal) == [("good", "Dreams beat the assumption that nothing changes for eye.")]
    never = goal | {"spread/goal": np.array([0.0]), "rmse/still/goal": np.zeros((4, 1))}
    assert "goal" not in str(said(never))


def test_components_of_a_sensor_count_by_what_they_vary_by() -> None:
    """Pascals beside metres: the one that has the larger numbers does not decide."""
    mixed = {
        "spread/array": np.array([1000.0, 0.1, 0.1]),
        "rmse/seen/array": np.array([10.0, 0.01, 0.01]),
        "rmse/dreamt/array": np.full((4, 3), [30.0, 0.2, 0.2]),
        "rmse/still/array": np.full((4, 3), [50.0, 0.05, 0.05]),
    }
    (worse,) = [text for level, text in said(portrait() | mixed) if level == "bad"]
    assert worse == "Dreams are no better than the assumption that nothing changes for array."


def test_free_nats_are_blamed_only_where_they_can_be() -> None:
    bad = portrait(dreamt=0.6)
    assert "below model.free_nats = 20" in str(said(bad, free_nats=20.0))
    assert "free_nats" not in str(said(bad, free_nats=1.0))
    assert "free_nats" not in str(said(bad, "dreamer", free_nats=20.0, kl_rule="balanced"))
    assert "free_nats" not in str(said(bad, "world_models", free_nats=20.0))


def test_hope_is_compared_with_what_came() -> None:
    came = np.full(10, 10.0)
    for value, level in ((12.0, "good"), (14.0, "bad"), (8.0, "good"), (2.0, "")):
        ((found, text),) = behavior_verdicts({"episode/value": np.full(10, value), "episode/obtained": came})
        assert found == level
        assert ("Over-optimistic" in text) == (level == "bad")
        assert ("Cautious: along the newest episode the critic expected 2 where 10 came" in text) == (level == "")
    assert list(behavior_verdicts({})) == []
