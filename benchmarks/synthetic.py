"""Rows of noise that fit a spec, for benchmarks and tests of the link without a robot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.record import RANDOM_POLICY, StepRecord
from robot_dreamer.spec import RobotSpec


def synthetic_row(spec: RobotSpec, robot: str, boot: str, sequence: int, episode_steps: int = 100) -> StepRecord:
    """The row of this identity: the same arguments give the same row. Episodes have `episode_steps` actions."""
    rng = np.random.default_rng(sequence)
    episode, step = divmod(sequence, episode_steps + 1)
    last = step == episode_steps
    observation: dict[str, NDArray[Any]] = {}
    for o in spec.observations:
        if o.dtype == "uint8":
            observation[o.name] = rng.integers(0, 256, o.shape, np.uint8)
        else:
            numbers = rng.standard_normal(o.shape)
            unit = o.source.field == "orientation"  # a quaternion
            observation[o.name] = (numbers / np.linalg.norm(numbers) if unit else numbers).astype(np.float32)
    action: dict[str, NDArray[Any]] = {}
    for a in spec.actions:
        if a.discrete:
            action[a.name] = np.asarray(rng.integers(0, len(a.values)), np.int64)
        else:
            action[a.name] = rng.uniform(-1, 1, a.shape).astype(np.float32)
    stamp = 1 + sequence * int(1e9 / spec.rate)
    return StepRecord(
        robot=robot,
        boot=boot,
        sequence=sequence,
        episode=episode,
        observation=observation,
        action=action,
        action_requested=action,
        reward=0.0 if step == 0 else float(rng.random()),
        is_first=step == 0,
        is_last=last,
        is_terminal=False,
        stamp_capture=stamp,
        stamp_applied=0 if last else stamp + 1_000_000,
        policy_version=RANDOM_POLICY,
    )
