"""precision=bfloat16: what is added up or compared stays float32, compiled or not."""

from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from robot_dreamer.behavior.dreams import DreamNoise, DreamStart, dream_returns
from robot_dreamer.behavior.evolution import LinearController
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.world_model.distributions import HalfMSE, TwoHot, symexp_bins
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import NumberHead
from robot_dreamer.world_model.mdn import MDNRNN
from tests.agents import SIX_ACTIONS, WALKER, random_batch


def rough() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def test_the_mean_of_a_two_hot_is_that_of_float32() -> None:
    bins = symexp_bins(255)
    values = torch.tensor([-300.0, 0.4, 251.3, 252.1, 299.0])
    index, weight = TwoHot(torch.zeros(5, 255), bins).encode(values)
    logits = torch.full((5, 255), -30.0).scatter(-1, index, torch.log(weight + 1e-12))
    exact = TwoHot(logits, bins).mean
    torch.testing.assert_close(exact, values, rtol=1e-3, atol=1e-2)
    with rough():
        assert torch.equal(TwoHot(logits, bins).mean, exact)


def test_the_last_product_of_a_number_is_that_of_float32() -> None:
    torch.manual_seed(0)
    head = NumberHead(8, [8], "elu", output=HalfMSE)
    head.trunk = nn.Identity()
    feature = 100 * torch.randn(16, 8)
    with rough():
        found = head(feature)
    assert torch.equal(found.mean, head(feature).mean)


def test_what_a_memory_expects_is_that_of_float32() -> None:
    torch.manual_seed(0)
    memory = MDNRNN(3, 2, 6, 2)
    h = torch.randn(4, 6)
    with rough():
        found = memory.predict(h)
    assert found.reward is not None and torch.equal(found.reward, memory.predict(h).reward)


@torch.no_grad()
def test_candidates_are_told_apart_where_bfloat16_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, controller = MDNRNN(3, 2, 6, 2), LinearController([Field("gear", "discrete", (), 2)], 3 + 6)
    start = DreamStart(*(torch.ones(4, size) for size in (3, 6, 6)))
    noise = DreamNoise.draw(1, 4, 3, torch.Generator().manual_seed(2))
    candidates = torch.zeros(2, controller.parameter_count)
    candidates[:, :2] = torch.tensor([[1.0, 1.001], [1.001, 1.0]])  # the bias: which gear is a bit better
    chosen: list[Tensor] = []
    step = memory.step
    monkeypatch.setattr(
        memory, "step", lambda h, c, z, action, restart: chosen.append(action) or step(h, c, z, action, restart)
    )
    with rough():
        dream_returns(memory, controller, candidates, start, noise, 1.0)
    (actions,) = chosen
    assert actions.argmax(-1).tolist() == [1] * 4 + [0] * 4


@pytest.mark.parametrize("preset", ["nano", "dreamer_v1:cpu"])
@pytest.mark.timeout(600)
def test_what_is_compiled_is_the_same(monkeypatch: pytest.MonkeyPatch, preset: str) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    agents = [
        Agent(WALKER, SIX_ACTIONS, load_config(preset, ["device=cpu", "precision=bfloat16", f"compile={on}"]))
        for on in ("false", "true")
    ]
    batch, noise = random_batch(agents[0], 2, 6), agents[0].draw_noise(2, 6)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile failed")
        eager, compiled = (agent.update(batch, noise) for agent in agents)
    assert eager.applied and compiled.applied
    for name, loss in eager.losses.items():
        torch.testing.assert_close(compiled.losses[name], loss, rtol=2e-2, atol=2e-2, msg=name)
