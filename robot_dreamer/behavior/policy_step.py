"""One acting step: filter the observation, act, predict. This is what a robot runs, and it knows its own layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import NoisePort
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.rssm import RSSM, Latents, encode_action, feature_of


class Actor(Protocol):
    """Whatever chooses actions from a filtered state."""

    noise: tuple[NoisePort, ...]
    """The noise that `act` takes."""

    def act(
        self, rssm: RSSM, heads: Mapping[str, nn.Module], state: Latents, feature: Tensor, noise: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Actions (N, *shape) by field; state (N, ...) and its feature (N, F); noise (N, *shape) by port name.

        heads: the policy step's monitors, for whoever plans.
        """


class Perception(Protocol):
    """What an acting step needs of a world model."""

    @property
    def encoder(self) -> nn.Module:
        """Observations (N, *shape) by name to tokens (N, E)."""

    @property
    def rssm(self) -> RSSM:
        """Filters rows: state (N, deter) and (N, *latent.shape)."""


class StepLayout(NamedTuple):
    """Inputs and outputs of a policy step besides observations and actions, which the robot's spec describes."""

    states: dict[str, tuple[int, ...]]
    """Shape of each part of the state, without the batch."""
    noise: tuple[NoisePort, ...]
    monitors: dict[str, str]
    """Unit of each monitor."""


class Acted(NamedTuple):
    """Result of a policy step."""

    action: dict[str, Tensor]
    """(B, *shape) each, clipped to [-1, 1] where continuous."""
    state: dict[str, Tensor]
    """(B, ...) by the names of the layout."""
    monitors: dict[str, Tensor]
    """(B) by the names of the layout."""


class PolicyStep(nn.Module):
    """The acting step; shares its parameters with the modules it is made from. Nothing depends on data in Python.

    Args:
      world_model: filters.
      policy: an `Actor`.
      actions: fields of the action.
      monitors: heads whose mean on the feature is monitored, by name: "value", "reward".
    """

    UNITS = {"surprise": "nats", "value": "discounted reward", "reward": "reward"}

    def __init__(
        self, world_model: Perception, policy: Actor, actions: Sequence[Field], monitors: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.encoder, self.rssm = world_model.encoder, world_model.rssm
        self.policy: Actor = policy
        self.monitors = nn.ModuleDict(dict(monitors))
        self.actions = list(actions)

    @property
    def layout(self) -> StepLayout:
        """What goes in and out, see `forward`."""
        latent = self.rssm.latent
        drawn = NoisePort("latent_noise", "latent_noise", "latent_noise", latent.shape, latent.noise, "stoch")
        states = {"deter": (self.rssm.deter,), "stoch": latent.shape}
        return StepLayout(states, (drawn, *self.policy.noise), {k: self.UNITS[k] for k in ("surprise", *self.monitors)})

    def forward(
        self,
        observation: dict[str, Tensor],
        previous_action: dict[str, Tensor],
        state: dict[str, Tensor],
        is_first: Tensor,
        noise: dict[str, Tensor],
    ) -> Acted:
        """Act on B robots.

        observation: (B, *shape) each, raw; previous_action: (B, *shape) each, as executed: float in [-1, 1] or integer
        class; state: returned by the previous step; is_first: (B) bool, forgets state and previous action; noise:
        (B, *shape) by the names of the layout's ports; zero noise acts by the mode.

        Monitors: surprise in nats (see `RSSM.surprise`); the means of the heads.
        """
        keep = 1 - is_first.float().unsqueeze(-1)  # (B, 1)
        rssm = self.rssm
        tokens = self.encoder(observation)
        previous = encode_action(self.actions, previous_action)
        before = Latents(state["deter"], state["stoch"])
        filtered = rssm.filter(before, previous, tokens, keep, noise["latent_noise"])
        deter, stoch, _ = filtered
        feature = feature_of(deter, stoch)
        action = self.policy.act(rssm, dict(self.monitors.items()), Latents(deter, stoch), feature, noise)
        for field in self.actions:
            if field.kind != "discrete":
                action[field.name] = torch.clamp(action[field.name], -1.0, 1.0)
        predictions = {name: head(feature).mean for name, head in self.monitors.items()}
        return Acted(action, {"deter": deter, "stoch": stoch}, {"surprise": rssm.surprise(filtered), **predictions})
