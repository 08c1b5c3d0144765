"""What one robot saw and did last: in each checkpoint, so that an export from it alone can be tried on that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from robot_dreamer.record import StepRecord

RECENT = "recent/"  # prefix of observation/<name>, action/<name>, is_first
RECENT_ROWS = 512


def recent_tensors(newest: Sequence[StepRecord]) -> dict[str, torch.Tensor]:
    """Rows in order of arrival -> of the robot that sent the last one, by name, (rows, ...) each; {} of none."""
    if not newest:
        return {}
    last = newest[-1]
    rows = [row for row in newest if (row.robot, row.boot) == (last.robot, last.boot)]
    found = {f"{RECENT}is_first": torch.tensor([row.is_first for row in rows])}
    for name in last.observation:
        found[f"{RECENT}observation/{name}"] = torch.from_numpy(np.stack([row.observation[name] for row in rows]))
    for name in last.action:
        found[f"{RECENT}action/{name}"] = torch.from_numpy(np.stack([row.action[name] for row in rows]))
    return found
