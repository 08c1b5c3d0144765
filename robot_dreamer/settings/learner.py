"""Settings of the learner: the options of `robot-dreamer learn`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import check_all, same, setting

LOCAL_ADDRESS = "tcp://127.0.0.1:5757"
DEFAULT_PRESET = "cpu_small"


@dataclass(frozen=True)
class LearnerSettings:
    """What the learner is told."""

    robot: str = same(
        PolicyNodeSettings,
        "robot",
        default="cartpole",
        description="name of a shipped RobotSpec, path of a YAML file, or dmc:<domain>_<task>",
    )
    preset: str = setting(
        DEFAULT_PRESET,
        "training configuration, presets (robot-dreamer list) or files of your own (NAME.yaml), joined by colons",
    )
    overrides: tuple[str, ...] = setting(
        (), "change to the preset, FIELD=VALUE, for instance model.deter=512", option="set"
    )
    logdir: Path = setting(Path("runs/default"), "everything of the run; running again with the same folder resumes it")
    bind: str = setting(
        LOCAL_ADDRESS, "address to listen on, tcp://address:port; beyond loopback it needs keys, or insecure"
    )
    keys: str = setting("", "folder with the learner's keys and the allowed robots (robot-dreamer keys)", file=True)
    insecure: bool = setting(False, "accept any robot, unencrypted, beyond loopback too")
    minutes: float = setting(0.0, "minutes of training over all starts; 0: no limit", least=0.0)
    steps: int = setting(0, "environment steps over all starts, action repeats included; 0: no limit", least=0)
    seed: int = setting(0, "of the parameters and all noise", least=0, most=2**31 - 1)
    threads: int = setting(1, "CPU threads", least=1, most=1024)
    init_from: str = setting(
        "", "log directory of a run whose parameters this one begins with (docs/learning.md)", file=True
    )
    freeze: str = setting("", "modules whose parameters stay as they are, separated by commas: encoder,decoder")
    demonstrations: str = setting(
        "", "run or store whose rows are learned from too, as what a person showed (docs/learning.md)", file=True
    )
    offline: bool = setting(False, "learn from the store in logdir alone: no link, no train ratio; needs a budget")
    epochs: float = setting(
        0.0, "offline: end when each row was trained so often, over all starts; 0: no limit", least=0.0
    )

    def __post_init__(self) -> None:
        check_all(self)
