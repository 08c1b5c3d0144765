"""What a run's programs are told is checked before the first of them starts; each of them checks its part again."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from robot_dreamer.commands.options import resolved
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.keys import LearnerKeys, load_robot_keys
from robot_dreamer.link.security import require_protection
from robot_dreamer.processes import Options
from robot_dreamer.processes.table import LOCAL
from robot_dreamer.spec import RobotSpec, known_robots, load_spec, require_lockstep, require_own_topics


def require_startable(options: Options) -> None:
    """Raise ValueError or LinkError that says which argument one of the programs would refuse, and why; or
    ModuleNotFoundError for a package that one of them needs.

    Of a bundle alone nothing is read: the policy node asks for its signature first.
    """
    spec = load_spec(options.spec) if options.spec else None
    if spec is not None and options.policy:
        require_own_topics(spec)
    if spec is not None and options.clock == "lockstep":
        require_lockstep(spec)
    if spec is not None and options.sim:
        _require_simulated(spec, options)
    needed = {"torch": options.learner == LOCAL, "rclpy": options.sim or options.policy, "onnxruntime": options.policy}
    needed |= dict.fromkeys(("mujoco", "dm_control", "scipy"), options.sim)
    for package in (name for name, wanted in needed.items() if wanted):
        if importlib.util.find_spec(package) is None:  # imported it would take seconds
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    try:
        if options.learner == LOCAL:
            told = {"preset": options.preset, "set": options.overrides, "freeze": options.freeze}
            resolved(argparse.Namespace(**told, seed=options.seed, logdir=options.logdir))
            keys = Path(options.learner_keys) if options.learner_keys else None
            require_protection(options.bind, keys, options.insecure, "learner")
            if keys is not None:
                LearnerKeys(keys)
        if options.policy and options.learner_address:
            keys = Path(options.keys) if options.keys else None
            require_protection(options.learner_address, keys, options.insecure, "robot")
            if keys is not None:
                load_robot_keys(keys)
    except LinkError as error:
        raise ValueError(str(error)) from error


def _require_simulated(spec: RobotSpec, options: Options) -> None:
    """Raise SpecError if there can be no such simulated robot.

    One that ships is not built to see whether it can be: all programs would wait seconds for that.
    """
    if options.clock == "realtime":
        from sim.sensors import require_realtime  # not on a robot

        require_realtime(spec)
    if options.spec not in known_robots() or not spec.simulation:
        from sim.robot import SimRobot

        SimRobot(spec, options.seed)
