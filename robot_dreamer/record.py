"""The step record: one row of experience, as the robot lived it.

Row t holds observation_t, the reward that arrived with it, and the action executed after it (DreamerV3's
alignment). An episode of N actions has N+1 rows; the last row's action is zero. A time limit is is_last without
is_terminal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec

_LARGEST = float(np.finfo(np.float32).max)
RANDOM_POLICY = -1  # policy_version of actions drawn before the first bundle
INTERVENTION = -2  # policy_version of actions that a person gave instead of the policy


class RecordError(ValueError):
    """A row does not fit the spec; the message names the field, what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One row. (robot, boot, sequence) is its identity: sending it twice is harmless.

    Attributes:
      robot: robot id.
      boot: id of the run of the recording process, unique per start.
      sequence: counts rows within the boot from 0, without gaps.
      episode: counts episodes within the boot from 0.
      observation: by name, shape and dtype as in the spec.
      action: executed and normalised (see ActionSpec), by name.
      action_requested: what the policy asked for, before limits.
      reward: sum since the previous row; 0 on the first row.
      stamp_capture: when the observation was taken, ns on the robot's ROS clock.
      stamp_applied: when the command went out, ns on the same clock; 0 on the last row.
      policy_version: version of the bundle that acted, RANDOM_POLICY before the first, INTERVENTION where a person's
        command went out instead; the policy's own is in action_requested all the same.
    """

    robot: str
    boot: str
    sequence: int
    episode: int
    observation: dict[str, NDArray[Any]]
    action: dict[str, NDArray[Any]]
    action_requested: dict[str, NDArray[Any]]
    reward: float
    is_first: bool
    is_last: bool
    is_terminal: bool
    stamp_capture: int
    stamp_applied: int
    policy_version: int


def reward_problem(reward: float) -> str:
    """Why no row can hold this reward, in words; empty if one can. On disk and on the wire it is a float32."""
    if abs(reward) <= _LARGEST:
        return ""
    kind = "number that float32 can hold" if math.isfinite(reward) else "finite number"
    return f"reward: expected a {kind}, found {reward}"


def validate_record(record: StepRecord, spec: RobotSpec) -> None:
    """Raise RecordError unless the row fits the spec: names, shapes, dtypes, finite numbers, consistent flags."""
    _validate_arrays(
        "observation", record.observation, {o.name: (o.shape, np.dtype(o.dtype)) for o in spec.observations}
    )
    actions = {a.name: (a.shape, np.dtype(a.dtype)) for a in spec.actions}
    _validate_arrays("action", record.action, actions)
    _validate_arrays("action_requested", record.action_requested, actions)
    for action in spec.actions:
        last = len(action.values) - 1
        for found in (record.action[action.name], record.action_requested[action.name]):
            if action.discrete and not 0 <= int(found) <= last:
                raise RecordError(f"action {action.name}: expected a class in 0..{last}, found {found}")
    problem = reward_problem(record.reward)
    if problem:
        raise RecordError(problem)
    if record.is_terminal and not record.is_last:
        raise RecordError("is_terminal is set on a row that is not is_last")
    if record.sequence < 0 or record.episode < 0:
        raise RecordError(f"sequence and episode must not be negative, found {record.sequence} and {record.episode}")


def _validate_arrays(
    kind: str, arrays: dict[str, NDArray[Any]], expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> None:
    if arrays.keys() != expected.keys():
        raise RecordError(f"{kind}: expected {sorted(expected)}, found {sorted(arrays)}")
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise RecordError(f"{kind} {name}: expected {dtype}{list(shape)}, found {array.dtype}{list(array.shape)}")
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise RecordError(f"{kind} {name}: expected finite numbers, found {array}")
