"""`robot-dreamer data`: what a store holds; bags out of it, bags into it."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.lerobot.choice import parse_choice
from robot_dreamer.data.select import parse_range


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    show = actions.add_parser("list", help="show what a store holds, and what is odd about it")
    show.add_argument("store", type=Path, help="log directory of a run, or a store (a file that ends in .sqlite)")
    show.add_argument("--episodes", action="store_true", help="one line per episode too")
    export = actions.add_parser("export", help="write a store into a bag, a LeRobotDataset or a Rerun recording")
    export.add_argument("store", type=Path, help="log directory of a run, or a store (a file that ends in .sqlite)")
    export.add_argument("--output", type=Path, required=True, help="what to make: NAME.mcap, NAME.rrd, or a folder")
    export.add_argument(
        "--format",
        choices=("mcap", "rosbag2", "lerobot", "rerun"),
        help="mcap: one file; rosbag2: a folder with SQLite storage; lerobot: a LeRobotDataset v3; rerun: a file for "
        "its viewer; default: by the name of the output",
    )
    export.add_argument("--video", action="store_true", help="lerobot: cameras as H.264, which loses; default: PNG")
    export.add_argument("--robot", help="only this robot")
    export.add_argument("--episodes", type=parse_range, help="only these of each robot, from 0: 7, 3:8, 3: or :8")
    export.add_argument("--discarded", action="store_true", help="episodes that must not be learned from, too")
    load = actions.add_parser("import", help="read a bag, a LeRobotDataset or a store into a store, to learn from it")
    load.add_argument("bag", type=Path, help="a .mcap or .db3 file, a folder of ros2 bag or LeRobot, or a store or run")
    load.add_argument("--spec", help="name of a robot, or path to its RobotSpec; exports and stores bring their own")
    load.add_argument("--namespace", default="/", help="where the spec's topics are in an ordinary bag, e.g. /arm1")
    load.add_argument("--robot", help="id of the robot that data of others is of; default: the spec's name")
    load.add_argument(
        "--map",
        type=parse_choice,
        action="append",
        default=[],
        metavar="FEATURE=NAME",
        help="of a LeRobotDataset of others: which feature is which observation, action, reward or terminal",
    )
    load.add_argument("--store", type=Path, required=True, help="log directory of a run or a .sqlite file; may be new")
    save = actions.add_parser("salvage", help="save what is whole of a damaged store into a new one")
    save.add_argument("store", type=Path, help="log directory of a run, or a store (a file that ends in .sqlite)")
    save.add_argument("--output", type=Path, required=True, help="the new store, NAME.sqlite")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 if an import stored less than the bag holds. Raises DataError, LinkError, SpecError."""
    try:
        from robot_dreamer.commands import data_actions
    except ModuleNotFoundError as missing:
        raise DataError(f"this needs a package more ({missing}): pip install 'robot_dreamer[data]'") from missing
    actions = {
        "list": data_actions.show,
        "export": data_actions.export,
        "import": data_actions.load,
        "salvage": data_actions.save,
    }
    return actions[args.action](args)
