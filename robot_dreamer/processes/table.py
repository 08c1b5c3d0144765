"""The process table: which programs make a robot learn, and what each is told. Written once.

The supervisor starts the table as plain Python programs, the launch files as ROS 2 executables; both read it here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGE = "robot_dreamer"  # the ROS 2 package that holds the executables
LOCAL = "local"  # as the learner's address: start one here
LOCAL_ADDRESS = "tcp://127.0.0.1:5757"
CLOCKS = ("lockstep", "realtime")

Parameter = str | float | int | bool


@dataclass(frozen=True)
class Process:
    """One program.

    Attributes:
      name: for people, and the name of its log file.
      executable: its name for `ros2 run robot_dreamer`.
      module: and as a Python module with its leading arguments: `python -m <module>`.
      arguments: command line, for programs that are no ROS 2 nodes.
      parameters: ROS parameters; None for programs that are no ROS 2 nodes.
      namespace: ROS namespace; "" for the root.
      finishes: its exit with status 0 ends the whole run; of the others every exit is unexpected.
    """

    name: str
    executable: str
    module: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] | None = None
    namespace: str = ""
    finishes: bool = False

    @property
    def remappings(self) -> dict[str, str]:
        """ROS names that must be others. Robots that share a domain but not a world share no clock either."""
        return {"/clock": f"/{self.namespace.strip('/')}/clock"} if self.namespace else {}

    def command(self, python: str = sys.executable) -> list[str]:
        """The command line that starts it without ROS 2's launch."""
        line = [python, "-m", *self.module, *self.arguments]
        if self.parameters is None:
            return line
        line.append("--ros-args")
        if self.namespace:
            line += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        line += [x for old, new in self.remappings.items() for x in ("-r", f"{old}:={new}")]
        # ROS 2 reads the value as YAML, and JSON is YAML in which a string can't be taken for a number.
        return line + [x for k, v in self.parameters.items() for x in ("-p", f"{k}:={json.dumps(v)}")]


@dataclass(frozen=True)
class Options:
    """What a person chooses. Empty strings leave the choice to the program that is told.

    Attributes:
      robot: name of a RobotSpec, or path of its YAML file.
      task: a further RobotSpec of the same robot, shipped as `<robot>_<task>.yaml`; "" for the robot's own.
      logdir: everything of the run; the policy node uses the folder `robot-<id>` in it.
      sim: start the simulated robot; False when a driver runs elsewhere.
      policy: start the policy node.
      clock: lockstep (simulation only: the world waits for every command) or realtime.
      learner: "local" to start one, tcp://host:port to use one elsewhere, "" for none (act only).
      bind: where the local learner listens.
      preset: training configuration of the local learner, several joined by colons.
      overrides: FIELD=VALUE changes to the preset.
      minutes, steps: training budget of the local learner; 0 for no limit.
      robot_id: name of this robot among all that learn together.
      namespace: ROS namespace of the robot's nodes.
      bundle: the policy node begins with it, and only a newer one of its own run replaces it.
      deterministic: no action noise.
      automatic: the policy acts without being asked; None: in simulation only.
      random_actions: without a bundle, the policy node acts at random until one comes; None: in simulation only.
      insecure: link without keys beyond this machine.
      keys: the policy node's key file; learner_keys: the local learner's key folder.
      seed: of everything random.
      speed: lockstep: at most so many times real time; 0 for no limit.
      threads: CPU threads of the learner.
    """

    robot: str
    logdir: Path
    task: str = ""
    sim: bool = True
    policy: bool = True
    clock: Literal["lockstep", "realtime"] = "lockstep"
    learner: str = LOCAL
    bind: str = LOCAL_ADDRESS
    preset: str = "cpu_small"
    overrides: tuple[str, ...] = ()
    minutes: float = 0.0
    steps: int = 0
    robot_id: str = ""
    namespace: str = ""
    bundle: str = ""
    deterministic: bool = False
    automatic: bool | None = None
    random_actions: bool | None = None
    insecure: bool = False
    keys: str = ""
    learner_keys: str = ""
    seed: int = 0
    speed: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ValueError(f"clock: expected {' or '.join(CLOCKS)}, found {self.clock!r}")
        if self.clock == "lockstep" and not self.sim:
            raise ValueError(
                "clock: lockstep needs the simulated robot, because a real one does not wait; use realtime"
            )
        if self.learner not in ("", LOCAL) and not self.learner.startswith("tcp://"):
            raise ValueError(f"learner: expected {LOCAL}, tcp://host:port or nothing, found {self.learner!r}")
        if not self.bind.startswith("tcp://"):
            raise ValueError(f"bind: expected tcp://address:port, found {self.bind!r}")
        if self.task and Path(self.robot).suffix in (".yaml", ".yml"):
            raise ValueError(f"task: {self.task!r} goes with a robot's name, not with a file ({self.robot})")
        if self.bundle and not Path(self.bundle).is_file():
            raise ValueError(f"bundle: {self.bundle} is not a file")

    @property
    def spec(self) -> str:
        """Name or path of the RobotSpec."""
        return f"{self.robot}_{self.task}" if self.task else self.robot

    @property
    def learner_address(self) -> str:
        """What the policy node connects to; "" for none."""
        return connectable(self.bind) if self.learner == LOCAL else self.learner


def processes(options: Options) -> list[Process]:
    """The programs that `options` ask for, in the order in which they are started."""
    chosen = ((options.learner == LOCAL, _learner), (options.sim, _sim_robot), (options.policy, _policy_node))
    return [make(options) for wanted, make in chosen if wanted]


def connectable(bind: str) -> str:
    """The address at which a server that is bound to all interfaces is reached from this machine."""
    for everywhere in ("tcp://*:", "tcp://0.0.0.0:"):
        if bind.startswith(everywhere):
            return "tcp://127.0.0.1:" + bind[len(everywhere) :]
    return bind


def _sim_robot(options: Options) -> Process:
    parameters: dict[str, Parameter] = {
        "robot": options.spec,
        "clock": options.clock,
        "seed": options.seed,
        "speed": options.speed,
    }
    if options.clock == "realtime":
        parameters["watchdog"] = 0.5  # as a robot's low level should have one
    return Process("sim_robot", "sim_robot", ("sim.node",), parameters=parameters, namespace=options.namespace)


def _policy_node(options: Options) -> Process:
    folder = f"robot-{options.robot_id or Path(options.spec).stem}"
    parameters: dict[str, Parameter] = {
        "robot": options.spec,
        "robot_id": options.robot_id,
        "clock": options.clock,
        "learner": options.learner_address,
        "bundle": options.bundle,
        "logdir": str(options.logdir / folder),
        "deterministic": options.deterministic,
        "automatic": options.sim if options.automatic is None else options.automatic,
        "random_actions": options.sim if options.random_actions is None else options.random_actions,
        "use_sim_time": options.sim,
        "insecure": options.insecure,
        "keys": options.keys,
        "seed": options.seed,
    }
    return Process(
        "policy_node", "policy_node", ("ros_nodes.policy_node",), parameters=parameters, namespace=options.namespace
    )


def _learner(options: Options) -> Process:
    arguments = ["--robot", options.spec, "--preset", options.preset, "--logdir", str(options.logdir)]
    arguments += ["--bind", options.bind, "--seed", str(options.seed), "--threads", str(options.threads)]
    for override in options.overrides:
        arguments += ["--set", override]
    if options.minutes:
        arguments += ["--minutes", str(options.minutes)]
    if options.steps:
        arguments += ["--steps", str(options.steps)]
    if options.learner_keys:
        arguments += ["--keys", options.learner_keys]
    if options.insecure:
        arguments.append("--insecure")
    return Process("learner", "learner", ("robot_dreamer.cli", "learn"), tuple(arguments), finishes=True)
