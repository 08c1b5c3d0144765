"""The older generations do the same with compiled functions as without: gradients reach whom they are for.

Both are in one process, so compiled code of the one must not be taken for the other's.
"""

import warnings
from functools import partial

import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from tests.agents import MIXED_ACTIONS, SIX_ACTIONS, WALKER, random_batch

SMALL = ("device=cpu", "model.units=8", "model.deter=16", "model.hidden=8", "model.depth=2")
ACTOR = ("behavior.horizon=4",)
RUNS = {
    "dreamer_v1": (ACTOR, WALKER, SIX_ACTIONS),
    "dreamer_v2": ((*ACTOR, "model.stoch=3", "model.classes=4"), WALKER, MIXED_ACTIONS),
    # Its critic steps before the returns are foreseen once more, for an actor whose gradient comes through the model.
    "daydreamer": ((*ACTOR, "model.stoch=3", "model.classes=4"), WALKER, SIX_ACTIONS),
}


@pytest.mark.parametrize("generation", RUNS)
@pytest.mark.timeout(600)
def test_what_is_compiled_equals_eager(generation, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.set_num_threads(1)
    settings, *spaces = RUNS[generation]
    eager, fast = (
        Agent(*spaces, load_config(f"{generation}:cpu", [*SMALL, *settings, f"compile={on}"])) for on in (False, True)
    )
    batch, noise = random_batch(eager, 2, 5), eager.draw_noise(2, 5)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile failed")
        for _ in range(2):
            expected, found = eager.update(batch, noise), fast.update(batch, noise)
    assert expected.applied and found.applied
    torch.testing.assert_close(found.latents, expected.latents, rtol=0, atol=1e-5)
    assert found.scalars().keys() == expected.scalars().keys()
    for name, value in expected.scalars().items():
        torch.testing.assert_close(found.scalars()[name], value, rtol=1e-5, atol=1e-5, msg=name)
    for name, value in eager.state.items():
        torch.testing.assert_close(fast.state[name], value, rtol=1e-5, atol=1e-5, msg=name)
    for name, optimizer in eager.optimizers.items():
        moments = fast.optimizers[name].first_moment, optimizer.first_moment
        torch.testing.assert_close(*moments, rtol=0, atol=1e-5 * float(moments[1].abs().max()), msg=f"moment of {name}")
