"""The process table: which programs make a robot learn, and what each is told. Written once.

The supervisor starts the table as plain Python programs, the launch files as ROS 2 executables; both read it here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from robot_dreamer.link.spool import SPOOL_FILE, spooled_ever
from robot_dreamer.onboard.bundle import spec_for
from robot_dreamer.seeds import seed_of_start
from robot_dreamer.settings.learner import LOCAL_ADDRESS, LearnerSettings
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import check_all, command_line, same, setting
from robot_dreamer.settings.sim_robot import SimRobotSettings

PACKAGE = "robot_dreamer"  # the ROS 2 package that holds the executables
LOCAL = "local"  # as the learner's address: start one here
_SEEDS_APART = 10_000  # of the robots of a fleet, so that runs with seeds of their own share none

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
      params_file: ROS parameter file whose values go before `parameters`; "" for none.
      remappings: ROS names that must be others.
      finishes: its exit with status 0 ends the whole run; of the others every exit is unexpected.
    """

    name: str
    executable: str
    module: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] | None = None
    namespace: str = ""
    params_file: str = ""
    remappings: Mapping[str, str] = field(default_factory=dict)
    finishes: bool = False

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
        line += [x for k, v in self.parameters.items() for x in ("-p", f"{k}:={json.dumps(v)}")]
        return line + (["--params-file", self.params_file] if self.params_file else [])  # who comes last is heard


@dataclass(frozen=True)
class Options:
    """What a person chooses of a run: the arguments of the launch files.

    Attributes:
      policy_node, sim_robot: further settings of those programs by name, as their tables declare them.
    """

    robot: str = same(PolicyNodeSettings, "robot")
    logdir: Path = same(
        LearnerSettings,
        "logdir",
        description="everything of the run, the policy node's in robot-<id> in it; starting again with the same folder "
        "resumes it",
    )
    task: str = setting("", "another task of the same robot: its RobotSpec is <robot>_<task>; empty: the robot's own")
    robots: int = setting(
        1,
        "that many simulated robots feed one learner: each has a namespace robot_N, a robot_id and a seed of its own",
        least=1,
        most=64,
    )
    sim: bool = setting(True, "start the simulated robot; false: a driver runs already")
    policy: bool = setting(True, "start the policy node; false: only what surrounds it")
    clock: str = same(SimRobotSettings, "clock")
    speed: float = same(SimRobotSettings, "speed")
    watchdog: float | None = same(
        SimRobotSettings,
        "watchdog",
        default=None,
        description="realtime: seconds without a heartbeat until the simulated robot goes neutral; empty: 0.5, as a "
        "robot's low level should have",
    )
    learner: str = setting(
        LOCAL, "local: start one here; tcp://host:port: one that runs elsewhere; empty: none, act only"
    )
    bind: str = setting(
        LOCAL_ADDRESS, "where the local learner listens; beyond this machine it needs learner_keys, or insecure"
    )
    preset: str = same(LearnerSettings, "preset")
    overrides: tuple[str, ...] = setting((), "changes to the preset, separated by spaces: FIELD=VALUE FIELD=VALUE")
    minutes: float = same(LearnerSettings, "minutes")
    steps: int = same(LearnerSettings, "steps")
    threads: int = same(LearnerSettings, "threads", description="CPU threads of the local learner")
    init_from: str = same(LearnerSettings, "init_from")
    freeze: str = same(LearnerSettings, "freeze")
    demonstrations: str = same(LearnerSettings, "demonstrations")
    robot_id: str = same(PolicyNodeSettings, "robot_id")
    namespace: str = setting("", "ROS namespace of the robot's nodes")
    bundle: str = same(PolicyNodeSettings, "bundle")
    deterministic: bool = same(PolicyNodeSettings, "deterministic", description="no action noise", changes=False)
    automatic: bool | None = setting(
        None, "true: the policy acts without being asked; false: it waits for ~/policy; empty: true with sim"
    )
    random_actions: bool | None = setting(
        None,
        "true: act at random until there is a bundle; false: the policy node fails without one; empty: true with sim",
    )
    keys: str = setting("", "this robot's link key file (robot-dreamer keys)", file=True)
    learner_keys: str = setting("", "key folder of the local learner (robot-dreamer keys)", file=True)
    insecure: bool = same(PolicyNodeSettings, "insecure")
    seed: int = setting(
        0,
        "of everything random; robot and noise have others where the run is started again, and repeat nothing",
        least=0,
        most=2**31 - 1,
    )
    params_file: str = setting(
        "",
        "ROS parameter file for simulated robot and policy node; what it says goes before these arguments",
        file=True,
    )
    remappings: tuple[str, ...] = setting((), "ROS names that are others, separated by spaces: OLD:=NEW OLD:=NEW")
    policy_node: Mapping[str, Parameter] = field(default_factory=dict)
    sim_robot: Mapping[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_all(self)
        if self.clock == "lockstep" and not self.sim:
            raise ValueError(
                "clock: lockstep needs the simulated robot, because a real one does not wait; use realtime"
            )
        if self.learner not in ("", LOCAL) and not self.learner.startswith("tcp://"):
            raise ValueError(f"learner: expected {LOCAL}, tcp://host:port or nothing, found {self.learner!r}")
        if not self.bind.startswith("tcp://"):
            raise ValueError(f"bind: expected tcp://address:port, found {self.bind!r}")
        if self.bundle and not self.robot and (self.task or self.sim or self.learner == LOCAL):
            raise ValueError(
                "robot: expected a name or a file, found nothing; of a bundle alone only the policy node takes it "
                "(sim:=false, a learner elsewhere or none, no task)"
            )
        if self.task and Path(self.robot).suffix in (".yaml", ".yml"):
            raise ValueError(f"task: {self.task!r} goes with a robot's name, not with a file ({self.robot})")
        if self.robots > 1 and not self.sim:
            raise ValueError(
                f"robots: {self.robots} are simulated ones; start real ones one by one, each with its robot_id"
            )
        if self.robots > 1 and self.keys:
            raise ValueError(
                "keys: each robot has a key of its own, and a fleet is given one file; leave out keys, or robots"
            )
        if self.params_file and not Path(self.params_file).is_file():
            raise ValueError(f"params_file: {self.params_file} is not a file")
        for rule in self.remappings:
            old, sign, new = rule.partition(":=")
            if not (old and sign and new):
                raise ValueError(f"remappings: expected OLD:=NEW, found {rule!r}")
        if self.bundle and not Path(self.bundle).is_file():
            raise ValueError(f"bundle: {self.bundle} is not a file")

    @property
    def spec(self) -> str:
        """Name or path of the RobotSpec; empty: the one inside the bundle."""
        robot = self.robot or ("" if self.bundle else "cartpole")
        return f"{robot}_{self.task}" if self.task else robot

    @property
    def learner_address(self) -> str:
        """What the policy node connects to; "" for none."""
        return connectable(self.bind) if self.learner == LOCAL else self.learner


def processes(options: Options) -> list[Process]:
    """The programs that `options` ask for, in the order in which they are started."""
    chosen = ((options.sim, _sim_robot), (options.policy, _policy_node))
    found = [_learner(options)] if options.learner == LOCAL else []
    for number, robot in enumerate(map(_at_this_start, _fleet(options)), 1):
        own = [make(robot) for wanted, make in chosen if wanted]
        found += own if options.robots == 1 else [replace(p, name=f"{p.name}_{number}") for p in own]
    return found


def connectable(bind: str) -> str:
    """The address at which a server that is bound to all interfaces is reached from this machine."""
    for everywhere in ("tcp://*:", "tcp://0.0.0.0:"):
        if bind.startswith(everywhere):
            return "tcp://127.0.0.1:" + bind[len(everywhere) :]
    return bind


def _fleet(options: Options) -> list[Options]:
    """The options of each robot."""
    if options.robots == 1:
        return [options]
    return [
        replace(
            options,
            robots=1,
            robot_id=f"{_identity(options)}_{number}",
            namespace=f"{options.namespace.rstrip('/')}/robot_{number}".lstrip("/"),
            seed=(options.seed + number * _SEEDS_APART) % 2**31,
        )
        for number in range(1, options.robots + 1)
    ]


def _identity(options: Options) -> str:
    """The robot's id, or what it has without one: its spec's name, as far as the name of a file or the bundle tells."""
    if not options.robot_id and not options.spec:
        # Without a learner nothing is kept under it, and the node asks for a bundle's signature before it is read.
        return spec_for("", Path(options.bundle)).name if options.learner_address else "robot"
    return options.robot_id or re.sub(r"[^A-Za-z0-9_.-]", "_", Path(options.spec).stem)


def _folder(options: Options) -> Path:
    """Of the robot: spool and bundles."""
    return options.logdir / f"robot-{_identity(options)}"


def _at_this_start(options: Options) -> Options:
    """With the seed of robot and noise at this start of the run, by what the robot has recorded at those before."""
    lived = spooled_ever(_folder(options) / SPOOL_FILE) if options.learner_address else 0
    return replace(options, seed=seed_of_start(options.seed, lived))


def _sim_robot(options: Options) -> Process:
    parameters: dict[str, Parameter] = {
        "robot": options.spec,
        "clock": options.clock,
        "seed": options.seed,
        "speed": options.speed,
        **options.sim_robot,
    }
    if options.clock == "realtime":
        parameters["watchdog"] = 0.5 if options.watchdog is None else options.watchdog
    return _node("sim_robot", "sim.node", parameters, options)


def _policy_node(options: Options) -> Process:
    parameters: dict[str, Parameter] = {
        "robot": options.spec,
        "robot_id": options.robot_id,
        "clock": options.clock,
        "learner": options.learner_address,
        "bundle": options.bundle,
        "logdir": str(_folder(options)),
        "deterministic": options.deterministic,
        "automatic": options.sim if options.automatic is None else options.automatic,
        "random_actions": options.sim if options.random_actions is None else options.random_actions,
        "use_sim_time": options.sim,
        "insecure": options.insecure,
        "keys": options.keys,
        "seed": options.seed,
        **options.policy_node,
    }
    return _node("policy_node", "ros_nodes.policy_node", parameters, options)


def _node(name: str, module: str, parameters: Mapping[str, Parameter], options: Options) -> Process:
    renamed = {old: new for old, _, new in (rule.partition(":=") for rule in options.remappings)}
    # Simulated robots share a domain but no world, so no clock; whose driver runs already has that of all others.
    space = options.namespace.strip("/")
    clock = {"/clock": f"/{space}/clock"} if options.sim and space else {}
    return Process(
        name,
        name,
        (module,),
        parameters=parameters,
        namespace=options.namespace,
        params_file=options.params_file,
        remappings=clock | renamed,
    )


def _learner(options: Options) -> Process:
    told = LearnerSettings(
        robot=options.spec,
        preset=options.preset,
        overrides=options.overrides,
        logdir=options.logdir,
        bind=options.bind,
        keys=options.learner_keys,
        insecure=options.insecure,
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        threads=options.threads,
        init_from=options.init_from,
        freeze=options.freeze,
        demonstrations=options.demonstrations,
    )
    return Process("learner", "learner", ("robot_dreamer.cli", "learn"), command_line(told), finishes=True)
