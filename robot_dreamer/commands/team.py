"""Several processes that train together: `torchrun --nproc-per-node 2 -m robot_dreamer.cli learn …`."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robot_dreamer.config import Config
from robot_dreamer.endings import ended_by
from robot_dreamer.learner.device import resolve_device
from robot_dreamer.learner.follow import follow
from robot_dreamer.learner.team import Team
from robot_dreamer.spec import RobotSpec

_log = logging.getLogger(__name__)


@contextmanager
def joined_team(config: Config) -> Iterator[tuple[Config, Team | None]]:
    """This process's team, None without torchrun, and the configuration with the device of this process."""
    device = resolve_device(config.run.device)
    if "LOCAL_RANK" in os.environ and device.type == "cuda":  # a GPU each
        try:
            device = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        except ValueError as error:
            raise ValueError(f"torchrun: a process has a GPU to itself: {error}, or fewer --nproc-per-node") from error
        torch.cuda.set_device(device)
        config = config.with_run(device=str(device))
    team = Team.join(device)
    try:
        yield config, team
    finally:
        Team.leave()


def require_alone(command: str) -> None:
    """Raise ValueError where torchrun started several processes of a command that trains in one."""
    if (processes := Team.announced()) > 1:
        raise ValueError(
            f"torchrun: {command} trains in one process, found {processes}: start it without torchrun, or with "
            "--nproc-per-node 1"
        )


def follow_leader(spec: RobotSpec, config: Config, team: Team) -> int:
    """Train until the leader ends the run, also when a signal asks for it: then the leader saves first."""
    with ended_by(signal.SIG_IGN):
        updates = follow(spec, config, team)
    _log.info("process %d of %d: %d updates with the leader", team.rank + 1, team.size, updates)
    return 0
