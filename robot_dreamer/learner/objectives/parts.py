"""What an objective works with, and what it gives back. A generation is a `Generation`, listed in `__init__.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.behavior.policy_step import Perception, PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.compiled import CompiledFunctions
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action
from robot_dreamer.world_model.whole_batch import JoinRows


@dataclass(frozen=True)
class Parts:
    """What an objective works with."""

    modules: Mapping[str, Any]
    """Networks by name, as `Generation.build` made them."""
    actions: Sequence[Field]
    config: Config
    state: dict[str, Tensor]
    """Scalars and other tensors that move with the updates, by name; see `Losses.state`."""
    compiled: CompiledFunctions
    """(name, function) -> the function, compiled once under that name where the configuration asks for it."""
    join_rows: JoinRows | None = None
    """Where several processes hold parts of a batch, gives the rows of all of them."""

    @property
    def world(self) -> Perception:
        """The world model."""
        world: Perception = self.modules["world_model"]
        return world


class Losses(NamedTuple):
    """Part of an update: losses whose gradients are applied before the objective goes on."""

    groups: dict[str, Tensor]
    """() with gradient, by group of parameters (see `Generation.groups`); no two go back through the same
    computation, of which nothing is left once one has."""
    terms: dict[str, Tensor]
    """() by name, without gradient: what a person sees, and what tells where something was not finite."""
    metrics: dict[str, Tensor]
    """() by name, without gradient."""
    state: dict[str, Tensor]
    """New values of `Parts.state`, taken over where the gradients could be applied."""


Update = Callable[[Parts, Batch, UpdateNoise], Generator[Losses, Tensor, Latents | None]]
"""One update, top to bottom: yields losses, is sent () bool, whether they were applied, and returns the latents of
rows 1 to T as they were computed before the parameters changed, None if there was no need of them."""


class Generation(NamedTuple):
    """One generation of the Dreamer line."""

    build: Callable[[Sequence[Field], Sequence[Field], Config], dict[str, nn.Module]]
    """(observations, actions, configuration) -> modules by name, with parameters drawn from torch's generator."""
    groups: dict[str, tuple[str, ...]]
    """Names of modules that are trained, or of parts of them ("world_model.rssm"), by group of parameters; a group has
    an optimiser of its own."""
    state: Callable[[Mapping[str, Any], Config, torch.device], dict[str, Tensor]]
    """(modules, configuration, device) -> `Parts.state` before the first update."""
    noise: Callable[[Parts, int, int, torch.Generator], UpdateNoise]
    """(parts, rows, trained steps, generator) -> all random numbers of an update."""
    update: Update
    policy_step: Callable[[Mapping[str, Any], Sequence[Field]], PolicyStep]
    """(modules, actions) -> the acting step."""


class Replayed(NamedTuple):
    """Rows 1 to T of a batch as the losses need them."""

    observation: dict[str, Tensor]
    """(B T, *shape) each."""
    reward: Tensor
    """(B, T) float."""
    is_last: Tensor
    """(B, T) bool."""
    is_terminal: Tensor
    """(B, T) bool."""
    action: Tensor
    """(B, T, A) features of the action before each row."""
    keep: Tensor
    """(B, T) float, 0 where a row begins an episode."""


def observe_batch(
    parts: Parts, batch: Batch, noise: Tensor, pixel_noise: Tensor | None = None
) -> tuple[Replayed, Observed]:
    """Filter the rows of a batch; noise: (T, B, *latent.shape); pixel_noise (B T, 64, 64, channels): see `pixels`.

    Row 0 gives the start state and the first previous action, nothing else; with `replay_context=zero` the start state
    is the initial one.
    """
    world = parts.world
    rows, steps = batch.reward.shape[0], batch.reward.shape[1] - 1
    observation = {name: value[:, 1:].flatten(0, 1) for name, value in batch.observation.items()}  # (B T, *shape)
    tokens = world.encoder(observation, *([] if pixel_noise is None else [pixel_noise]))
    tokens = tokens.unflatten(0, (rows, steps))  # (B, T, E)
    previous = {name: value[:, :-1].flatten(0, 1) for name, value in batch.action.items()}
    action = encode_action(parts.actions, previous).unflatten(0, (rows, steps))  # (B, T, A)
    stored = Latents(batch.deter.float(), batch.stoch.float())
    start = stored if parts.config.replay_context == "stored" else world.rssm.initial(rows)
    keep = 1 - batch.is_first[:, 1:].float()
    observed = world.rssm.observe(start, tokens, action, keep, noise, world.rssm.few(parts.compiled))
    flags = batch.is_last[:, 1:], batch.is_terminal[:, 1:]
    return Replayed(observation, batch.reward[:, 1:].float(), *flags, action, keep), observed
