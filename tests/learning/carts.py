"""A cart on a rail that is to be held at a goal: what learning gates are about.

The goal is in the middle between two walls; the reward is near 1 there. Of its kinds one shows a picture, one takes a
choice of three forces, and one is pushed instead of moved and does not show its velocity, so that it can only be held
by who remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from tests.agents import box, spaces

STEPS, ROWS = 20, 32
Actions = Callable[[int, NDArray[Any]], NDArray[Any]]
"""(number of the step, observation (N, ...)) -> actions (N, 1), or (N,) of a choice."""


@dataclass(frozen=True)
class Cart:
    """One kind.

    Attributes:
      pushed: actions change the velocity, which is not shown.
      choice: the action is one of three forces.
      picture: a picture (48, 48, 1) of the rail is shown instead of the position.
    """

    pushed: bool = False
    choice: bool = False
    picture: bool = False

    @property
    def spaces(self) -> tuple[spaces.Dict, spaces.Dict]:
        """Of observations and actions."""
        seen = {"image": spaces.Box(0, 255, (48, 48, 1), np.uint8)} if self.picture else {"position": box(1)}
        force = spaces.Discrete(3) if self.choice else spaces.Box(-1, 1, (1,))
        return spaces.Dict(seen), spaces.Dict({"force": force})

    def live(self, actions: Actions) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
        """ROWS episodes: observations, actions, rewards, each (N, STEPS + 1, ...)."""
        random = np.random.default_rng(0)
        reach = 1.5 if self.pushed else 2.0
        position = random.uniform(-reach, reach, (ROWS, 1)).astype(np.float32)
        velocity = random.uniform(-0.3, 0.3, (ROWS, 1)).astype(np.float32) * self.pushed
        seen, taken, rewards = [], [], []
        for step in range(STEPS + 1):
            shown = self._show(position)
            seen.append(shown)
            rewards.append(np.exp((-4 if self.pushed else -2) * position[:, 0] ** 2) * (step > 0))
            taken.append(actions(step, shown))
            force = taken[-1][:, None] - 1.0 if self.choice else np.clip(taken[-1], -1, 1)
            velocity = np.clip(velocity + 0.2 * force, -0.6, 0.6) if self.pushed else 0.3 * force
            position = np.clip(position + velocity, -2, 2).astype(np.float32)
            velocity = np.where(np.abs(position) == 2, 0.0, velocity)
        return np.stack(seen, 1), np.stack(taken, 1), np.stack(rewards, 1).astype(np.float32)

    def by_chance(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
        """Episodes of random actions."""
        random = np.random.default_rng(1)
        if self.choice:
            return self.live(lambda step, shown: random.integers(0, 3, ROWS))
        return self.live(lambda step, shown: random.uniform(-1, 1, (ROWS, 1)).astype(np.float32))

    def batch(self, lived: tuple[NDArray[Any], ...], agent: Agent) -> Batch:
        """Such episodes as a batch of replayed windows."""
        seen, taken, rewards = map(torch.from_numpy, lived)
        lead = torch.zeros(rewards.shape, dtype=torch.bool)
        first, last = lead.clone(), lead.clone()
        first[:, 0], last[:, -1] = True, True
        rssm = agent.parts.world.rssm
        latents = torch.zeros(ROWS, rssm.deter), torch.zeros(ROWS, *rssm.latent.shape)
        return Batch({self._name: seen}, {"force": taken}, rewards, first, last, lead, *latents, lead)

    def returns(self, agent: Agent, remembers: bool = True) -> float:
        """Mean return of the acting step, without noise but that of a planner's search."""
        step = agent.policy_step()
        state = {name: torch.zeros(ROWS, *shape) for name, shape in step.layout.states.items()}
        action = {"force": torch.zeros(ROWS, dtype=torch.int64) if self.choice else torch.zeros(ROWS, 1)}
        silence = {port.name: torch.zeros(ROWS, *port.shape) for port in step.layout.noise}
        g = torch.Generator().manual_seed(0)
        silence |= {
            p.name: torch.randn(ROWS, *p.shape, generator=g) for p in step.layout.noise if p.role == "plan_noise"
        }

        @torch.no_grad()
        def act(number: int, shown: NDArray[Any]) -> NDArray[Any]:
            nonlocal state, action
            first = torch.full((ROWS,), number == 0)
            acted = step({self._name: torch.from_numpy(shown)}, action, state, first, silence)
            action = acted.action
            state = acted.state if remembers else state
            return acted.action["force"].numpy()

        return float(self.live(act)[2].sum(1).mean())

    @property
    def _name(self) -> str:
        return "image" if self.picture else "position"

    def _show(self, position: NDArray[np.float32]) -> NDArray[Any]:
        if not self.picture:
            return position.copy()
        middle = ((position[:, 0] + 2) / 4 * 39 + 4).astype(int)
        columns = np.abs(np.arange(48) - middle[:, None]) <= 4  # (N, 48)
        return np.broadcast_to(columns[:, None, :, None] * np.uint8(255), (ROWS, 48, 48, 1)).copy()
