"""The wiggle of `robot-dreamer check`: moves the robot's joints and asks a person what moved."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from robot_dreamer.preflight.findings import Finding, stop
from robot_dreamer.preflight.motions import SECONDS, Motion, motions_of
from robot_dreamer.preflight.wiggle import Trial, question, trial_findings, unsure, untried
from robot_dreamer.spec import RobotSpec

if TYPE_CHECKING:
    from ros_nodes.wiggle import Wiggler

_CONSENT = "move"
_TRIES = 3  # of a motion, where a busy computer spoiled it
Ask = Callable[[str], str]
Watch = Callable[[], AbstractContextManager[threading.Event]]


def require_person() -> None:
    """Raise ValueError without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ValueError("--wiggle: expected a terminal, with a person who watches the robot; found none")


@contextmanager
def any_key() -> Iterator[threading.Event]:
    """Set as soon as a key is pressed inside the `with` block."""
    from robot_dreamer.commands.keyboard import Keyboard

    pressed = threading.Event()
    with Keyboard(lambda key: pressed.set()):
        yield pressed


def wiggle_findings(
    spec: RobotSpec, namespace: str, sim_time: bool, ask: Ask = input, watch: Watch = any_key
) -> Iterator[Finding]:
    """Move one joint after the other. What speaks against it is a finding, and nothing moves.

    Args:
      ask: shows a text to a person and gives the answer.
      watch: a `with` block around each motion; what it gives is set when the person wants it to end.
    """
    from ros_nodes.wiggle import wiggling

    try:
        motions = motions_of(spec)
    except ValueError as error:
        yield stop("wiggle", str(error), "leave --wiggle out, or mend the spec")
        return
    if ask(_warning(motions)).strip() != _CONSENT:
        yield untried(motions, "nobody agreed")
        return
    with wiggling(spec, namespace, sim_time) as wiggler:
        try:
            wiggler.start()
        except ValueError as error:
            yield stop("wiggle", f"nothing was moved: {error}", "mend it and check again")
            return
        yield from _one_after_the_other(wiggler, motions, ask, watch)


def _one_after_the_other(wiggler: Wiggler, motions: list[Motion], ask: Ask, watch: Watch) -> Iterator[Finding]:
    for n, motion in enumerate(motions):
        print(
            f"{n + 1} of {len(motions)}: {motion.name} by {motion.amplitude:.3g} {motion.unit}; any key stops",
            flush=True,
        )
        trial = _moved(wiggler, motion, watch)
        answer = "" if trial.halted else ask(question(motion)).strip()
        if wiggler.halted:  # meanwhile, too
            yield stop("wiggle", f"{motion.name} was stopped: {wiggler.halted}", "look why before anything moves again")
            yield from [untried(motions[n + 1 :], "it was stopped before")] if motions[n + 1 :] else []
            return
        if answer.lower() == "q":
            yield untried(motions[n:], "the person ended it")
            return
        yield from trial_findings(trial, answer)


def _moved(wiggler: Wiggler, motion: Motion, watch: Watch) -> Trial:
    for left in reversed(range(_TRIES)):
        with watch() as pressed:
            trial = wiggler.move(motion, pressed.is_set)
        why = "" if trial.halted else unsure(trial)
        if not why or not left:
            break
        print(f"{why}: once more", flush=True)
    return trial


def _warning(motions: list[Motion]) -> str:
    lines = [f"  {m.name:24} {m.kind:9} by {m.amplitude:.3g} {m.unit}" for m in motions]
    return "\n".join(
        [
            f"The robot will move: one joint after the other, {SECONDS:g} s each, to and fro around where it stands.",
            *lines,
            "Nobody within its reach; hang up or hold what can fall; the hardware's emergency stop in your hand.",
            f"Type {_CONSENT} to begin, anything else not to: ",
        ]
    )
