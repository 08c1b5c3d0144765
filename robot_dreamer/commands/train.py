"""`robot-dreamer train`: the whole split with a simulated robot, or an environment in this process."""

from __future__ import annotations

import argparse

from robot_dreamer.commands.options import add_training_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--robot", default="cartpole", help="train this robot in simulation by the real path: ROS 2, ONNX, ZeroMQ"
    )
    what.add_argument(
        "--env",
        help="train in this process, without ROS: dmc:walker_walk, atari:pong, crafter:reward, gym:CartPole-v1, "
        "robot:cartpole",
    )
    split = parser.add_argument_group("with --robot")
    split.add_argument(
        "--clock", choices=("lockstep", "realtime"), default="lockstep", help="whether the world waits for the action"
    )
    split.add_argument(
        "--speed", type=float, default=0.0, help="lockstep: at most this many times real time; 0: as fast as possible"
    )
    split.add_argument("--bind", help="address of the learner; default: a free port on loopback")
    split.add_argument("--evaluate", type=int, default=10, metavar="EPISODES", help="evaluation episodes at the end")
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0 when the budget was spent, 130 when a signal ended the run."""
    if args.env:
        from robot_dreamer.commands.train_local import train_local

        return train_local(args)
    from robot_dreamer.commands.train_split import train_split

    return train_split(args)
