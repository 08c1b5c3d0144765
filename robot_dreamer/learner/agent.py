"""The learning agent: world model, actor and critic, and one update of all of them."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robot_dreamer.behavior.imagination import Imagined, imagine, imagine_step
from robot_dreamer.behavior.losses import ImaginationLosses, ReplayLosses
from robot_dreamer.behavior.noise import Noise, draw_noise, gumbel_noise
from robot_dreamer.behavior.policy import PolicyStep
from robot_dreamer.behavior.policy_head import Policy
from robot_dreamer.behavior.returns import ReturnRange
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.captured import CapturedUpdate
from robot_dreamer.learner.compiled import Compiler
from robot_dreamer.learner.objective import Networks, Rows, objective
from robot_dreamer.learner.optimizer import Optimizer
from robot_dreamer.learner.state import check_tensors
from robot_dreamer.learner.team import Team
from robot_dreamer.world_model.fields import fields_of
from robot_dreamer.world_model.filtering import RowFunctions, filter_row, filter_row_backward
from robot_dreamer.world_model.heads import TwoHotHead
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action
from robot_dreamer.world_model.world_model import WorldModel


class Carry(NamedTuple):
    """What filtering needs of the row before."""

    deter: Tensor
    """(B, D)."""
    stoch: Tensor
    """(B, S, K)."""
    action: dict[str, Tensor]
    """(B, *shape) each: the action executed after that row."""

    @staticmethod
    def after(latents: Latents, action: dict[str, Tensor]) -> Carry:
        """From latents (B, T, ...) and actions (B, T, ...) of rows that have been filtered: the last of them."""
        return Carry(latents.deter[:, -1], latents.stoch[:, -1], {name: value[:, -1] for name, value in action.items()})


class Losses(NamedTuple):
    """Everything that one forward pass computes."""

    observed: Observed
    """Posterior latents of the trained rows."""
    imagined: Imagined
    """Imagined trajectories."""
    total: Tensor
    """See `Objective` for this and what follows."""
    terms: dict[str, Tensor]
    acting: ImaginationLosses
    replayed: ReplayLosses
    metrics: dict[str, Tensor]


class Agent(nn.Module):
    """Learns from batches of replayed experience. Lives on the device of its configuration; do not move it."""

    def __init__(
        self,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Dict,
        config: Config,
        team: Team | None = None,
    ) -> None:
        """Build with parameters drawn from `config.seed`; `team`: the processes that train it together.

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
        self.device = resolve_device(config.device)
        model, behavior = config.model, config.behavior
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.world_model = WorldModel(self.observation_fields, self.action_fields, model, behavior.critic_outscale)
            size = self.world_model.feature_size
            self.policy = Policy(self.action_fields, size, model.units, behavior)
            self.critic = TwoHotHead(size, behavior.critic_layers, model, behavior.critic_outscale)
            self.slow_critic = TwoHotHead(size, behavior.critic_layers, model, 0.0)
        self.slow_critic.load_state_dict(self.critic.state_dict())
        self.slow_critic.requires_grad_(False)
        self.to(self.device)
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        self._trained_names = [name for name, _ in trained]
        self.optimizer = Optimizer([p for _, p in trained], config.optimizer)
        self.return_range = ReturnRange.initial(self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        networks = Networks(self.world_model, self.policy, self.critic, self.slow_critic)
        self._objective = partial(objective, networks, config, team.join_rows if team else None)
        self._imagine_step = partial(imagine_step, self.world_model.rssm, self.policy)
        self._filter_row = RowFunctions()
        if config.compile:
            compiler = Compiler()
            self._imagine_step = compiler(self._imagine_step)
            self._filter_row = RowFunctions(compiler(filter_row), compiler(filter_row_backward))
            if team is None:
                self._objective = compiler(self._objective)
        # Processes talk to each other in the middle of an update.
        if team is not None and config.compile:
            warnings.warn("compile=true under torchrun compiles the steps only, not the losses", stacklevel=2)
        if team is not None and config.cuda_graph:
            warnings.warn("cuda_graph=true has no effect under torchrun", stacklevel=2)
        elif config.cuda_graph and self.device.type != "cuda":
            raise ValueError(f"cuda_graph: expected a CUDA device, found {self.device}; set cuda_graph=false")
        captured = config.cuda_graph and team is None
        self._run_update = CapturedUpdate(self._update) if captured else self._update

    def update(self, batch: Batch, noise: Noise | None = None) -> tuple[Latents, dict[str, Tensor]]:
        """One whole update: losses, gradients, optimiser, slow critic, return range.

        Returns the latents of rows 1 to T, deter (B, T, D) and stoch (B, T, S, K), as computed before the parameters
        changed, and metrics as scalar tensors without gradient. A batch with a loss or gradient that is not finite
        changes nothing: `optimizer/applied` is then 0, and the `loss/...` metrics tell which term it was; the latents
        are then worth nothing and must not be stored.
        """
        return self._run_update(batch, self.draw_noise(*batch.reward.shape) if noise is None else noise)

    def _update(self, batch: Batch, noise: Noise) -> tuple[Latents, dict[str, Tensor]]:
        # State changes in place, and nothing here waits for the device: the whole of it may be a CUDA graph.
        losses = self.losses(batch, noise)
        gradients = torch.autograd.grad(losses.total, self.optimizer.parameters)
        metrics = losses.metrics
        if self._team:  # a loss that is not finite in one process is so in all
            terms = [name for name in metrics if name.startswith("loss/")]
            averages = self._team.average([*gradients, *(metrics[name] for name in terms)])
            gradients = tuple(averages[: len(gradients)])
            metrics |= zip(terms, averages[len(gradients) :], strict=True)
        metrics |= self.optimizer.step(gradients, torch.isfinite(metrics["loss/total"]))
        applied = metrics["optimizer/applied"]
        self._update_slow_critic(self.config.behavior.slow_rate * applied)
        for old, new in zip(self.return_range, losses.acting.return_range, strict=True):
            old.copy_(torch.where(applied > 0, new, old))
        return Latents(losses.observed.deter.detach(), losses.observed.stoch.detach()), metrics

    def losses(self, batch: Batch, noise: Noise) -> Losses:
        """The forward pass of an update; changes nothing."""
        with self._precision():
            return self._losses(batch, noise)

    def _losses(self, batch: Batch, noise: Noise) -> Losses:
        rows, steps = batch.reward.shape[0], batch.reward.shape[1] - 1
        # Row 0 gives the start state and the first previous action, nothing else.
        current = {name: value[:, 1:] for name, value in batch.observation.items()}
        previous = {name: value[:, :-1] for name, value in batch.action.items()}
        is_first = batch.is_first[:, 1:]
        observation = {name: value.flatten(0, 1) for name, value in current.items()}  # (B T, *shape)
        tokens = self.world_model.encoder(observation).unflatten(0, (rows, steps))  # (B, T, E)
        start = Latents(batch.deter.float(), batch.stoch.float())
        observed = self._observe(start, tokens, previous, is_first, noise.observe, self._filter_row)

        last = self.config.behavior.imagine_last or steps
        starts = Latents(
            observed.deter[:, -last:].flatten(0, 1).detach(), observed.stoch[:, -last:].flatten(0, 1).detach()
        )
        imagined = imagine(self.world_model.rssm, self.policy, starts, noise.imagine, noise.action, self._imagine_step)
        replayed = Rows(observation, batch.reward[:, 1:].float(), batch.is_last[:, 1:], batch.is_terminal[:, 1:])
        return Losses(observed, imagined, *self._objective(replayed, observed, imagined, self.return_range))

    def _observe(
        self,
        start: Latents,
        tokens: Tensor,
        previous: dict[str, Tensor],
        is_first: Tensor,
        noise: Tensor,
        functions: RowFunctions | None = None,
    ) -> Observed:
        flat = {name: value.flatten(0, 1) for name, value in previous.items()}
        action = encode_action(self.action_fields, flat).unflatten(0, is_first.shape)
        return self.world_model.rssm.observe(start, tokens, action, 1 - is_first.float(), noise, functions)

    @torch.no_grad()
    def filter(
        self,
        observation: dict[str, Tensor],
        action: dict[str, Tensor],
        is_first: Tensor,
        carry: Carry | None,
        noise: Tensor | None = None,
    ) -> Latents:
        """Posterior latents of rows that have just arrived.

        observation, action: (B, T, *shape) each, action_t executed after observation_t; is_first: (B, T) bool; carry:
        the row before (see `Carry.after`), None at the start of a stream; noise: (T, B, S, K) Gumbel noise. Returns
        deter (B, T, D) and stoch (B, T, S, K).
        """
        rows, steps = is_first.shape
        if carry is None:
            carry = Carry(
                *self.world_model.rssm.initial(rows),
                {name: torch.zeros_like(value[:, 0]) for name, value in action.items()},
            )
            is_first = is_first.clone()
            is_first[:, 0] = True
        if noise is None:
            noise = gumbel_noise((steps, rows, *self.world_model.rssm.shape), self.generator)
        previous = {
            name: torch.cat((carry.action[name].unsqueeze(1), value[:, :-1]), 1) for name, value in action.items()
        }
        with self._precision():
            tokens = self.world_model.encoder({name: value.flatten(0, 1) for name, value in observation.items()})
            start = Latents(carry.deter.float(), carry.stoch.float())
            observed = self._observe(start, tokens.unflatten(0, (rows, steps)), previous, is_first, noise)
        return Latents(observed.deter, observed.stoch)

    def policy_step(self) -> PolicyStep:
        """The acting step, sharing the parameters of this agent."""
        return PolicyStep(self.world_model, self.policy, self.critic, self.action_fields)

    def draw_noise(self, rows: int, length: int) -> Noise:
        """Noise of one update for a batch of `rows` windows of `length` rows including the context row."""
        steps, behavior = length - 1, self.config.behavior
        return draw_noise(
            self.action_fields,
            self.world_model.rssm.shape,
            steps,
            rows,
            behavior.horizon,
            rows * (behavior.imagine_last or steps),
            self.generator,
        )

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that training needs to continue exactly: tensors by name (copies on the CPU), and JSON
        data for the reader of a checkpoint."""
        tensors = {name: value.detach().clone().cpu() for name, value in self._state_tensors().items()}
        tensors["generator"] = self.generator.get_state()
        return tensors, {"config": self.config.to_dict(), "updates": int(self.optimizer.step_count)}

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
            entropy = [self.config.seed, self._team.rank, int(self.optimizer.step_count)]
            self.generator.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _state_tensors(self) -> dict[str, Tensor]:
        """Live tensors of the training state by name."""
        state = {f"model/{name}": parameter.data for name, parameter in self.named_parameters()}
        for moment in ("first_moment", "second_moment"):
            views = self.optimizer.views(getattr(self.optimizer, moment))
            state |= {f"optimizer/{moment}/{n}": v for n, v in zip(self._trained_names, views, strict=True)}
        state["optimizer/step_count"] = self.optimizer.step_count
        state["return_range/low"], state["return_range/high"] = self.return_range
        return state

    @torch.no_grad()
    def _update_slow_critic(self, rate: Tensor) -> None:
        # Weighted like this, and not moved by a part of the difference, it rounds as the published code does.
        slow: list[Tensor] = list(self.slow_critic.parameters())
        fast: list[Tensor] = list(self.critic.parameters())
        torch._foreach_mul_(slow, 1 - rate)
        torch._foreach_add_(slow, torch._foreach_mul(fast, rate))

    def _precision(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")


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
