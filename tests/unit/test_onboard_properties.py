"""Whatever policies, sensors and people do, in any order: what goes out and what is recorded keeps its promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import PolicyFault, PolicyOutput
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.onboard.states import DriveState, StateMachine
from robot_dreamer.record import INTERVENTION, StepRecord, validate_record
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY

ACTION = "high: [2.0, 1.0], max_rate: [10.0, 5.0], neutral: [0.5, 0.5], filter: {cutoff: 10.0}"  # 0.2, 0.1 per tick
STEP = np.array([0.2, 0.1])
TEXT = TOY.replace("high: [2.0, 1.0]", ACTION)
BAD = [np.nan, np.inf, -np.inf, 1e30]
WITHIN = (np.array([-2.0, 0.0]), np.array([2.0, 1.0]))


class Whim:
    """A policy that does what the test wants next."""

    version = 3
    lineage = ""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.action: list[float] | None = [0.0, 0.0]

    def reset(self) -> None:
        """Nothing to reset."""

    def step(
        self, observation: Mapping[str, Any], previous: Mapping[str, Any], first: bool, noise: Any
    ) -> PolicyOutput:
        assert np.isfinite(previous["torque"]).all()
        if self.action is None:
            raise PolicyFault("policy 3: no action")
        return PolicyOutput({"torque": np.array(self.action, np.float32)}, surprise=1.0)


class Life:
    """Ticks as the real-time runner does, with events of any kind between the ticks."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = np.random.default_rng(seed)
        rules = ["command", "policy", "limit", "e_stop", "link", "deadline"]
        reactions = ", ".join(f"{rule}: {dice.choice(['ramp', 'stop', 'hold', 'damp'])}" for rule in rules)
        limits = "limits: [{observation: speed, high: [5.0]}]"
        ramp = dice.choice([0.0, 1.0])
        self.spec = parse_spec(f"{TEXT}safety: {{ramp_seconds: {ramp}, reactions: {{{reactions}}}, {limits}}}\n")
        self.policy = Whim()
        self.rows: list[StepRecord] = []
        slot = PolicySlot(self.spec, self.policy)
        self.controller = Controller(self.spec, slot, robot="r", boot="b", record=self.rows.append)
        self.guard = self.controller.guard
        self.automatic = bool(dice.integers(2))
        self.machine = StateMachine(self.spec, self.guard, self.automatic)
        self.wanted = False  # somebody asked for the policy since the last fault
        self.force = np.array([0.5, 0.5])  # the command in force
        self.time = 0

    def live(self, events: int) -> None:
        rare = [self.policy_fails, self.fault_latches, self.terminal, self.robot_breaks, self.sensor_breaks, self.wish]
        for _ in range(events):
            for _ in range(self.dice.integers(1, 12)):
                self.policy.action = list(self.dice.uniform(-1.5, 1.5, 2))
                self.tick()
            self.dice.choice([*rare, self.policy_raves, self.person])()  # type: ignore[arg-type]
            for _ in range(self.dice.integers(0, 5)):
                self.tick()
            if self.dice.random() < 0.7:
                self.guard.clear()
            if self.dice.random() < 0.7:
                self.wish(DriveState.POLICY)

    def policy_raves(self) -> None:
        self.policy.action = [float(self.dice.choice(BAD)), float(self.dice.choice([0.0, *BAD]))]
        self.tick(person=self.dice.choice([None, self.command()]))

    def policy_fails(self) -> None:
        self.policy.action = None
        self.tick()

    def fault_latches(self) -> None:
        self.guard.latch(self.dice.choice(["e_stop", "link", "deadline"]), "test")
        self.wanted = False

    def terminal(self) -> None:
        self.tick(terminal=True)

    def robot_breaks(self) -> None:
        self.tick(speed=9.0)

    def sensor_breaks(self) -> None:
        self.tick(speed=float("nan"))

    def person(self) -> None:
        for _ in range(3):
            self.tick(person=self.command())

    def wish(self, state: DriveState | None = None) -> None:
        state = state or list(DriveState)[self.dice.integers(3)]  # PASSIVE, STAND, POLICY
        refused = self.machine.want(state)
        assert bool(refused) == (self.guard.fault is not None)
        if not refused:
            self.wanted = state is DriveState.POLICY

    def command(self) -> dict[str, Any]:
        return {"torque": self.dice.uniform(-5, 5, 2)}

    def tick(self, speed: float = 0.0, terminal: bool = False, person: Any = None) -> None:
        self.time += 1
        observation = {"angle": np.array([1, 0], np.float32), "speed": np.array([speed], np.float32)}
        latched, rows = self.guard.fault, len(self.rows)
        state = self.machine.step()
        if state is not DriveState.POLICY:
            self.controller.abandon()
            self.send(self.machine.command(observation if state is DriveState.STAND and np.isfinite(speed) else None))
            assert len(self.rows) == rows
            return
        assert latched is None, "the policy acts although a fault is latched"
        assert self.automatic or self.wanted, "the policy acts although nobody wants it"
        decision = self.controller.tick(Sample(observation, 1.0, terminal, self.time), person)
        if decision.fault is not None:
            self.wanted = False
            self.send(decision.command)
            assert all(r.is_last and r.is_terminal for r in self.rows[rows:])  # no action while faulted
        elif decision.command is None:
            self.send(self.guard.neutral())
        else:
            self.send(decision.command)
            self.controller.applied(self.time)
            self.check_row(self.rows[-1], person)

    def send(self, commands: Any) -> None:
        if commands is None:
            return
        command = commands["torque"]
        assert np.isfinite(command).all()
        assert (command >= WITHIN[0] - 1e-9).all() and (command <= WITHIN[1] + 1e-9).all()
        assert (np.abs(command - self.force) <= STEP + 1e-9).all(), "a jump"
        self.force = command

    def check_row(self, row: StepRecord, person: Any) -> None:
        executed = self.spec.actions[0].to_command(row.action["torque"])
        np.testing.assert_allclose(executed, self.force, atol=1e-5)
        assert (row.policy_version == INTERVENTION) == (person is not None)

    def check_books(self) -> None:
        for i, row in enumerate(self.rows):
            before = self.rows[i - 1] if i else None
            new = before is None or before.episode != row.episode
            assert row.sequence == i and row.is_first == new
            assert before is None or not before.is_last or new
            assert row.observation["speed"][0] < 5 or row.is_terminal
            validate_record(row, self.spec)


@pytest.mark.parametrize("seed", range(12))
def test_a_life(seed: int) -> None:
    life = Life(seed)
    life.live(150)
    life.check_books()
    assert len(life.rows) > 100 and len(life.guard.faults) >= 5  # it was an interesting one
    assert {r.policy_version for r in life.rows} == {3, INTERVENTION}
    assert any(r.is_terminal for r in life.rows) and life.controller.abandoned > 10
