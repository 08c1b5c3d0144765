"""Acting in the learner's own process, without ROS: the onboard controller, with the learner's own weights, in an
environment.

The same rows go into the same store as from a robot; only the transport is missing.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robot_dreamer.behavior.noise import draw_port
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.environment import Environment, EpisodeBroken, TimeStep
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.guard import Fault
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import ActingPolicy, PolicyOutput, RandomPolicy
from robot_dreamer.onboard.sample import Sample
from robot_dreamer.onboard.session import RecurrentState
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import Arrays, StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.safety import TERMINAL_RULES

FLUSH = 16  # rows per write to the store
BROKEN = 20  # episodes in a row that may be cut
_log = logging.getLogger(__name__)


class ActingStopped(RuntimeError):
    """The environment, or what the guard saw there, is such that going on would teach nothing."""


class LivePolicy:
    """The learner's weights, as they are at each step, where a bundle's policy would be. See onboard.policy.Policy.

    It ignores `noise`: it draws on the weights' device, with a seed of its own.

    Args:
      count: returns the number of gradient updates so far, which is the policy's version.
    """

    lineage = ""

    def __init__(self, policy: PolicyStep, spec: RobotSpec, seed: int, count: Callable[[], int] = lambda: 0) -> None:
        self.version = count()
        self.state: RecurrentState = {}  # nothing takes over from it
        self._policy, self._layout, self._count = policy, policy.layout, count
        self._dtypes = {a.name: a.dtype for a in spec.actions}
        self._device = next(policy.parameters()).device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """Latent state to zeros."""
        self._latents = {k: torch.zeros(1, *shape, device=self._device) for k, shape in self._layout.states.items()}

    @torch.no_grad()
    def step(
        self,
        observation: Mapping[str, NDArray[Any]],
        previous_action: Mapping[str, NDArray[Any]],
        is_first: bool,
        noise: NoiseSource | None,
    ) -> PolicyOutput:
        """See onboard.policy.OnnxPolicy.step."""
        self.version = self._count()
        action, self._latents, monitors = self._policy(
            {k: self._tensor(v) for k, v in observation.items()},
            {k: self._tensor(v) for k, v in previous_action.items()},
            self._latents,
            torch.tensor([is_first], device=self._device),
            {port.name: draw_port(port, 1, self._generator) for port in self._layout.noise},
        )
        chosen = {name: action[name][0].cpu().numpy().astype(dtype) for name, dtype in self._dtypes.items()}
        return PolicyOutput(chosen, **dict(zip(monitors, torch.cat([*monitors.values()]).tolist(), strict=True)))

    def _tensor(self, value: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(value))[None].to(self._device)


class RandomFirst:
    """Random actions as long as they are wanted, then a policy, whose filter begins there. An ActingPolicy.

    Args:
      policy: takes over.
      seed: of the random actions.
      wanted: whether the next action is still to be random.
    """

    lineage = ""

    def __init__(self, policy: ActingPolicy, spec: RobotSpec, seed: int, wanted: Callable[[], bool]) -> None:
        self._policy, self._wanted = policy, wanted
        self._acting: ActingPolicy = RandomPolicy(spec, seed)
        self.version = self._acting.version
        self.state: RecurrentState = {}  # nothing takes over from it

    def reset(self) -> None:
        """See onboard.policy.Policy."""
        self._acting.reset()

    def step(
        self, observation: Arrays, previous_action: Arrays, is_first: bool, noise: NoiseSource | None
    ) -> PolicyOutput:
        """See onboard.policy.OnnxPolicy.step."""
        if self._acting is not self._policy and not self._wanted():
            self._acting, is_first = self._policy, True
        output = self._acting.step(observation, previous_action, is_first, noise)
        self.version = self._acting.version
        return output


class LocalActor:
    """Acts in an environment, one tick per call, and records what happens.

    Nobody stands by to clear a fault. What the robot did to itself, and surprise, end the episode as on board, are
    logged, and training goes on with the next one; every other fault ends the run.

    Args:
      seed: of the noise of policies that take it from the controller.
    """

    def __init__(self, environment: Environment, policy: ActingPolicy, store: ExperienceStore, seed: int = 0) -> None:
        spec = environment.spec
        self._environment, self._store = environment, store
        self._rows: list[StepRecord] = []
        self._controller = Controller(
            spec, PolicySlot(spec, policy), robot=spec.name, boot=uuid.uuid4().hex, record=self._keep, seed=seed
        )
        self._next: TimeStep | None = None  # None: the episode is over
        self._broken = 0  # episodes in a row that were cut

    def step(self) -> None:
        """One tick of the controller: observe, act, execute, record.

        An episode in which the environment shows what no row can hold is cut, counted and said; the next one begins.

        Raises:
          ValueError: what the environment shows is not laid out as its spec says.
          ActingStopped: the guard latched a fault that a person would have to look at, or BROKEN episodes in a row were
            cut.
        """
        begins = self._next is None
        try:
            now = self._begin() if self._next is None else self._next
        except EpisodeBroken as error:
            self._cut(self._controller.refuse(error.kind, str(error)).refused)
            return
        # renderers give views (flipped, turned); tensors and stored rows need plain memory
        shown = {k: np.asarray(v, order="C") for k, v in now.observation.items()}
        stamp = time.time_ns()
        sample = Sample(shown, float(now.reward), now.is_terminal, stamp, now.is_last, now.drawn)
        decision = self._controller.tick(sample)
        if decision.refused:
            if decision.kind in ("missing", "layout"):  # it would be so again
                raise ValueError(f"{self._environment.spec.name} shows what does not fit its spec: {decision.refused}")
            self._cut(decision.refused)
            return
        if decision.fault is not None:
            self._clear(decision.fault)
        if decision.fault is None and decision.command is not None:
            self._controller.applied(stamp)  # the world stands still in between
            try:
                self._next = self._environment.step(decision.command)
            except EpisodeBroken as error:
                self._cut(self._controller.refuse(error.kind, str(error)).refused)
        elif begins:
            self._cut(str(decision.fault or "the task was over at its reset"))
        else:
            self._next, self._broken = None, 0

    def _cut(self, problem: str) -> None:
        self._next, self._broken = None, self._broken + 1
        total = self._controller.refused.total()
        if self._broken >= BROKEN:
            raise ActingStopped(f"{self._broken} episodes in a row were cut ({total} in all), the last one: {problem}")
        _log.warning("an episode was cut (%d so far): %s", total, problem)

    def flush(self) -> None:
        """Store the rows that are still here. Raises ValueError if some do not fit the environment's spec."""
        result = self._store.add(self._rows)
        self._rows = []
        if result.rejected:
            raise ValueError(f"rows of the environment were refused: {dict(result.rejected)}")

    def _begin(self) -> TimeStep:
        guard = self._controller.guard
        if self._environment.spec.episode.reset_service:
            guard.limits.start({})  # a world that was set up anew has no command in force
        else:
            guard.neutral()  # the command between two episodes of a robot that goes on
        return self._environment.reset()

    def _keep(self, row: StepRecord) -> None:
        self._rows.append(row)
        if len(self._rows) >= FLUSH:
            self.flush()

    def _clear(self, fault: Fault) -> None:
        guard = self._controller.guard
        if fault.rule not in TERMINAL_RULES and fault.rule != "surprise":
            raise ActingStopped(f"the guard stopped {self._environment.spec.name}: {fault}")
        _log.info("the guard ended an episode (%d so far): %s", guard.faults.total(), fault)
        guard.clear()
