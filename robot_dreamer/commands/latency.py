"""`robot-dreamer latency`: how late a robot is, for its simulation."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.spec import load_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    measure = actions.add_parser("fit", help="measure recordings of a robot; prints simulation.delay for its RobotSpec")
    measure.add_argument(
        "bags", type=Path, nargs="+", metavar="BAG", help="a .mcap or .db3 file, or a folder of ros2 bag"
    )
    measure.add_argument("--robot", required=True, help="name of a robot, or path to its RobotSpec")
    measure.add_argument("--namespace", default="/", help="where the spec's topics are in the bag, e.g. /arm1")


def run(args: argparse.Namespace) -> int:
    """Print a line per topic and recording, then the section; 0. Raises DataError, SpecError."""
    from robot_dreamer.data.latency import fit  # needs the extra data

    found = fit(args.bags, load_spec(args.robot), args.namespace)
    for t in found.topics:
        much = f"{1e3 * t.seconds:.1f} ms late, jitter {1e3 * t.jitter:.1f} ms, {100 * t.loss:.1f} % lost"
        print(f"# {t.bag.name}, {t.topic}: {much} ({t.messages} messages)")
    for topic in found.unstamped:
        print(f"# {topic}: no stamps, so nothing can be said")
    print(found.yaml(), end="")
    return 0
