"""Settings of the policy node: its ROS parameters."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from robot_dreamer.onboard.provider import PROVIDERS
from robot_dreamer.settings.setting import check_all, setting


@dataclass(frozen=True)
class PolicyNodeSettings:
    """All but those that say so are read when the node starts, and then read-only."""

    robot: str = setting(
        "",
        "name of a shipped RobotSpec, path of a YAML file, or dmc:<domain>_<task>; empty: the robot that `bundle` was "
        "made for, and without one cartpole",
    )
    robot_id: str = setting("", "name of this robot among all that learn together; empty: the spec's name")
    clock: str = setting(
        "realtime",
        "realtime: the world does not wait; lockstep: it waits for every command",
        choices=("realtime", "lockstep"),
    )
    learner: str = setting("", "tcp://host:port of the learner; empty: act only, record nothing, and need no reward")
    bundle: str = setting(
        "",
        "bundle to begin with. Only a newer one of its own run replaces it, whether the learner sends it now or it "
        "acted before a restart: start without to let another run take over. Empty: the one that acted last",
        file=True,
    )
    require_gate: bool = setting(
        False,
        "refuse what has no passed verdict of its own bytes beside it (docs/gate.md): `bundle`, one that acted before, "
        "one that the learner sends; and random_actions",
    )
    trusted_signers: str = setting(
        "",
        "folder of those whose signature `bundle` must have (docs/policies.md); then there is no learner, which signs "
        "nothing, and no random_actions; empty: nobody is asked",
        file=True,
    )
    logdir: str = setting(
        "", "folder of the spool and the received bundles; empty: ~/.ros/robot_dreamer/<robot_id>", file=True
    )
    deterministic: bool = setting(
        False, "no action noise: the mean or most likely action; may change while the node runs", changes=True
    )
    insecure: bool = setting(False, "allow a link without keys beyond this machine")
    keys: str = setting("", "file with this robot's link keys (robot-dreamer keys); empty: none", file=True)
    spool_rule: str = setting(
        "drop_oldest",
        "when the spool is full: drop_oldest rows that the learner lacks, or stop recording and fault (docs/link.md)",
        choices=("drop_oldest", "stop"),
    )
    spool_megabytes: int = setting(4096, "disk that rows may take while the learner is away, MB", least=1, most=2**20)
    seed: int = setting(0, "of the action and latent noise and of random actions", least=0, most=2**31 - 1)
    threads: int = setting(1, "of ONNX Runtime within one policy step", least=1, most=64)
    provider: str = setting(
        "cpu",
        "what runs the policy; where one cannot be had, the log says what is missing and the CPU acts (docs/export.md)",
        choices=PROVIDERS,
    )
    rollback_episodes: int = setting(
        0,
        "episodes after which a new bundle gives way to the one before it if its mean return is worse; 0: never; 1 "
        "is refused, one return has no spread",
        least=0,
        most=1000,
    )
    priority: int = setting(
        0,
        "real-time priority (SCHED_FIFO) of the control loop; a warning where it is not permitted; 0: none",
        least=0,
        most=99,
    )
    core: int = setting(-1, "processor core that the control loop is bound to; -1: any", least=-1, most=4095)
    automatic: bool = setting(
        False, "stand and act as soon as the node is active, and after a cleared fault; false: wait for ~/policy"
    )
    random_actions: bool = setting(
        False,
        "without a bundle to begin with, and none in logdir that acted before, act at random until the learner sends "
        "one: how learning from nothing begins; false: configure fails then",
    )
    teleop_timeout: float = setting(
        0.5,
        "seconds for which a person's message on ~/teleop/<command topic> counts, at least a control period; may "
        "change while the node runs",
        least=0.05,
        most=10.0,
        changes=True,
    )
    e_stop_timeout: float = setting(
        0.0,
        "seconds of silence on the topic e_stop that count as pressed, as does that it has not spoken yet; 0: it may "
        "be silent",
        least=0.0,
        most=60.0,
    )
    heartbeat_required: bool = setting(
        False, "the low level relies on ~/heartbeat: nobody drives as long as nobody listens to it"
    )
    debug_rate: float = setting(
        0.0,
        "Hz of ~/debug/image and ~/debug/state, what the policy sees and thinks, beside the control loop; 0: no such "
        "topics",
        least=0.0,
        most=50.0,
    )
    autostart: bool = setting(True, "configure and activate at once; false: wait for a lifecycle manager")

    def __post_init__(self) -> None:
        check_all(self)
        if self.rollback_episodes == 1:  # a range has no holes
            raise ValueError("rollback_episodes: expected 0 (never), or 2 to 1000, found 1")
        if self.require_gate and self.random_actions:
            raise ValueError(
                "random_actions: expected false with require_gate, random actions pass no gate; found true"
            )
        if self.trusted_signers and (self.learner or self.random_actions or not self.bundle):
            raise ValueError("trusted_signers: expected a `bundle`, no `learner` and no `random_actions` beside it")

    def directory(self, robot_id: str) -> Path:
        """Where the link keeps its files."""
        if self.logdir:
            return Path(self.logdir)
        return Path(os.environ.get("ROS_HOME", Path.home() / ".ros")) / "robot_dreamer" / robot_id
