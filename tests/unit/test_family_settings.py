"""Settings of one generation that another does not have are refused, with what it has and why."""

from __future__ import annotations

import pytest

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from tests.agents import SIX_ACTIONS, WALKER


@pytest.mark.parametrize(
    ("preset", "override", "words"),
    [
        ("planet:cpu", "model.cell=lstm", "model.cell one of reset_before, reset_after, layer_norm, layer_norm_bare"),
        ("planet:cpu", "model.kl_rule=adaptive", "model.kl_rule one of hinge, floor_of_mean, balanced"),
        ("dreamer_v1:cpu", "model.overshooting=2", "model.overshooting: expected 0, found 2"),
        ("dreamer_v2:cpu", "model.cell=lstm", "model.cell: expected one of reset_before"),
        ("nano", "model.cell=layer_norm", "model.cell: expected block, found layer_norm"),
        ("nano", "model.kl_rule=hinge", "model.kl_rule: expected dyn_rep, found hinge"),
        ("nano", "model.overshooting=3", "model.overshooting: expected 0, found 3"),
        ("nano", "behavior.actor=tanh_normal", "behavior.actor: expected normal, found tanh_normal"),
        ("nano", "behavior.gradient=dynamics", "behavior.gradient: expected auto, found dynamics"),
        ("nano", "behavior.slow_every=100", "behavior.slow_every: expected 0, found 100"),
        ("nano", "behavior.exploration=0.3", "behavior.exploration: expected 0.0, found 0.3"),
    ],
)
def test_a_setting_of_another_generation_is_refused(preset: str, override: str, words: str) -> None:
    with pytest.raises(ValueError, match="objective") as error:
        Agent(WALKER, SIX_ACTIONS, load_config(preset, ["device=cpu", override]))
    assert words in str(error.value)
