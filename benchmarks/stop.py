"""How long a robot goes on after somebody, or something, has stopped it: each way to stop in each state.

    python -m benchmarks.stop [--repeats 5] [--ways topic service ...] [--states running standing ...]

The policy node is a process of its own at 50 Hz, in real time, with random actions and the reactions of
stop_scene.SPEC. Measured is the time from the press (just before the message, the call, the signal) until the arrival,
at the robot, of the last command that does not belong to the reaction; the longest of all repeats counts. Prints the
table of docs/safety.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.stop_scene import ACTIVATE, DEACTIVATE, NEUTRAL, PATIENCE, RAMP, RATE, SHUTDOWN, STEP, WATCHDOG, Scene  # noqa: E402
from robot_dreamer.processes.ros_domain import own_domain  # noqa: E402

Numbers = NDArray[np.float64]
Belongs = Callable[[Numbers, Numbers], bool]
"""Whether a command belongs to a reaction, given the one before it."""

HAND, OTHER_HAND = np.array([1.0, 0.5]), np.array([-1.0, 0.25])
WINDOW = 1.0  # seconds after the press in which commands are looked at
PHASES = (0.8, 1.0)  # of a control period in which is pressed: just before the next tick most is under way
QUIET = 0.3  # seconds without a command that say that nobody drives
NO_STOP = "–"


class Overrun(NamedTuple):
    """Seconds from the press to the arrival of the last command that does not belong to the reaction, and how many of
    them came. 0, 0: none.
    """

    seconds: float
    commands: int


def overrun(pressed: float, commands: Sequence[tuple[float, Numbers]], belongs: Belongs) -> Overrun:
    """`commands`: arrival (seconds of the clock of `pressed`) and numbers, from before the press on."""
    strays = [
        arrival
        for (_, last), (arrival, numbers) in zip(commands, commands[1:], strict=False)
        if arrival > pressed and not belongs(last, numbers)
    ]
    return Overrun(strays[-1] - pressed, len(strays)) if strays else Overrun(0.0, 0)


def silence(last: Numbers, numbers: Numbers) -> bool:
    """The reaction damp: no command at all."""
    return False


def on_the_ramp(last: Numbers, numbers: Numbers) -> bool:
    """One step of the way to the safe pose, or there."""
    return bool(np.allclose(numbers, np.clip(NEUTRAL, last - STEP, last + STEP), atol=1e-9))


def neutral(last: Numbers, numbers: Numbers) -> bool:
    return not numbers.any()


def commanded(hand: Numbers) -> Belongs:
    """By a person's hand, whatever the policy wants."""
    return lambda last, numbers: bool(np.array_equal(numbers, hand))


class State(NamedTuple):
    """A state of a robot under a policy node: how it is led there, and its name in the table."""

    enter: Callable[[Scene], object]
    shown: str


class Way(NamedTuple):
    """How a robot is stopped.

    Attributes:
      press: does it.
      belongs: what the robot gets from then on.
      states: in which it exists.
      ends: the policy node ends, or can act no more.
      shown: name in the table.
    """

    press: Callable[[Scene], object]
    belongs: Belongs
    states: tuple[str, ...]
    shown: str
    ends: bool = False


def to_inactive(scene: Scene) -> None:
    answer = scene.transit(DEACTIVATE)
    scene.until(answer.done, "the deactivation")


def to_standing(scene: Scene) -> None:
    scene.ask("stand")
    scene.commanded(3, on_the_ramp, "the safe pose")


def to_running(scene: Scene) -> None:
    scene.ask("policy")
    scene.commanded(5, lambda last, numbers: not on_the_ramp(last, numbers), "the policy's commands")


def to_person(scene: Scene) -> None:
    to_running(scene)
    scene.robot.hand = HAND
    scene.commanded(5, commanded(HAND), "the person's commands")


def to_silent(scene: Scene) -> None:
    to_running(scene)
    scene.robot.speaks = False
    scene.commanded(2, on_the_ramp, "the way to the safe pose")


def to_resetting(scene: Scene) -> None:
    scene.resetting.clear()
    scene.reset_may_end.clear()
    scene.ask("policy")
    scene.until(scene.resetting.is_set, "the reset")
    scene.commanded(2, neutral, "neutral commands")


def to_ramping(scene: Scene) -> None:
    to_running(scene)
    scene.ask("stand")
    scene.commanded(2, on_the_ramp, "the way to the safe pose")


def to_ending(scene: Scene) -> None:
    to_running(scene)
    scene.transit(DEACTIVATE)
    scene.commanded(2, on_the_ramp, "the way to the safe pose")


def to_fault(scene: Scene) -> None:
    to_running(scene)
    scene.robot.tilted = True
    scene.commanded(2, on_the_ramp, "the way to the safe pose")


STATES: dict[str, State] = {
    "inactive": State(to_inactive, "inactive"),
    "passive": State(lambda scene: None, "PASSIVE"),
    "standing": State(to_standing, "STAND, there"),
    "ramping": State(to_ramping, "STAND, on the ramp"),
    "running": State(to_running, "POLICY, an episode"),
    "person": State(to_person, "a person drives"),
    "silent": State(to_silent, "sensors silent, on the ramp"),
    "resetting": State(to_resetting, "resetting"),
    "fault": State(to_fault, "FAULT `tilt`, on the ramp"),
    "ending": State(to_ending, "deactivating, on the ramp"),
}
DRIVEN = ("standing", "ramping", "running", "person", "silent", "resetting", "fault")
WAYS: dict[str, Way] = {
    "topic": Way(lambda s: s.press(True), silence, tuple(STATES), "topic `e_stop`"),
    "service": Way(lambda s: s.call("e_stop"), silence, tuple(STATES), "service `~/e_stop`"),
    "passive": Way(lambda s: s.call("passive"), on_the_ramp, DRIVEN[:-1], "service `~/passive`"),
    "take_over": Way(lambda s: s.take_over(True), neutral, ("running",), "service `~/take_over`"),
    "hand": Way(
        lambda s: setattr(s.robot, "hand", OTHER_HAND),
        commanded(OTHER_HAND),
        ("running", "person"),
        "a person's command",
    ),
    "limit": Way(
        lambda s: setattr(s.robot, "warm", True),
        silence,
        ("standing", "ramping", "running", "person"),
        "guard: `limit`",
    ),
    "stale": Way(
        lambda s: setattr(s.robot, "speaks", False), on_the_ramp, ("running", "person"), "guard: a sensor is silent"
    ),
    "deactivate": Way(lambda s: s.transit(DEACTIVATE), on_the_ramp, DRIVEN, "lifecycle: deactivate"),
    "shutdown": Way(lambda s: s.transit(SHUTDOWN), on_the_ramp, DRIVEN, "lifecycle: shutdown", ends=True),
    "sigint": Way(lambda s: s.kill(signal.SIGINT), on_the_ramp, (*DRIVEN, "ending"), "SIGINT", ends=True),
    "sigterm": Way(lambda s: s.kill(signal.SIGTERM), on_the_ramp, (*DRIVEN, "ending"), "SIGTERM", ends=True),
    "sigkill": Way(
        lambda s: s.kill(signal.SIGKILL), silence, (*DRIVEN, "ending"), "SIGKILL: the robot's watchdog", ends=True
    ),
}


def measure(scene: Scene, name: str, state: str, phase: float) -> Overrun:
    """Lead the robot into a state, press, and look at what still comes.

    `phase`: of the control period, from the arrival of a command to the press; no matter where none comes.
    """
    way = WAYS[name]
    if scene.process is None:
        scene.begin()
    STATES[state].enter(scene)
    scene.wait(phase / RATE)
    begin = max(0, len(scene.robot.commands) - 1)
    pressed = scene.robot.heard if name == "stale" else time.monotonic()
    way.press(scene)
    if name == "sigkill":
        scene.until(lambda: not scene.robot.watchdog.obey(), "the watchdog")
        obeyed = time.monotonic() - pressed
    time.sleep(WINDOW)
    found = overrun(pressed, scene.robot.commands[begin:], way.belongs)
    if name == "sigkill":
        scene.renew()
    elif way.ends:
        by_itself = scene.process.wait(PATIENCE) if name in ("sigint", "sigterm") else 0
        if by_itself or scene.end():
            raise RuntimeError(f"{name} in {state}: the policy node ended with another status than 0")
    recover(scene)
    return Overrun(obeyed, found.commands) if name == "sigkill" else found


def recover(scene: Scene) -> None:
    """Back to PASSIVE, sound, and with nothing pressed."""
    scene.robot.soothe()
    scene.reset_may_end.set()
    scene.press(False)
    if scene.process is None:
        return
    scene.until(scene.transit(ACTIVATE).done, "an answer")  # refused where it is active
    scene.until(scene.take_over(False).done, "an answer")
    scene.until(lambda: scene.ask("clear_fault").success, "a fault to be cleared", pause=0.05)
    scene.ask("passive")
    scene.until(lambda: time.monotonic() - scene.robot.commanded_at > QUIET, "silence")


def cell(found: Sequence[Overrun]) -> str:
    """The longest of all repeats, and the most commands that came in one."""
    seconds, commands = max(x.seconds for x in found), max(x.commands for x in found)
    return f"{1e3 * seconds:.0f} ms, {commands}" if seconds else "0"


def table(ways: Sequence[str], states: Sequence[str], cells: Mapping[tuple[str, str], str]) -> str:
    """Markdown: a row for each way, a column for each state."""
    lines = ["| | " + " | ".join(STATES[state].shown for state in states) + " |", "|---" * (len(states) + 1) + "|"]
    for way in ways:
        row = (cells.get((way, state), NO_STOP) for state in states)
        lines.append(f"| {WAYS[way].shown} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure all cells, print them as they come, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of each cell; the longest counts")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], help="to stop")
    parser.add_argument("--states", nargs="+", choices=STATES, default=[*STATES], help="to stop in")
    options = parser.parse_args()
    print(
        f"{machine('rclpy')}\n{options.repeats} repeats, {RATE:g} Hz, ramp {RAMP:g} s, watchdog {WATCHDOG:g} s\n",
        flush=True,
    )
    cells: dict[tuple[str, str], str] = {}
    with own_domain() as domain, tempfile.TemporaryDirectory() as folder:
        os.environ |= domain
        scene = Scene(Path(folder))
        try:
            for way in options.ways:
                for state in (state for state in WAYS[way].states if state in options.states):
                    found = [measure(scene, way, state, phase) for phase in np.linspace(*PHASES, options.repeats)]
                    cells[way, state] = cell(found)
                    each = ", ".join(f"{1e3 * x.seconds:.0f}" for x in found)
                    print(f"{way} in {state}: {cells[way, state]} ({each} ms)", flush=True)
        finally:
            scene.close()
    print(f"\n{table(options.ways, options.states, cells)}")


if __name__ == "__main__":
    main()
