"""Runs of the controller under a scripted policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.controller import Controller, Decision, Sample
from robot_dreamer.onboard.guard import Guard
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import PolicyFault, PolicyOutput
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec
from tests.onboard_models import toy_spec

SPEC = toy_spec()  # 5 actions per episode


class Scripted:
    """Acts torque = (0.1 t, 2) with t counted over its life; writes down how it was called."""

    version = 7
    lineage = ""

    def __init__(self) -> None:
        self.state: dict[str, NDArray[Any]] = {}
        self.calls: list[tuple[float, NDArray[Any], bool]] = []
        self.resets = 0
        self.broken = False

    def reset(self) -> None:
        self.resets += 1

    def step(
        self,
        observation: Mapping[str, NDArray[Any]],
        previous_action: Mapping[str, NDArray[Any]],
        is_first: bool,
        noise: NoiseSource | None,
    ) -> PolicyOutput:
        if self.broken:
            raise PolicyFault("policy 7: broken")
        self.calls.append((float(observation["speed"][0]), previous_action["torque"], is_first))
        return PolicyOutput({"torque": np.array([0.1 * len(self.calls), 2.0], np.float32)}, surprise=0.5)


class Run:
    """A controller with a clock: sample t has speed t, reward 10 t, stamp 1000 t."""

    def __init__(self, guard: Guard | None = None, spec: RobotSpec = SPEC) -> None:
        self.rows: list[StepRecord] = []
        self.policy = Scripted()
        slot = PolicySlot(spec, self.policy)
        self.controller = Controller(spec, slot, robot="r", boot="b", record=self.rows.append, guard=guard)
        self.time = 0

    def sample(self, terminal: bool = False, **changes: Any) -> Sample:
        t = self.time
        observation = {"angle": np.array([1, 0], np.float32), "speed": np.array([t], np.float32)} | changes
        return Sample(observation, changes.pop("reward", 10.0 * t), terminal, 1000 * t)

    def tick(self, sample: Sample | None = None) -> Decision:
        decision = self.controller.tick(sample or self.sample())
        if decision.command is not None and decision.fault is None:
            self.controller.applied(1000 * self.time + 5)
        self.time += 1
        return decision
