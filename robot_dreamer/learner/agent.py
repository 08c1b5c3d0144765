"""The learning agent: world model, actor and critic, and one update of all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import UpdateNoise, latent_noise
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config, OptimizerConfig
from robot_dreamer.learner.adam import make_optimizer
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.captured import CapturedUpdate
from robot_dreamer.learner.compiled import CompiledFunctions, Compiler
from robot_dreamer.learner.objectives import OBJECTIVES
from robot_dreamer.learner.objectives.parts import Losses, Parts
from robot_dreamer.learner.state import check_tensors
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.update_result import UpdateResult
from robot_dreamer.world_model.fields import fields_of
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action


class Carry(NamedTuple):
    """What filtering needs of the row before."""

    deter: Tensor
    """(B, D)."""
    stoch: Tensor
    """(B, *latent.shape)."""
    action: dict[str, Tensor]
    """(B, *shape) each: the action executed after that row."""

    @staticmethod
    def after(latents: Latents, action: dict[str, Tensor]) -> Carry:
        """From latents (B, T, ...) and actions (B, T, ...) of rows that have been filtered: the last of them."""
        return Carry(latents.deter[:, -1], latents.stoch[:, -1], {name: value[:, -1] for name, value in action.items()})


class Agent(nn.Module):
    """Learns from batches of replayed experience. Lives on the device of its configuration; do not move it."""

    def __init__(
        self,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Dict,
        config: Config,
        team: Team | None = None,
    ) -> None:
        """Build with parameters drawn from `config.run.seed`; `team`: the processes that train it together.

        Raises ValueError that names the field for spaces that no network fits.
        """
        super().__init__()
        self.config, self._team = config, team
        self.observation_fields = fields_of(observation_space)
        self.action_fields = fields_of(action_space)
        for field in self.action_fields:
            if field.kind == "image":
                raise ValueError(f"action {field.name!r}: an action can not be an image")
        if not self.action_fields:
            raise ValueError("action space: expected at least one field, found none")
        self.device = resolve_device(config.run.device)
        self.generation = generation = OBJECTIVES[config.objective]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            modules = generation.build(self.observation_fields, self.action_fields, config)
        for name, module in modules.items():
            self.add_module(name, module)
        self.to(self.device)
        self._trained = {
            group: [(n, p) for n, p in self.named_parameters() if p.requires_grad and _belongs(n, members)]
            for group, members in generation.groups.items()
        }
        self.optimizers = {
            group: make_optimizer([p for _, p in trained], _optimizer_config(config, group))
            for group, trained in self._trained.items()
        }
        self.state = generation.state(modules, config, self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.run.seed)
        compiled = CompiledFunctions(Compiler() if config.run.compile else None, plain={"objective"} if team else set())
        join_rows = team.join_rows if team else None
        self.parts = Parts(modules, self.action_fields, config, self.state, compiled, join_rows)
        # Processes talk to each other in the middle of an update.
        if team is not None and config.run.compile:
            warnings.warn("compile=true under torchrun compiles the steps only, not the losses", stacklevel=2)
        if team is not None and config.run.cuda_graph:
            warnings.warn("cuda_graph=true has no effect under torchrun", stacklevel=2)
        elif config.run.cuda_graph and self.device.type != "cuda":
            raise ValueError(f"cuda_graph: expected a CUDA device, found {self.device}; set cuda_graph=false")
        captured = config.run.cuda_graph and team is None
        self._run_update = CapturedUpdate(self._update) if captured else self._update

    def update(self, batch: Batch, noise: UpdateNoise | None = None) -> UpdateResult:
        """One whole update: losses, gradients, optimisers, and what else moves with them.

        A batch with a loss or gradient that is not finite changes nothing; see `UpdateResult.applied`.
        """
        return self._run_update(batch, self.draw_noise(*batch.reward.shape) if noise is None else noise)

    def _update(self, batch: Batch, noise: UpdateNoise) -> UpdateResult:
        # State changes in place, and nothing here waits for the device: the whole of it may be a CUDA graph.
        steps = self.generation.update(self.parts, batch, noise)
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        everything = torch.ones((), dtype=torch.bool, device=self.device)
        with self.precision():
            part = next(steps)
        while True:
            terms, applied, found = self._take_step(part, everything)
            losses |= terms
            metrics |= part.metrics | found
            everything = everything & applied
            try:
                with self.precision():
                    part = steps.send(applied)
            except StopIteration as end:
                return UpdateResult(end.value, everything, losses, metrics)

    def _take_step(self, part: Losses, so_far: Tensor) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """Make a step with each group's gradient, and take the new state over; terms, () whether applied, metrics.

        so_far: () whether all parts of the update before this one were applied; nothing is built on one that was not.
        """
        totals, terms = list(part.groups.items()), part.terms
        gradients = [
            torch.autograd.grad(total, self.optimizers[group].parameters, retain_graph=i + 1 < len(totals))
            for i, (group, total) in enumerate(totals)
        ]
        if self._team:  # a loss that is not finite in one process is so in all
            averages = iter(self._team.average([*(g for group in gradients for g in group), *terms.values()]))
            gradients = [tuple(next(averages) for _ in group) for group in gradients]
            terms = dict(zip(terms, averages, strict=True))
        finite = torch.stack([torch.isfinite(term) for term in terms.values()]).all() & so_far
        if len(gradients) > 1:  # all groups make their step, or none
            finite = finite & torch.stack([torch.isfinite(g).all() for group in gradients for g in group]).all()
        applied, metrics = finite, dict[str, Tensor]()
        for (group, _), gradient in zip(totals, gradients, strict=True):
            stepped, found = self.optimizers[group].step(gradient, finite)
            applied = applied & stepped
            prefix = "optimizer" if group == "all" else f"optimizer/{group}"
            metrics |= {f"{prefix}/{name}": value for name, value in found.items()}
        for name, new in part.state.items():
            self.state[name].copy_(torch.where(applied, new, self.state[name]))
        return terms, applied, metrics

    @torch.no_grad()
    def filter(
        self,
        observation: dict[str, Tensor],
        action: dict[str, Tensor],
        is_first: Tensor,
        carry: Carry | None,
        noise: Tensor | None = None,
    ) -> Latents:
        """Posterior latents (B, T, ...) of rows that have just arrived; see `observe`."""
        observed = self.observe(observation, action, is_first, carry, noise)
        return Latents(observed.deter, observed.stoch)

    @torch.no_grad()
    def observe(
        self,
        observation: dict[str, Tensor],
        action: dict[str, Tensor],
        is_first: Tensor,
        carry: Carry | None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Observed:
        """Filter rows, and say what was seen in each.

        observation, action: (B, T, *shape) each, action_t executed after observation_t; is_first: (B, T) bool; carry:
        the row before (see `Carry.after`), None at the start of a stream; noise: (T, B, *latent.shape), else
        drawn from `generator`, or from the agent's own.
        """
        rssm, (rows, steps) = self.parts.world.rssm, is_first.shape
        if carry is None:
            zeros = {name: torch.zeros_like(value[:, 0]) for name, value in action.items()}
            carry, is_first = Carry(*rssm.initial(rows), zeros), is_first.clone()
            is_first[:, 0] = True
        if noise is None:
            noise = latent_noise(rssm.latent, (steps, rows), generator or self.generator)
        previous = {
            name: torch.cat((carry.action[name].unsqueeze(1), value[:, :-1]), 1).flatten(0, 1)
            for name, value in action.items()
        }
        with self.precision():
            tokens = self.parts.world.encoder({name: value.flatten(0, 1) for name, value in observation.items()})
            start = Latents(carry.deter.float(), carry.stoch.float())
            features = encode_action(self.action_fields, previous).unflatten(0, (rows, steps))
            keep = 1 - is_first.float()
            return rssm.observe(start, tokens.unflatten(0, (rows, steps)), features, keep, noise)

    def policy_step(self) -> PolicyStep:
        """The acting step, sharing the parameters of this agent."""
        return self.generation.policy_step(self.parts.modules, self.action_fields)

    def draw_noise(self, rows: int, length: int) -> UpdateNoise:
        """Noise of one update for a batch of `rows` windows of `length` rows including the context row."""
        return self.generation.noise(self.parts, rows, length - 1, self.generator)

    @property
    def updates(self) -> int:
        """Updates that were applied."""
        return int(next(iter(self.optimizers.values())).step_count)

    @property
    def trained_parameters(self) -> int:
        """Numbers that training changes."""
        return sum(optimizer.flat.numel() for optimizer in self.optimizers.values())

    def training_state(self) -> dict[str, Tensor]:
        """Everything that training needs to continue exactly: tensors by name, copies on the CPU."""
        tensors = {name: value.detach().clone().cpu() for name, value in self._state_tensors().items()}
        tensors["generator"] = self.generator.get_state()
        return tensors

    def load_training_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors that `training_state` returned.

        Raises ValueError that names missing, unexpected and mis-shaped tensors; the agent is then unchanged.
        """
        own = self._state_tensors()
        check_tensors({**own, "generator": self.generator.get_state()}, tensors)
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(tensors[name])
        self.generator.set_state(tensors["generator"].cpu())

    def join_team(self) -> None:
        """Take over the leader's training state; every process of a team calls it once before the first update."""
        if self._team is None:
            return
        self._team.share(list(self._state_tensors().values()))
        if not self._team.leads:  # noise of its own
            entropy = [self.config.run.seed, self._team.rank, self.updates]
            self.generator.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _state_tensors(self) -> dict[str, Tensor]:
        """Live tensors of the training state by name."""
        state = {f"model/{name}": parameter.data for name, parameter in self.named_parameters()}
        for group, optimizer in self.optimizers.items():
            for moment in ("first_moment", "second_moment"):
                views = optimizer.views(getattr(optimizer, moment))
                names = [name for name, _ in self._trained[group]]
                state |= {f"optimizer/{moment}/{name}": view for name, view in zip(names, views, strict=True)}
            prefix = "optimizer" if group == "all" else f"optimizer/{group}"
            state[f"{prefix}/step_count"] = optimizer.step_count
        return state | self.state

    def precision(self) -> AbstractContextManager[None]:
        """The context in which losses are computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bfloat16")


def _belongs(parameter: str, members: Sequence[str]) -> bool:
    return any(parameter.startswith(f"{member}.") for member in members)


def _optimizer_config(config: Config, group: str) -> OptimizerConfig:
    own = {"actor": config.actor_optimizer, "critic": config.critic_optimizer, "memory": config.memory_optimizer}
    return own.get(group, config.optimizer)


def resolve_device(name: str) -> torch.device:
    """The device of a configuration: `auto` takes a GPU if there is one. Raises ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, found {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device: {name!r} is configured, but torch finds no CUDA device; use device=auto or device=cpu"
        )
    return device
