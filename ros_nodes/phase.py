"""What a runner is waiting for, or doing: one set of words for real time and lockstep."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """Of an episode under a policy node. Who drives at all is another question: robot_dreamer/onboard/states.py."""

    IDLE = "not under the policy"
    WAITING = "waiting for sensors"
    RESETTING = "resetting"
    READY = "waiting for the first sensors after the reset"
    RUNNING = "running"
