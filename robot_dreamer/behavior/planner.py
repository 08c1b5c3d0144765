"""Planning by the cross-entropy method: draw action sequences, keep the best, draw around those again (PlaNet).

Letters: N rows (robots), I iterations, J candidates, K elites, H horizon, A action features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import NoisePort
from robot_dreamer.config import PlannerConfig
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import LatentSpace
from robot_dreamer.world_model.rssm import RSSM, Latents, feature_of

_VARIANCE_FLOOR = 1e-6


class Plan(NamedTuple):
    """What the search believes after its last iteration."""

    mean: Tensor
    """(N, H, A) action sequence; its first entry is what a planner does."""
    std: Tensor
    """(N, H, A)."""


def cem(evaluate: Callable[[Tensor, int], Tensor], noise: Tensor, elites: int) -> Plan:
    """Search for the action sequence with the largest return (Hafner et al. 2019, algorithm 2).

        belief = normal(0, 1)
        repeat I times: draw J sequences, clip them to [-1, 1], evaluate; belief = mean and std of the best K

    The clipped actions are evaluated and refitted; the std is that of the population, with 1e-6 added to the variance.
    The belief begins anew at each call: nothing of the last plan is kept.

    Args:
      evaluate: actions (N, J, H, A) in [-1, 1] and the number of the iteration -> returns (N, J).
      noise: (N, I, J, H, A) standard normal.
      elites: K, at most J.
    """
    rows, _, _, horizon, size = noise.shape
    mean, std = noise.new_zeros(rows, horizon, size), noise.new_ones(rows, horizon, size)
    for iteration, draws in enumerate(noise.unbind(1)):
        actions = torch.clamp(mean.unsqueeze(1) + std.unsqueeze(1) * draws, -1.0, 1.0)  # (N, J, H, A)
        best = evaluate(actions, iteration).topk(elites, 1, sorted=False).indices  # (N, K)
        chosen = actions.gather(1, best[:, :, None, None].expand(-1, -1, horizon, size))  # (N, K, H, A)
        mean = chosen.mean(1)
        std = torch.sqrt((chosen - mean.unsqueeze(1)).square().mean(1) + _VARIANCE_FLOOR)
    return Plan(mean, std)


class Planner(nn.Module):
    """An `Actor` that has learned nothing itself: it searches in the world model for what the reward head likes best.

    Every candidate is rolled out with drawn latents, one trajectory each; its return is the plain sum of the predicted
    rewards, without discount or value. The noise of the search is an input, and a deterministic policy plans with it
    too; noise on the executed action is exploration.

    Args:
      fields: of the action.
      latent: of the world model.
      config: sizes.

    Raises ValueError for discrete actions, between which nothing can be refitted.
    """

    def __init__(self, fields: Sequence[Field], latent: LatentSpace, config: PlannerConfig) -> None:
        super().__init__()
        for field in fields:
            if field.kind == "discrete":
                raise ValueError(
                    f"action {field.name!r}: the planner refits normal distributions and so expects continuous "
                    f"actions, found a choice of {field.classes}; use one with an actor (dreamer_v2, dreamer_v3)"
                )
        self.fields, self.config = list(fields), config
        self.sizes = [field.features for field in fields]
        search = (config.iterations, config.candidates, config.horizon)
        self.noise = (
            NoisePort("plan_actions", "plan_noise", "plan_actions", (*search, sum(self.sizes)), "normal"),
            NoisePort("plan_latents", "plan_noise", "plan_latents", (*search, *latent.shape), latent.noise),
            *(NoisePort(f"action_noise_{f.name}", "action_noise", f.name, f.shape, "normal") for f in fields),
        )

    def act(
        self, rssm: RSSM, heads: Mapping[str, nn.Module], state: Latents, feature: Tensor, noise: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `Actor`; heads: the one named "reward" judges the candidates."""
        first = self.plan(rssm, heads["reward"], state, noise).mean[:, 0]  # (N, A)
        parts = zip(self.fields, first.split(self.sizes, -1), strict=True)
        plan = {field.name: part.reshape(-1, *field.shape) for field, part in parts}
        spread = self.config.exploration
        return {name: value + spread * noise[f"action_noise_{name}"] for name, value in plan.items()}

    def plan(self, rssm: RSSM, reward: nn.Module, state: Latents, noise: Mapping[str, Tensor]) -> Plan:
        """The whole search, of which `act` takes the first action."""
        latents = noise["plan_latents"]

        def evaluate(actions: Tensor, iteration: int) -> Tensor:
            return imagined_return(rssm, reward, state, actions, latents[:, iteration])

        return cem(evaluate, noise["plan_actions"], self.config.elites)


def imagined_return(rssm: RSSM, reward: nn.Module, state: Latents, actions: Tensor, noise: Tensor) -> Tensor:
    """Sum of the predicted rewards along action sequences.

    state: (N, ...) in which all candidates of a row begin; actions (N, J, H, A); noise (N, J, H, *latent.shape).
    Returns (N, J).
    """
    lead = actions.shape[:2]
    deter, stoch = (x.unsqueeze(1).expand(*lead, *x.shape[1:]).flatten(0, 1) for x in state)  # (N J, ...)
    prepared, features = rssm.prepare(), []
    for action, draw in zip(actions.flatten(0, 1).unbind(1), noise.flatten(0, 1).unbind(1), strict=True):
        deter = rssm.step(deter, stoch, action, prepared)
        stoch = rssm.latent.draw(rssm.prior_statistics(deter), draw)
        features.append(feature_of(deter, stoch))
    # All steps at once: one product for each layer of the head instead of H.
    return reward(torch.stack(features, 1)).mean.sum(1).unflatten(0, lead)
