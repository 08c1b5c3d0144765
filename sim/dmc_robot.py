"""Tasks of dm_control's suite as robots: `dmc:walker_walk`, `dmc:walker_walk:pixels`, `dmc:walker_walk:repeat=2`."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_dreamer.spec import (
    ActionSpec,
    Command,
    Episode,
    ObservationSpec,
    RobotSpec,
    Signal,
    Source,
    SpecError,
)
from sim import dmc_tasks, synthetic

_IMAGE = "camera/image_raw"
_MOST_REPEAT = 100


def make_spec(name: str) -> RobotSpec:
    """The RobotSpec of `<domain>_<task>[:pixels][:repeat=N]`.

    It observes what the task shows, an array a topic, or one colour picture [64, 64, 3]; each action is held for N of
    the task's control steps (default 1), whose rewards are summed. Episodes have the suite's time limit.

    Raises:
      SpecError: no such task, an unknown option, or a task whose commands have no limits.
    """
    task, *options = name.split(":")
    pixels, repeat = "pixels" in options, _repeat(name, [o for o in options if o != "pixels"])
    environment = dmc_tasks.load_task(task, seed=0)
    low, high = dmc_tasks.limits(environment, task)
    domain, kind = dmc_tasks.find_task(task)
    simulation: dict[str, Any] = {"model": f"dm_control:{domain}/{kind}"}
    if pixels:
        observations = [_picture()]
        simulation["cameras"] = {_IMAGE: dmc_tasks.camera(task)}
    else:
        shown = environment.task.get_observation(environment.physics)
        observations = [_vector(synthetic.clean(key), np.size(value)) for key, value in shown.items()]
        simulation["task_observations"] = {o.source.topic: key for o, key in zip(observations, shown, strict=True)}
    return RobotSpec(
        name=synthetic.clean(f"dmc_{name}"),
        description=f"dm_control's {domain}/{kind}, {'pixels' if pixels else 'its own observations'}",
        rate=1.0 / (environment.control_timestep() * repeat),
        observations=tuple(observations),
        actions=(ActionSpec("action", Command("controller/commands"), low=tuple(low), high=tuple(high)),),
        reward=_signal("reward"),
        terminal=_signal("terminal"),
        episode=Episode(dmc_tasks.most_steps(environment, repeat), reset_service="reset"),
        simulation=simulation,
    )


def _repeat(name: str, options: list[str]) -> int:
    if not options:
        return 1
    key, _, number = options[0].partition("=")
    if len(options) > 1 or key != "repeat" or not (number.isdecimal() and 1 <= int(number) <= _MOST_REPEAT):
        raise SpecError(
            f"robot dmc:{name}: expected dmc:<domain>_<task>, then :pixels, :repeat=N (1 to {_MOST_REPEAT}) or both"
        )
    return int(number)


def _vector(name: str, size: int) -> ObservationSpec:
    names = tuple(f"{name}_{i}" for i in range(size))
    return ObservationSpec(
        name, (size,), Source(f"observations/{name}", "std_msgs/msg/Float64MultiArray", "data", names)
    )


def _picture() -> ObservationSpec:
    return ObservationSpec("image", dmc_tasks.PICTURE, Source(_IMAGE, "sensor_msgs/msg/Image", "data"), dtype="uint8")


def _signal(name: str) -> Signal:
    return Signal("task", "sensor_msgs/msg/JointState", "position", (name,))
