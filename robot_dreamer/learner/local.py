"""An environment in the learner's own process, for algorithm work without ROS.

It records the same rows into the same store as a robot; only the transport is missing.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robot_dreamer.behavior.noise import action_noise, gumbel_noise
from robot_dreamer.behavior.policy import PolicyStep
from robot_dreamer.config import ModelConfig
from robot_dreamer.environment import Environment, Step
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord

FLUSH = 16  # rows per write to the store


class LocalActor:
    """Acts in an environment with the agent's own weights, one step per call, and records what happens.

    Args:
      version: returns the number of gradient updates so far, recorded as the policy's version.
    """

    def __init__(
        self,
        environment: Environment,
        policy: PolicyStep,
        model: ModelConfig,
        store: ExperienceStore,
        seed: int,
        version: Callable[[], int] = lambda: 0,
    ) -> None:
        self._environment, self._policy, self._model, self._store, self._version = (
            environment,
            policy,
            model,
            store,
            version,
        )
        self._spec = environment.spec
        self._device = next(policy.parameters()).device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._boot = uuid.uuid4().hex
        self._sequence = 0
        self._episode = -1
        self._rows: list[StepRecord] = []
        self._next: Step | None = None  # None: the episode is over

    def step(self) -> None:
        """Record one row: observe, act, execute."""
        now = self._next if self._next is not None else self._begin()
        # renderers give views (flipped, turned); tensors and stored rows need plain memory
        now = dataclasses.replace(now, observation={k: np.asarray(v, order="C") for k, v in now.observation.items()})
        action = {a.name: a.zero() for a in self._spec.actions} if now.is_last else self._act(now)
        stamp = time.time_ns()
        self._rows.append(
            StepRecord(
                robot=self._spec.name,
                boot=self._boot,
                sequence=self._sequence,
                episode=self._episode,
                observation=now.observation,
                action=action,
                action_requested=action,
                reward=float(now.reward),
                is_first=now.is_first,
                is_last=now.is_last,
                is_terminal=now.is_terminal,
                stamp_capture=stamp,
                stamp_applied=0 if now.is_last else stamp,
                policy_version=self._version(),
            )
        )
        self._sequence += 1
        self._next = None if now.is_last else self._environment.step(action)
        if len(self._rows) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Store the rows that are still here. Raises ValueError if some do not fit the environment's spec."""
        result = self._store.add(self._rows)
        self._rows = []
        if result.rejected:
            raise ValueError(f"rows of the environment were refused: {dict(result.rejected)}")

    def _tensor(self, value: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(value))[None].to(self._device)

    def _begin(self) -> Step:
        self._episode += 1
        model = self._model
        self._deter = torch.zeros(1, model.deter, device=self._device)
        self._stoch = torch.zeros(1, model.stoch, model.classes, device=self._device)
        self._previous = {a.name: self._tensor(a.zero()) for a in self._spec.actions}
        return self._environment.reset()

    @torch.no_grad()
    def _act(self, now: Step) -> dict[str, NDArray[Any]]:
        observation = {k: self._tensor(v) for k, v in now.observation.items()}
        latent_noise = gumbel_noise(self._stoch.shape, self._generator)
        noise = {field.name: action_noise(field, (1,), self._generator) for field in self._policy.actions}
        is_first = torch.tensor([now.is_first], device=self._device)
        action, self._deter, self._stoch, *_ = self._policy(
            observation, self._previous, self._deter, self._stoch, is_first, latent_noise, noise
        )
        self._previous = action
        return {a.name: action[a.name][0].cpu().numpy().astype(a.dtype) for a in self._spec.actions}
