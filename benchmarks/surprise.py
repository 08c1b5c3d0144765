"""What the guard's surprise rule notices: false alarms in sound episodes, and how soon it notices what is wrong.

    python benchmarks/surprise.py --bundle runs/cartpole/bundles/bundle-00000042.zip

Sound episodes of the simulated robot fit the threshold and count the false alarms. Then each fault is put in at the
middle of seeded episodes: the rule starts from what it learned, and the ticks until it trips are printed.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.onboard.rules import SurpriseRule
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec, load_spec
from robot_dreamer.spec.safety import Surprise
from sim.robot import SimRobot
from sim.sensors import observe

Fault = Callable[[list[Arrays], np.random.Generator], Arrays]  # of the observations so far, the last one present


def _sound(seen: list[Arrays], generator: np.random.Generator) -> Arrays:
    return seen[-1]


def _floats(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Fault:
    return lambda seen, _: {k: change(v).astype(v.dtype) if v.dtype.kind == "f" else v for k, v in seen[-1].items()}


def _noisy(seen: list[Arrays], generator: np.random.Generator) -> Arrays:
    return _floats(lambda x: x + generator.normal(0, 0.3, x.shape))(seen, generator)


FAULTS: dict[str, Fault] = {
    "first observation: sign flipped": lambda seen, _: seen[-1] | {k: -v for k, v in list(seen[-1].items())[:1]},
    "second observation: sign flipped": lambda seen, _: seen[-1] | {k: -v for k, v in list(seen[-1].items())[1:2]},
    "all: zero": _floats(np.zeros_like),
    "all: noise, standard deviation 0.3": _noisy,
    "all: 3 ticks late": lambda seen, _: seen[-4],
}


def surprises(spec: RobotSpec, bundle: Path, fault: Fault, seeds: range) -> list[NDArray[np.float64]]:
    """Surprise tick by tick, an array per episode; the fault begins in the middle."""
    policy = OnnxPolicy(read_bundle(bundle, spec))
    controller = Controller(spec, PolicySlot(spec, policy), robot="benchmark", boot="b", record=None, seed=0)
    robot, generator = SimRobot(spec, 0), np.random.default_rng(0)
    episodes = []
    for seed in seeds:
        sensors, seen, values = robot.reset(seed), [], []
        while True:
            seen.append(observe(spec, sensors))
            broken = len(seen) > spec.episode.max_steps // 2
            shown = fault(seen, generator) if broken else seen[-1]
            decision = controller.tick(Sample(shown, sensors.reward, sensors.terminal, sensors.stamp))
            if decision.command is None or decision.output is None:
                break
            if len(seen) > 1:  # as the controller, which does not judge first rows
                values.append(decision.output.surprise)
            controller.applied(sensors.stamp)
            sensors = robot.step(decision.command)
        episodes.append(np.array(values))
    return episodes


def first_alarm(rule: SurpriseRule, values: NDArray[np.float64]) -> int | None:
    """The tick at which the rule trips."""
    rule.reset()
    return next((t for t, value in enumerate(values) if rule.check(float(value), 1)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="of a policy that has learned")
    parser.add_argument("--robot", default="cartpole", help="name or path of its RobotSpec")
    parser.add_argument("--sound", type=int, default=30, help="episodes without a fault")
    parser.add_argument("--faulty", type=int, default=8, help="episodes with each fault")
    options = parser.parse_args()
    spec = load_spec(options.robot)
    rule = SurpriseRule(spec.safety.surprise or Surprise(), spec.rate)
    alarms = judged = 0
    for values in surprises(spec, options.bundle, _sound, range(options.sound)):
        judged += bool(np.isfinite(rule.threshold))
        alarms += first_alarm(rule, values) is not None
    print(f"sound: {alarms} false alarms in {judged} judged episodes; threshold {rule.threshold:.2f} nats")
    middle = spec.episode.max_steps // 2
    for name, fault in FAULTS.items():
        episodes = surprises(spec, options.bundle, fault, range(1000, 1000 + options.faulty))
        found = [first_alarm(copy.deepcopy(rule), values) for values in episodes]
        delays = [(t - middle + 1) / spec.rate for t in found if t is not None and t >= middle - 1]
        early = sum(t is not None and t < middle - 1 for t in found)
        when = f", after {np.median(delays):.2f} s (median)" if delays else ""
        print(
            f"{name}: noticed in {len(delays)} of {len(found)} episodes{when}" + (f"; {early} early" if early else "")
        )


if __name__ == "__main__":
    main()
