"""`robot-dreamer check`: one verdict about a robot before a motor moves. Exit status 0 is GO, 1 NO-GO."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from robot_dreamer.commands.check_offline import bundle_findings, learner_findings, simulation_findings, spec_findings
from robot_dreamer.commands.check_wiggle import require_person, wiggle_findings
from robot_dreamer.commands.names import require_namespace
from robot_dreamer.data.errors import DataError
from robot_dreamer.option_types import number
from robot_dreamer.preflight.findings import Finding, is_go, stop, table, warning
from robot_dreamer.spec import RobotSpec, SpecError, load_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("robot", help="name of a robot, or path to its RobotSpec")
    parser.add_argument("--preset", default="robot", help="what shall learn on it, see robot-dreamer list")
    parser.add_argument("--bundle", type=Path, help="a bundle that shall act on it")
    heard = parser.add_mutually_exclusive_group()
    heard.add_argument(
        "--bag", type=Path, help="a recording of the robot: a .mcap or .db3 file, or a folder of ros2 bag"
    )
    heard.add_argument(
        "--live",
        type=number(1, 600),
        metavar="SECONDS",
        help="listen to the robot for so long; nothing is sent. Move it by hand meanwhile: signs and scales show",
    )
    parser.add_argument("--namespace", help="with --live or --bag: where the spec's topics are, e.g. /arm1")
    parser.add_argument(
        "--wiggle",
        action="store_true",
        help="with --live: if nothing stops it, MOVE one joint after the other, a little; a person agrees and watches",
    )
    parser.add_argument("--sim-time", action="store_true", help="with --live: the robot's time is that of /clock")


def run(args: argparse.Namespace) -> int:
    """Print all findings and the verdict. Raises ValueError for an option that nobody would read."""
    _require_read(args)
    findings = list(_findings(args))
    if args.wiggle:
        findings += _wiggled(args, findings)
    print(table(findings, _grounds(args)))
    return 0 if is_go(findings) else 1


def _require_read(args: argparse.Namespace) -> None:
    if args.sim_time and args.live is None:
        raise ValueError("--sim-time is read with --live alone: leave it out, or add --live SECONDS")
    if args.namespace is not None and args.live is None and args.bag is None:
        raise ValueError("--namespace is read with --live or --bag alone: leave it out, or add one of them")
    if args.wiggle:
        if args.live is None:
            raise ValueError("--wiggle needs --live SECONDS: nothing is moved before the robot was listened to")
        require_person()
    require_namespace(args.namespace or "/")


def _grounds(args: argparse.Namespace) -> str:
    """What the verdict rests on."""
    if args.live is not None:
        return f"after {args.live:g} s of listening{' and a wiggle' if args.wiggle else ''}"
    if args.bag is not None:
        return f"by the recording {args.bag}"
    return "on paper: nothing was heard of the robot, see --live and --bag"


def _findings(args: argparse.Namespace) -> Iterable[Finding]:
    try:
        spec = load_spec(args.robot)
    except SpecError as error:
        yield stop("spec", str(error), "mend it; docs/onboard.md says what each part may be")
        return
    yield from spec_findings(spec)
    yield from learner_findings(spec, args.preset)
    yield from simulation_findings(spec)
    if args.bundle is not None:
        yield from bundle_findings(spec, args.bundle)
    if args.bag is not None:
        yield from _recorded(spec, args.bag, args.namespace or "/")
    if args.live is not None:
        from ros_nodes.preflight import listen

        yield from listen(spec, args.live, args.namespace or "/", args.sim_time)


def _wiggled(args: argparse.Namespace, findings: list[Finding]) -> Iterable[Finding]:
    if not is_go(findings):
        return [warning("wiggle", "nothing was moved: what stops the robot comes first", "mend that and check again")]
    print(table(findings, "so far"))
    return wiggle_findings(load_spec(args.robot), args.namespace or "/", args.sim_time)


def _recorded(spec: RobotSpec, bag: Path, namespace: str) -> Iterable[Finding]:
    try:
        from robot_dreamer.commands.check_bag import bag_findings
    except ModuleNotFoundError as missing:
        raise DataError(f"this needs a package more ({missing}): pip install 'robot_dreamer[data]'") from missing
    return bag_findings(spec, bag, namespace)
