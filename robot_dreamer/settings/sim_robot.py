"""Settings of the simulated robot: its ROS parameters."""

from __future__ import annotations

from dataclasses import dataclass

from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import check_all, same, setting


@dataclass(frozen=True)
class SimRobotSettings:
    """Read once, at the start."""

    robot: str = same(
        PolicyNodeSettings,
        "robot",
        default="cartpole",
        description="name of a shipped RobotSpec, path of a YAML file, or dmc:<domain>_<task>",
    )
    clock: str = setting(
        "lockstep",
        "lockstep: the world waits for every command; realtime: it waits for none",
        choices=("lockstep", "realtime"),
    )
    seed: int = setting(0, "of everything random in the world", least=0, most=2**31 - 1)
    speed: float = setting(0.0, "lockstep: at most so many times real time; 0: no limit", least=0.0)
    retry_time: float = setting(
        0.25, "lockstep: seconds without an answer until the sensors are published again", least=1e-3
    )
    loss: float = setting(0.0, "probability that a sensor message is dropped, for tests", least=0.0, most=0.99)
    watchdog: float = setting(
        0.0,
        "realtime: seconds without a true heartbeat of the policy node until the neutral command; 0: never",
        least=0.0,
        most=60.0,
    )

    def __post_init__(self) -> None:
        check_all(self)
