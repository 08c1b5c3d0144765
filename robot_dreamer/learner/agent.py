"""The learning agent: the modules of a generation, and one update of all of them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import UpdateNoise, latent_noise
from robot_dreamer.behavior.policy_step import Perception, PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.learner.adam import make_optimizers, trained_parameters
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.captured import CapturedUpdate, is_captured
from robot_dreamer.learner.carry import Carry, observe_rows
from robot_dreamer.learner.compiled import CompiledFunctions, Compiler
from robot_dreamer.learner.device import resolve_device
from robot_dreamer.learner.objectives import OBJECTIVES
from robot_dreamer.learner.objectives.parts import Parts
from robot_dreamer.learner.state import check_tensors, named_state, restore_generator
from robot_dreamer.learner.step import take_step
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.update_result import UpdateResult
from robot_dreamer.world_model.fields import action_fields_of, fields_of
from robot_dreamer.world_model.rssm import Observed


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
        self.begun = False  # whether this process has made an update
        self.observation_fields = fields_of(observation_space)
        self.action_fields = action_fields_of(action_space)
        self.device = resolve_device(config.run.device)
        self.generation = generation = OBJECTIVES[config.objective]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            modules = generation.build(self.observation_fields, self.action_fields, config)
        for name, module in modules.items():
            self.add_module(name, module)
        self.to(self.device)
        self._trained = trained_parameters(self, generation.groups, config.freeze)
        self.optimizers = make_optimizers(self._trained, config)
        self.state = generation.state(modules, config, self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.run.seed)
        plain = {"objective", "actor"} if team else set()  # those which talk to the others
        compiled = CompiledFunctions(Compiler() if config.run.compile else None, plain)
        join_rows = team.join_rows if team else None
        self.parts = Parts(modules, self.action_fields, config, self.state, compiled, join_rows)
        self._run_update = CapturedUpdate(self._update) if is_captured(config.run, self.device, team) else self._update

    def update(self, batch: Batch, noise: UpdateNoise | None = None) -> UpdateResult:
        """One whole update: losses, gradients, optimisers, and what else moves with them.

        A batch with a loss or gradient that is not finite changes nothing; see `UpdateResult.applied`.
        """
        result = self._run_update(batch, self.draw_noise(*batch.reward.shape) if noise is None else noise)
        self.begun = True
        return result

    def _update(self, batch: Batch, noise: UpdateNoise) -> UpdateResult:
        # State changes in place, and nothing here waits for the device: the whole of it may be a CUDA graph.
        steps = self.generation.update(self.parts, batch, noise)
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        everything = torch.ones((), dtype=torch.bool, device=self.device)
        with self.precision():
            part = next(steps)
        while True:
            terms, applied, found = take_step(part, self.optimizers, self.state, everything, self._team)
            losses |= terms
            metrics |= part.metrics | found
            everything = everything & applied
            try:
                with self.precision():
                    part = steps.send(applied)
            except StopIteration as end:
                return UpdateResult(end.value, everything, losses, metrics)

    @torch.no_grad()
    def observe(
        self,
        observation: dict[str, Tensor],
        action: dict[str, Tensor],
        is_first: Tensor,
        carry: Carry | None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        world: Perception | None = None,
    ) -> Observed:
        """Filter rows that have just arrived, and say what was seen in each.

        observation, action: (B, T, *shape) each, action_t executed after observation_t; is_first: (B, T) bool; carry:
        the row before (see `Carry.after`), None at the start of a stream; noise: (T, B, *latent.shape), else
        drawn from `generator`, or from the agent's own; world: whose encoder and RSSM, default: those that are trained.
        """
        if noise is None:
            rows, steps = is_first.shape
            noise = latent_noise(self.parts.world.rssm.latent, (steps, rows), generator or self.generator)
        with self.precision():
            return observe_rows(self.parts, observation, action, is_first, carry, noise, world)

    def policy_step(self) -> PolicyStep:
        """The acting step, sharing the parameters of this agent."""
        return self.generation.policy_step(self.parts.modules, self.action_fields)

    def draw_noise(self, rows: int, length: int) -> UpdateNoise:
        """Noise of one update for a batch of `rows` windows of `length` rows including the context row."""
        return self.generation.noise(self.parts, rows, length - 1, self.generator)

    @property
    def updates(self) -> int:
        """Steps of the first group's optimiser that were applied."""
        return int(next(iter(self.optimizers.values())).step_count)

    def _counts(self) -> list[int]:
        """Whole numbers that tell one update from another: what moves differs between generations and stages."""
        counts = [optimizer.step_count for optimizer in self.optimizers.values()]
        counts += [value for value in self.state.values() if value.dtype == torch.int64 and not value.dim()]
        return [int(count) for count in counts]

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

        A generator of another kind of device can not go on; it is then seeded anew from seed and updates, and warned
        of. Raises ValueError that names missing, unexpected and mis-shaped tensors; the agent is then unchanged.
        """
        own = self._state_tensors()
        check_tensors(own, {name: tensor for name, tensor in tensors.items() if name != "generator"})
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(tensors[name])
        restore_generator(self.generator, tensors, [self.config.run.seed, *self._counts()])

    def join_team(self) -> None:
        """Take over the leader's training state; every process of a team calls it once before the first update."""
        if self._team is None:
            return
        self._team.share(list(self._state_tensors().values()))
        if not self._team.leads:  # noise of its own
            entropy = [self.config.run.seed, self._team.rank, *self._counts()]
            self.generator.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _state_tensors(self) -> dict[str, Tensor]:
        """Live tensors of the training state by name."""
        return named_state(self, self._trained, self.optimizers) | self.state

    def precision(self) -> AbstractContextManager[None]:
        """The context in which losses are computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bfloat16")
