"""Settings of a look at a simulated robot: the options of `robot-dreamer sim`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import check_all, same, setting


@dataclass(frozen=True)
class PlaySettings:
    """What moves the robot, for how long, and who looks on."""

    robot: str = same(PolicyNodeSettings, "robot")
    bundle: Path | None = setting(
        None, "policy that acts; without it, and without random, the robot holds the neutral command"
    )
    random: bool = setting(False, "random actions")
    episodes: int = setting(1, "number of episodes", least=1)
    seconds: float = setting(0.0, "simulated seconds after which to stop, amid an episode too; 0: no limit", least=0.0)
    seed: int = setting(0, "of the first episode; the next ones count up", least=0, most=2**31 - 1)
    view: bool = setting(False, "show it in MuJoCo's viewer, in real time; needs a screen")
    video: Path | None = setting(None, "film of the first episode to write, MP4; needs the extra film")

    def __post_init__(self) -> None:
        check_all(self)
        if self.bundle is not None and self.random:
            raise ValueError("random: expected false beside bundle, which acts instead; found true")
