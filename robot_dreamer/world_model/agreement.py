"""One model and two texts: `step` and `filter` say what an RSSM is, a faster `observe` says it again.

Whoever changes one and forgets the other would train a model that the robot does not run: the learner filters by the
fast text, the exported policy by the plain one. So the two are compared before a learner begins, on a small RSSM of the
same structure whose every parameter is drawn, so that none of them can hide behind a zero.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import gumbel
from robot_dreamer.world_model.rssm import RSSM, Latents
from robot_dreamer.world_model.world_model import RSSMS

_ROWS, _STEPS, _ACTIONS, _TOKENS = 3, 3, 2, 5
_WIDTH, _GROUPS, _CLASSES = 4, 3, 4
_SPREAD = 0.4  # standard deviation of the parameters: nonlinear, and not saturated
_LOUD = 20.0  # of the noise: rounding decides no draw
_TOLERANCE = 1e-3  # of the largest number


class ModelsDisagree(RuntimeError):
    """The fast text of a model is another model than the plain one."""


def require_one_model(config: ModelConfig) -> None:
    """Compare values and gradients of both texts; milliseconds. Cells that have one text alone agree with it.

    Raises:
      ModelsDisagree: names the class, the file of each text and the first number that differs.
    """
    if config.cell not in RSSMS:
        return
    small = replace(config, deter=_WIDTH * config.blocks, hidden=_WIDTH, stoch=_GROUPS, classes=_CLASSES)
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
        torch.manual_seed(0)
        rssm = RSSMS[config.cell](_ACTIONS, _TOKENS, small)
        with torch.no_grad():
            for parameter in rssm.parameters():
                parameter.normal_(0.0, _SPREAD)
        _compare_steps(rssm)
        _compare_filtering(rssm)


def _compare_steps(rssm: RSSM) -> None:
    """The step alone, and with what was prepared for many."""
    state, action = _state(rssm), torch.randn(_ROWS, _ACTIONS)
    plain = rssm.step(*state, action)
    _require(
        rssm, "step", "prepare", ["the next deterministic state"], [plain], [rssm.step(*state, action, rssm.prepare())]
    )


def _compare_filtering(rssm: RSSM) -> None:
    inputs = (*_state(rssm), torch.randn(_ROWS, _STEPS, _TOKENS), torch.randn(_ROWS, _STEPS, _ACTIONS))
    for value in inputs:
        value.requires_grad_()
    keep = torch.ones(_ROWS, _STEPS)
    keep[0, 1] = 0.0  # an episode begins
    noise = _LOUD * gumbel(torch.rand(_STEPS, _ROWS, *rssm.latent.shape))
    trained = {n: p for n, p in rssm.named_parameters() if not n.startswith("prior")}  # filtering has no prior
    names = ["deter", "stoch", "posterior"]
    names += [f"gradient of {name}" for name in ("deter", "stoch", "tokens", "action", *trained)]
    results = []
    for observe in (RSSM.observe, type(rssm).observe):
        observed = observe(rssm, Latents(*inputs[:2]), *inputs[2:], keep, noise)
        torch.manual_seed(1)  # the same weights for both, however their memory is laid out
        total = sum((torch.randn(x.shape) * x).sum() for x in observed)
        assert isinstance(total, Tensor)
        results.append([*observed, *torch.autograd.grad(total, [*inputs, *trained.values()])])
    _require(rssm, "filter", "observe", names, *results)


def _state(rssm: RSSM) -> Latents:
    return Latents(torch.randn(_ROWS, rssm.deter), torch.rand(_ROWS, *rssm.latent.shape))


def _require(
    rssm: RSSM, plain: str, fast: str, names: Sequence[str], expected: Sequence[Tensor], found: Sequence[Tensor]
) -> None:
    for name, a, b in zip(names, expected, found, strict=True):
        difference = float((a - b).detach().abs().max())
        if not difference <= _TOLERANCE * max(1.0, float(a.detach().abs().max())):
            owner = type(rssm)
            texts = {plain: inspect.getmodule(getattr(owner, plain)), fast: inspect.getmodule(getattr(owner, fast))}
            where = {name: module.__name__ if module is not None else "?" for name, module in texts.items()}
            raise ModelsDisagree(
                f"{owner.__name__}.{fast} ({where[fast]} and what it calls in world_model/fast/) is another model than "
                f"{owner.__name__}.{plain} ({where[plain]}): {name} differs by {difference:.3g}. The learner would "
                "train the one and the robot run the other: change both, or delete the fast one"
            )
