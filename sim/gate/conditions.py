"""Under which conditions a bundle is tried: the nominal robot, what varies, what grows."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.source import NUMBERS
from sim.episode import EpisodeStopped, begin_episode
from sim.gate.criteria import Criteria
from sim.quantities import QUANTITIES, names_of
from sim.robot import SimRobot
from sim.sensor_noise import numbers_of
from sim.simulation import MOST_DELAY

NOMINAL, RANDOM, EACH, ALL = "nominal", "random", "each", "all"
_RATE_ERROR = 0.15  # that a rate of whole control steps may be off what was asked for


@dataclass(frozen=True)
class Condition:
    """One of them.

    Attributes:
      name: for people, unique.
      group: nominal, random (random actions on the nominal robot), each, all, or the ladder's name.
      amount: of a ladder.
      vary, delay: in place of those of the RobotSpec.
      control_steps: of the world in a control period; None: as the spec says.
    """

    name: str
    group: str
    amount: float | None = None
    vary: list[dict[str, Any]] = field(default_factory=list)
    delay: dict[str, Any] = field(default_factory=dict)
    control_steps: int | None = None

    def robot(self, spec: RobotSpec) -> RobotSpec:
        """The robot under it; its hash is the same."""
        changed = msgspec.structs.replace(spec, simulation={**spec.simulation, "vary": self.vary, "delay": self.delay})
        changed.__dict__["folder"] = spec.folder
        return changed


@dataclass(frozen=True)
class Plan:
    """All conditions, in order.

    Attributes:
      spreads: of each number that sensors publish, `topic.field`: its standard deviation under random actions.
      notes: what was left out, and what was made up.
    """

    conditions: list[Condition]
    spreads: dict[str, float]
    notes: list[str]


def plan(spec: RobotSpec, criteria: Criteria) -> Plan:
    """What a robot is to be tried under. Raises SpecError if it cannot be simulated."""
    SimRobot(spec, criteria.seed)  # its own table is looked at before anything is tried, which takes minutes
    robot = SimRobot(Condition(NOMINAL, NOMINAL).robot(spec), criteria.seed)
    spreads, notes = _spreads(robot, criteria.seed), list[str]()
    vary = [dict(row) for row in spec.simulation.get("vary", ())]
    delay = dict(spec.simulation.get("delay", {}))
    if not vary and not delay:
        vary, delay = _default_table(robot, spreads)
        notes.append(
            f"robot {spec.name!r} has no simulation.vary and no simulation.delay: what varies here is a guess "
            "of this program, written out in gate.json; measure your robot and say it in its file"
        )
    conditions = [Condition(NOMINAL, NOMINAL), Condition(RANDOM, RANDOM)]
    for number, row in enumerate(vary):
        same = [other["quantity"] for other in vary].count(row["quantity"]) > 1
        name = f"{row['quantity']} of {row['of']}" if same and "of" in row else row["quantity"]
        taken = any(condition.name == name for condition in conditions)
        conditions.append(Condition(f"{name} ({number})" if taken else name, EACH, vary=[row]))
    if delay:
        conditions.append(Condition("delay", EACH, delay=delay))
    conditions.append(Condition(ALL, ALL, vary=vary, delay=delay))
    for name in criteria.ladders.__struct_fields__:
        for point in getattr(criteria.ladders, name).points:
            found = _step(name, point, robot, spreads)
            if isinstance(found, str):
                notes.append(f"{name} {point:g} is left out: {found}")
            else:
                conditions.append(found)
    return Plan(conditions, spreads, notes)


def _step(ladder: str, point: float, robot: SimRobot, spreads: dict[str, float]) -> Condition | str:
    """A point of a ladder; or why this robot has none."""
    name, seconds = f"{ladder} {point:g}", point * robot.spec.period
    if ladder in ("sensor_delay", "command_delay", "jitter") and seconds > MOST_DELAY:
        return f"{seconds:g} s is more than the {MOST_DELAY:g} s that a delay may have"
    late = {"seconds": [seconds, seconds]}
    if ladder == "sensor_delay":
        return Condition(name, ladder, point, delay={"sensors": late})
    if ladder == "command_delay":
        return Condition(name, ladder, point, delay={"commands": late})
    if ladder in ("jitter", "loss"):
        lag = {"jitter": seconds} if ladder == "jitter" else {"loss": point}
        return Condition(name, ladder, point, delay={"sensors": lag, "commands": lag})
    if ladder == "noise":
        rows = [_noise(name, [point * spread] * 2) for name, spread in spreads.items()]
        return Condition(name, ladder, point, vary=rows) if rows else "no sensor of it shows a number that moves"
    if ladder == "push":
        return _push(name, point, robot)
    steps = round(robot.control_steps / (1 + point))
    found = robot.control_steps / steps - 1 if steps else point
    if steps < 1 or steps == robot.control_steps or abs(found - point) > _RATE_ERROR:
        return f"a control period is {robot.control_steps} control steps of the model, which cannot be divided so"
    return Condition(f"rate {found:+.0%}", ladder, found, control_steps=steps)


def _push(name: str, speed: float, robot: SimRobot) -> Condition | str:
    """The heaviest part that can move gets the impulse that changes its speed by so much."""
    model, _ = robot.physics
    moving = [i for i in range(1, model.nbody) if model.body_weldid[i] != 0]
    if not moving:
        return "the model has no body that moves"
    body = max(moving, key=lambda i: float(model.body_subtreemass[i]))
    impulse = speed * float(model.body_subtreemass[body])
    length = robot.spec.episode.max_steps * robot.spec.period
    of = glob.escape(names_of(model, "body")[body])
    row = {"quantity": "push", "of": of, "range": [impulse, impulse], "when": [length / 8, length / 4]}
    return Condition(name, "push", speed, vary=[row])


def _noise(name: str, deviation: list[float]) -> dict[str, Any]:
    return {"quantity": "noise", "of": glob.escape(name), "range": deviation}


def _default_table(robot: SimRobot, spreads: dict[str, float]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What varies on a robot whose file does not say it: strength, damping, mass, noise; and what is late."""
    model, _ = robot.physics
    table: list[dict[str, Any]] = []
    for name, low, high in (("strength", 0.8, 1.2), ("damping", 0.5, 1.5), ("mass", 0.8, 1.2)):
        quantity = QUANTITIES[name]
        having = [i for i in names_of(model, quantity.kind) if quantity.fits(model, i)]
        if any((quantity.read(model, i) > 0).any() for i in having):
            table.append({"quantity": name, "range": [low, high]})
    table += [_noise(name, [0.0, 0.05 * spread]) for name, spread in spreads.items()]
    late = {"seconds": [0.0, min(MOST_DELAY, robot.spec.period / 2)]}
    return table, {"sensors": late, "commands": late}


def _spreads(robot: SimRobot, seed: int) -> dict[str, float]:
    """Standard deviation of what the sensors publish under random actions: the middle one of a field."""
    spec = robot.spec
    used = {f"{s.topic}.{'data' if s.type == NUMBERS else s.field}" for s in (o.source for o in spec.quantities)}
    seen: dict[str, list[Any]] = {}
    for numbers in _wander(robot, seed):
        for name in used & numbers.keys():
            seen.setdefault(name, []).append(numbers[name])
    found = {name: float(np.median(np.std(seen[name], axis=0))) for name in sorted(seen)}
    return {name: spread for name, spread in found.items() if spread > 0}


def _wander(robot: SimRobot, seed: int) -> Iterator[dict[str, Any]]:
    """What the sensors publish under random actions, as many times as in a whole episode. They may end or break one
    that a policy would not: the next one follows, because a world that has ended stands still."""
    policy, noise = RandomPolicy(robot.spec, seed), NoiseSource(seed, False)
    seeds = itertools.count(seed)
    try:
        sensors = begin_episode(robot, next(seeds))
        for _ in range(robot.spec.episode.max_steps):
            yield numbers_of(sensors)
            if sensors.terminal:
                sensors = begin_episode(robot, next(seeds))
                continue
            action = policy.step({}, {}, False, noise).action
            try:
                sensors = robot.step({a.name: a.to_command(action[a.name]) for a in robot.spec.actions})
            except EpisodeBroken:
                sensors = begin_episode(robot, next(seeds))
    except EpisodeStopped:  # what was seen by then must do
        return
