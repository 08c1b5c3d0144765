"""The policy node's ROS parameters: one table, declared with descriptions and ranges, read into one dataclass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from robot_dreamer.onboard.provider import PROVIDERS

_CHOICES = {
    "clock": ("realtime", "lockstep"),
    "provider": PROVIDERS,
    "spool_rule": ("drop_oldest", "stop"),
}


class ParameterError(ValueError):
    """A parameter has the wrong type or value; the message names it."""


def _parameter(
    default: Any, description: str, least: float | None = None, most: float = 2**31 - 1, fixed: bool = True
) -> Any:
    return field(default=default, metadata={"description": description, "least": least, "most": most, "fixed": fixed})


@dataclass(frozen=True)
class Parameters:
    """Parameters of the policy node. All but `deterministic` and `teleop_timeout` are read when the node starts."""

    robot: str = _parameter("cartpole", "name of a shipped RobotSpec, or path of a YAML file")
    robot_id: str = _parameter("", "name of this robot among all that learn together; empty: the spec's name")
    clock: str = _parameter("realtime", "realtime: the world does not wait; lockstep: it waits for every command")
    learner: str = _parameter("", "address of the learner, tcp://host:port; empty: act only, record nothing")
    bundle: str = _parameter(
        "", "bundle to begin with, which only a newer one of its own run replaces; empty: the one that acted last"
    )
    logdir: str = _parameter("", "folder of the spool and the received bundles; empty: ~/.ros/robot_dreamer/<robot_id>")
    deterministic: bool = _parameter(False, "no action noise: the mean or most likely action", fixed=False)
    insecure: bool = _parameter(False, "allow a link without keys beyond this machine")
    keys: str = _parameter("", "file with this robot's link keys; empty: none")
    spool_rule: str = _parameter(
        "drop_oldest", "when the spool is full: drop_oldest rows that the learner lacks, or stop recording and fault"
    )
    spool_megabytes: int = _parameter(4096, "disk that rows may take while the learner is away", 1, 2**20)
    seed: int = _parameter(0, "of the action and latent noise and of random actions", least=0)
    threads: int = _parameter(1, "of ONNX Runtime within one policy step", least=1, most=64)
    provider: str = _parameter(
        "cpu", "what runs the policy: cpu, cuda or tensorrt; the cpu where the others are missing"
    )
    rollback_episodes: int = _parameter(
        0, "episodes after which a bundle gives way to the one before it if its return is worse; 0: never", 0, 1000
    )
    priority: int = _parameter(0, "real-time priority (SCHED_FIFO) of the control loop; 0: none", least=0, most=99)
    core: int = _parameter(-1, "processor core that the control loop is bound to; -1: any", least=-1, most=4095)
    automatic: bool = _parameter(
        False, "stand and act as soon as the node is active, and after a cleared fault; false: wait for ~/policy"
    )
    random_actions: bool = _parameter(
        False, "without a bundle to begin with, act at random until the learner sends one; false: configure fails then"
    )
    teleop_timeout: float = _parameter(
        0.5,
        "seconds for which a person's message on ~/teleop/<command topic> counts",
        0.05,
        10.0,
        fixed=False,
    )
    e_stop_timeout: float = _parameter(
        0.0, "seconds of silence on the topic e_stop that count as pressed; 0: it may be silent", 0.0, 60.0
    )
    heartbeat_required: bool = _parameter(
        False, "the low level relies on ~/heartbeat: nobody drives as long as nobody listens to it"
    )
    debug_rate: float = _parameter(
        0.0, "Hz of ~/debug/image and ~/debug/state, what the policy sees and thinks; 0: no such topics", 0.0, 50.0
    )
    autostart: bool = _parameter(True, "configure and activate at once, without a lifecycle manager")

    def directory(self, robot_id: str) -> Path:
        """Where the link keeps its files."""
        if self.logdir:
            return Path(self.logdir)
        return Path(os.environ.get("ROS_HOME", Path.home() / ".ros")) / "robot_dreamer" / robot_id


def declare_parameters(node: Node) -> Parameters:
    """Declare all parameters on `node` and read them.

    Raises:
      ParameterError: wrong type, out of range, or not one of the choices.
    """
    values = {}
    for entry in fields(Parameters):
        descriptor = ParameterDescriptor(description=entry.metadata["description"], read_only=entry.metadata["fixed"])
        least, most = entry.metadata["least"], entry.metadata["most"]
        if least is not None and isinstance(entry.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=least, to_value=most, step=0.0)]
        elif least is not None:
            descriptor.integer_range = [IntegerRange(from_value=least, to_value=most, step=1)]
        try:
            values[entry.name] = node.declare_parameter(entry.name, entry.default, descriptor).value
        except ParameterException as error:
            expected = type(entry.default).__name__
            meaning = f"{expected}; {entry.metadata['description']}"
            raise ParameterError(f"parameter {entry.name} ({meaning}): {error}") from error
    parameters = Parameters(**values)
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise ParameterError(f"parameter {name}: expected {' or '.join(choices)}, found {values[name]!r}")
    if parameters.rollback_episodes == 1:  # a range has no holes
        raise ParameterError("parameter rollback_episodes: expected 0 (never), or 2 to 1000, found 1")
    return parameters
