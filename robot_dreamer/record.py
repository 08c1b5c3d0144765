"""The step record: one row of experience, as the robot lived it.

Row t holds observation_t, the reward that arrived with it, and the action executed after it (DreamerV3's
alignment). An episode of N actions has N+1 rows; the last row's action is zero. A time limit is is_last without
is_terminal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.bounds import expected, in_range
from robot_dreamer.draws import Draws, draws_problem
from robot_dreamer.spec import RobotSpec

Arrays = dict[str, NDArray[Any]]
"""By name: of observations, actions, or a policy's inputs and outputs."""

_LARGEST = float(np.finfo(np.float32).max)
RANDOM_POLICY = -1  # policy_version of actions drawn before the first bundle
INTERVENTION = -2  # policy_version of actions that a person gave instead of the policy
TAKEN_OVER = -3  # policy_version of the way to the neutral command while a person had taken over and gave none
BY_PERSON = (INTERVENTION, TAKEN_OVER)  # of rows in which no policy drove
DEMONSTRATION = "demonstration-"  # the robot id of rows that another run's robot lived, to be learned from, begins so

LOWEST = {"sequence": 0, "episode": 0, "stamp_capture": 0, "stamp_applied": 0, "policy_version": TAKEN_OVER}
"""The integers of a row, each with the least that it may be; bounds.LARGEST is the most."""
ACTION_ROUNDING = 1e-4  # that an executed, normalised action may be beyond [-1, 1]


class RecordError(ValueError):
    """A row does not fit the spec; the message names the field, what was expected and what was found.

    Attributes:
      kind: under which it is counted: "invalid", or one of RANGES.
    """

    def __init__(self, text: str, kind: str = "invalid") -> None:
        super().__init__(text)
        self.kind = kind


RANGES = ("action_range", "observation_range", "reward_range")
"""Kinds of rows whose format is right and whose numbers are outside of what the spec states."""


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
        command went out instead, TAKEN_OVER where a person gave none; the policy's own is in action_requested then.
      drawn: on the first row of an episode, what was drawn for it; empty where nobody said so, and on all other rows.
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
    drawn: Draws = field(default_factory=dict)


def reward_problem(reward: float) -> str:
    """Why no row can hold this reward, in words; empty if one can. On disk and on the wire it is a float32."""
    if abs(reward) <= _LARGEST:
        return ""
    kind = "number that float32 can hold" if math.isfinite(reward) else "finite number"
    return f"reward: expected a {kind}, found {reward}"


def drawn_problem(drawn: Draws, is_first: bool) -> str:
    """Why a row cannot carry these draws, in words; empty if it can."""
    return draws_problem(drawn) if is_first else "drawn: expected none on a row that is not is_first"


def validate_record(record: StepRecord, spec: RobotSpec) -> None:
    """Raise RecordError unless the row has the spec's format: names, shapes, dtypes, finite numbers, consistent flags.

    Numbers may still be outside of the ranges that the spec states: see `validate_ranges`.
    """
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
    if record.drawn and (problem := drawn_problem(record.drawn, record.is_first)):
        raise RecordError(problem)
    for name, lowest in LOWEST.items():
        found = getattr(record, name)
        if not in_range(found, lowest):
            raise RecordError(f"{name}: expected {expected(lowest)}, found {found}")


def validate_ranges(record: StepRecord, spec: RobotSpec) -> None:
    """Raise RecordError of one of the kinds RANGES unless the numbers of a well-formed row are within the spec's.

    An executed action lies in [-1, 1], but for rounding; what the policy asked for may be anywhere.
    """
    for action in spec.actions:
        found = record.action[action.name]
        if not action.discrete and (np.abs(found) > 1.0 + ACTION_ROUNDING).any():
            raise RecordError(f"action {action.name}: expected numbers in [-1, 1], found {found}", "action_range")
    for observation in spec.observations:
        if observation.limits:
            low, high = observation.limits
            seen = record.observation[observation.name]
            if ((seen < low) | (seen > high)).any():
                text = f"observation {observation.name}: expected numbers in [{low:g}, {high:g}], found {seen}"
                raise RecordError(text, "observation_range")
    if spec.reward_range:
        low, high = spec.reward_range
        if not low <= record.reward <= high:
            raise RecordError(f"reward: expected {low:g} to {high:g}, found {record.reward:g}", "reward_range")


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
