"""`robot-dreamer report`: the page about a run, as a file or in a browser."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from robot_dreamer.option_types import whole_number
from robot_dreamer.report.page import write_report
from robot_dreamer.report.serve import ReportServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("logdir", type=Path, help="log directory of a run, finished, going on, or cut off")
    parser.add_argument(
        "--serve",
        action="store_true",
        help="show the page to browsers of this machine, made anew while the run goes on",
    )
    parser.add_argument("--port", type=whole_number(0, 65535), default=0, help="with --serve; 0: any free one")


def run(args: argparse.Namespace) -> int:
    """Write report.html there, or serve until Ctrl-C; 0."""
    logdir = args.logdir
    if not args.serve:
        if args.port:
            raise ValueError("--port: only with --serve")
        print(write_report(logdir))
        return 0
    with ReportServer(logdir, args.port) as server:
        print(f"{server.url} (this machine only; Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
