"""status.json: what a run says of itself once a second. Written by the learner, read by whoever shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.json_bytes import decode_json

STATUS_FILE = "status.json"
SAVING = "saving"  # the phase of a run that ends and must not be killed yet


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A learner at one moment.

    Attributes:
      time: seconds since 1970.
      monotonic: seconds of a clock that is the same for all processes of this machine since it started.
      phase: in words; "finished" and "stopped" are the last ones.
      env_steps: rows read from the store; demonstrations: of these, rows that no robot of this run lived.
      episodes: finished ones.
      last_return, mean_return_10: None before there are any.
      updates: gradient updates that were applied; skipped_updates: those that were not finite.
      replay_size, replay_capacity: rows.
      bundle_version: of the newest bundle.
      train_ratio: replayed rows per row of experience, as configured; None: offline, there is no ratio.
      rows_replayed: rows trained, each as often as it was drawn.
      elapsed_s: training seconds over all starts.
      budget_s, budget_steps, budget_epochs: when the run is complete; 0: no limit.
      losses: the newest, by name.
      robots: what the link knows of each robot.
      link: what the link as a whole refused and suffered.
    """

    time: float
    monotonic: float
    phase: str
    env_steps: int
    episodes: int
    last_return: float | None
    mean_return_10: float | None
    updates: int
    updates_per_s: float
    env_steps_per_s: float
    replay_size: int
    replay_capacity: int
    bundle_version: int
    train_ratio: float | None
    rows_replayed: int
    elapsed_s: float
    budget_s: float
    budget_steps: int
    budget_epochs: float
    losses: dict[str, float | None]
    skipped_updates: int
    robots: list[dict[str, Any]]
    link: dict[str, Any]
    demonstrations: int = 0

    @property
    def lived(self) -> int:
        """Rows that robots of this run, or its environment, lived."""
        return self.env_steps - self.demonstrations

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.phase in ("finished", "stopped")


def read_status(logdir: Path) -> RunStatus | None:
    """The status of the run in a log directory, None if it has not written one.

    The file is replaced at once, so it is always whole. Raises ValueError that names the file if it is not a status.
    """
    path = logdir / STATUS_FILE
    try:
        return decode_json(path.read_bytes(), RunStatus)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is not the status of a run of this version: {error}") from error
