"""`robot-dreamer train`: the whole split with a simulated robot, or an environment in this process."""

from __future__ import annotations

import argparse

from robot_dreamer.commands.options import add_training_arguments, require_for_robots
from robot_dreamer.option_types import whole_number
from robot_dreamer.processes import Options
from robot_dreamer.settings.setting import add_options

_SPLIT = {
    "clock": "lockstep",
    "speed": 0.0,
    "robots": 1,
    "bind": None,
    "evaluate": 10,
}  # options of the split with their defaults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--robot", default="cartpole", help="train this robot in simulation by the real path: ROS 2, ONNX, ZeroMQ"
    )
    what.add_argument(
        "--env",
        help="train in this process, without ROS: dmc:walker_walk, atari:pong, crafter:reward, "
        "bsuite:catch/0, gym:CartPole-v1, robot:cartpole",
    )
    split = parser.add_argument_group("with --robot")
    absent = argparse.SUPPRESS  # so that it is seen whether one was given
    add_options(split, Options, ("clock", "speed", "robots"), clock=absent, speed=absent, robots=absent)
    split.add_argument("--bind", default=absent, help="address of the learner; default: a free port on loopback")
    split.add_argument(
        "--evaluate",
        type=whole_number(0),
        default=absent,
        metavar="EPISODES",
        help=f"evaluation episodes at the end; 0: none (default: {_SPLIT['evaluate']})",
    )
    add_training_arguments(parser, preset=None)


def require_read(args: argparse.Namespace) -> None:
    """Raise ValueError for options that nobody would read: those of the split with --env, of environments without."""
    given = [f"--{name}" for name in _SPLIT if name in args]
    if not args.env:
        require_for_robots(args.set)
    elif given:
        raise ValueError(f"{', '.join(given)}: only with --robot; --env trains in this process, without a split")


def run(args: argparse.Namespace) -> int:
    """Returns 0 when the budget was spent, 130 when a signal ended the run."""
    require_read(args)
    if args.env:
        from robot_dreamer.commands.train_local import train_local

        return train_local(args)
    from robot_dreamer.commands.train_split import train_split

    return train_split(argparse.Namespace(**{**_SPLIT, **vars(args)}))
