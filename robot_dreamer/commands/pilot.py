"""`robot-dreamer pilot`: a console for whoever stands beside the robot. Exit status 1: a stop was never answered."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import TYPE_CHECKING

from rich.live import Live

from robot_dreamer.commands.call import WORDS
from robot_dreamer.commands.keyboard import Keyboard
from robot_dreamer.commands.names import require_namespace
from robot_dreamer.endings import ended_by
from robot_dreamer.report.cockpit import Part, View, panel
from robot_dreamer.report.console import plain_console

if TYPE_CHECKING:
    from ros_nodes.pilot import Pilot

_REFRESH = 0.2  # seconds between two looks
_QUIT = "q"
_BY_KEY = {word.key: name for name, word in WORDS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--namespace", default="/", help="where the policy node is, e.g. /arm1")


def run(args: argparse.Namespace) -> int:
    """Show the node and obey the keys until q or Ctrl-C. Raises ValueError without a terminal."""
    require_namespace(args.namespace)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ValueError("expected a terminal for panel and keys, found none; in scripts use robot-dreamer call")
    from ros_nodes.pilot import piloting

    name = f"/{args.namespace.strip('/')}/policy".replace("//", "/")
    left = threading.Event()

    def press(key: str) -> None:
        if key in _BY_KEY:
            pilot.say(_BY_KEY[key])
        elif key == _QUIT:
            left.set()

    with piloting(name, tuple(WORDS)) as pilot:
        with (
            ended_by(lambda *_: left.set()),  # the terminal is given back as it was
            Keyboard(press) as keyboard,
            Live(panel(_view(name, pilot)), console=plain_console(), auto_refresh=False) as live,
        ):
            while not (left.wait(_REFRESH) or keyboard.gone.is_set()):
                live.update(panel(_view(name, pilot)), refresh=True)
        waited = pilot.unanswered
    if waited is None:
        return 0
    print(f"{name} has not answered a stop for {waited:.0f} s: use the emergency stop in your hand", file=sys.stderr)
    return 1


def _view(name: str, pilot: Pilot) -> View:
    keys = [("space" if word.key == " " else word.key, text) for text, word in WORDS.items()]
    keys.sort(key=lambda entry: entry[0] != "space")  # the stop is what one sees first
    age = None if pilot.heard is None else time.monotonic() - pilot.heard
    parts = {name: Part(*part) for name, part in pilot.parts.items()}
    return View(name, age, parts, pilot.unanswered, list(pilot.said), [*keys, (_QUIT, "leave; the robot goes on")])
