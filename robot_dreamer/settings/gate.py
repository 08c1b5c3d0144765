"""Settings of the gate: the options of `robot-dreamer gate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import check_all, same, setting


@dataclass(frozen=True)
class GateSettings:
    """What is tried, on which robot, by which criteria."""

    bundle: Path | None = setting(None, "the bundle to try; must be given")
    robot: str = same(PolicyNodeSettings, "robot")
    criteria: Path | None = setting(None, "YAML file of what the bundle must show; without it what docs/gate.md says")
    against: Path | None = setting(None, "another bundle, to be compared with seed by seed; it is not judged")
    output: Path | None = setting(
        None, "folder for gate.json, gate.html and worst.mp4; without it BUNDLE.gate beside the bundle"
    )
    jobs: int = setting(0, "processes at a time; 0: one for each core", least=0, most=1024)
    film: bool = setting(True, "film the worst episode, where the extra film is installed")

    def __post_init__(self) -> None:
        check_all(self)
        if self.bundle is None:
            raise ValueError("bundle: expected the file of the bundle to try, found nothing; say --bundle FILE")
