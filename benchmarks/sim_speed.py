"""The simulated robots beside bare MuJoCo: how much of a core's stepping is left once there are sensors and topics.

    python benchmarks/sim_speed.py [robots …] [--ticks 200] [--rounds 5]

By turns in one process: some ticks of the robot by random commands, and as many physics steps of the same model by
`mj_step` with the very controls that MuJoCo had at the end of those ticks. A robot that is a task of dm_control is also
measured beside dm_control's own `step` of that task, which computes its reward and observation too. CPU time, not the
clock's; a share is the median of the rounds. Pictures are left black, because bare stepping takes none.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.option_types import whole_number  # noqa: E402
from robot_dreamer.spec import RobotSpec, known_robots, load_spec  # noqa: E402
from sim.robot import SimRobot  # noqa: E402
from sim.worlds import load_suite  # noqa: E402


@dataclass(frozen=True)
class Result:
    """Of one robot: physics steps of a tick, its speed as a share of bare stepping's, and of dm_control's own step's
    (None: it is no task of dm_control)."""

    robot: str
    steps: int
    share: float
    of_task: float | None


def commands(spec: RobotSpec, generator: np.random.Generator) -> dict[str, Any]:
    """Anything that the robot may be told."""
    return {
        a.name: a.to_command(generator.integers(len(a.values)) if a.discrete else generator.uniform(-1, 1, a.size))
        for a in spec.actions
    }


def measure(name: str, ticks: int, rounds: int) -> Result:
    """See the module."""
    spec = load_spec(name)
    robot, generator = SimRobot(spec, seed=0), np.random.default_rng(0)
    _blind(robot)
    model, data = robot.physics
    bare, steps = mujoco.MjData(model), round(spec.period / model.opt.timestep)
    task = _task(spec)
    ours, theirs, tasks = np.zeros((3, rounds))
    for i in range(rounds):
        robot.reset()
        mujoco.mj_copyData(bare, model, data)
        given = [commands(spec, generator) for _ in range(ticks)]
        had: list[Any] = []
        began = time.process_time()
        for command in given:
            if robot.step(command).terminal:
                robot.reset()
            had.append(data.ctrl.copy())
        ours[i] = time.process_time() - began
        began = time.process_time()
        for control in had:
            bare.ctrl[:] = control
            mujoco.mj_step(model, bare, steps)
        theirs[i] = time.process_time() - began
        if task is not None:
            task.reset()
            began = time.process_time()
            for control in had:
                for _ in range(robot.control_steps):
                    task.step(control)
            tasks[i] = time.process_time() - began
    of_task = None if task is None else float(np.median(tasks / ours))
    return Result(name, steps, float(np.median(theirs / ours)), of_task)


def _blind(robot: SimRobot) -> None:
    """Black pictures."""
    world: Any = robot._world
    world.render = lambda camera, height, width: np.zeros((height, width, 3), np.uint8)
    world.depth = lambda camera, height, width: np.zeros((height, width, 1), np.float32)


def _task(spec: RobotSpec) -> Any:
    """dm_control's own environment of the robot's task, without a time limit; None: the robot is none of its tasks."""
    kind, _, name = spec.simulation["model"].partition(":")
    domain, _, task = name.partition("/")
    limits = {"random": 0, "time_limit": float("inf")}
    return load_suite().load(domain, task, task_kwargs=limits) if kind == "dm_control" else None


def line(result: Result) -> str:
    """A row of docs/performance.md's table."""
    of_task = "" if result.of_task is None else f"{result.of_task:.0%}"
    return f"| `{result.robot}` | {result.steps} | {result.share:.0%} | {of_task} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    simulated = [name for name in known_robots() if load_spec(name).simulation]
    parser.add_argument("robots", nargs="*", default=simulated, help="default: all that are simulated")
    parser.add_argument("--ticks", type=whole_number(1), default=200)
    parser.add_argument("--rounds", type=whole_number(1), default=5)
    options = parser.parse_args()
    print(machine("mujoco", "dm_control", "numpy"))
    print("| robot | physics steps of a tick | of bare stepping | of dm_control's own step |\n|---|---|---|---|")
    for name in options.robots:
        print(line(measure(name, options.ticks, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
