"""Filtering as one function with its own derivative, against the step it stands for and autograd."""

import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.world_model.block_rssm import BlockRSSM
from robot_dreamer.world_model.distributions import gumbel
from robot_dreamer.world_model.rssm import RSSM, Latents

ROWS, STEPS, ACTIONS, TOKENS = 3, 5, 2, 6


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("layers", [1, 3])
def test_filtering_equals_steps_and_autograd(layers):
    torch.manual_seed(0)
    overrides = [f"model.dynamics_layers={layers}", f"model.posterior_layers={layers}"]
    model = load_config("nano", overrides).model
    rssm = BlockRSSM(ACTIONS, TOKENS, model)
    start = Latents(torch.randn(ROWS, model.deter), torch.rand(ROWS, model.stoch, model.classes))
    inputs = (*start, torch.randn(ROWS, STEPS, TOKENS), torch.randn(ROWS, STEPS, ACTIONS))
    for value in inputs:
        value.requires_grad_()
    keep = (torch.rand(ROWS, STEPS) > 0.3).float()
    noise = gumbel(torch.rand(STEPS, ROWS, model.stoch, model.classes))
    weights = [torch.randn(ROWS, STEPS, model.deter), *torch.randn(2, ROWS, STEPS, model.stoch, model.classes)]
    # The layers of the prior are not part of filtering.
    parameters = [p for name, p in rssm.named_parameters() if not name.startswith("prior")]
    results = []
    for filtered in (RSSM.observe, BlockRSSM.observe):
        outputs = filtered(rssm, start, *inputs[2:], keep, noise)
        total = sum((weight * x).sum() for weight, x in zip(weights, outputs, strict=True))
        results.append((*outputs, *torch.autograd.grad(total, [*inputs, *parameters])))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max()))
    assert 0 < keep.mean() < 1
