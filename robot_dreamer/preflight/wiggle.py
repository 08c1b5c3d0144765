"""Findings from a joint that was moved on purpose: what sensors say followed the command, and what a person saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from robot_dreamer.preflight.evidence import Evidence, Heard
from robot_dreamer.preflight.findings import Finding, Weight, note, stop, warning
from robot_dreamer.preflight.follow import rms
from robot_dreamer.preflight.joints import shows
from robot_dreamer.preflight.motions import SECONDS, Motion
from robot_dreamer.spec.source import JOINT_STATE
from robot_dreamer.spec.units import si

_ALIKE = 0.7  # correlation with the command that is no chance
_MOVED = 0.15  # of what was commanded, rms
_PUSHED = 0.003  # rms, rad, m, rad/s or m/s: by an effort, whose effect nobody knows beforehand
_LAGS = np.arange(0.0, 0.6, 0.02)  # seconds that a joint may be late
_SCALE = (0.5, 2.0)
_SILENCE = 0.3  # seconds without a command or a reading in which a wave of 2 s loses its shape
_ORDER = {"position": 0, "velocity": 1, "effort": 2}  # how often the command is derived from a position


@dataclass
class Trial:
    """One motion as it was.

    Attributes:
      times, commands: seconds on the clock of the stamps, and the joint's command less its rest.
      evidence: what was heard meanwhile.
      halted: why it was cut short; empty if it was not.
    """

    motion: Motion
    evidence: Evidence
    times: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    halted: str = ""


@dataclass(frozen=True)
class _Response:
    """How a joint followed; size: rms of its movement, slope: as a share of what was commanded. Of joints that are not
    those of the action the name says the topic too."""

    name: str
    correlation: float
    size: float
    slope: float
    moved: bool


def unsure(trial: Trial) -> str:
    """Why what speaks against the joint may be the doing of the computer or the network; empty if it is not."""
    silence = _silence(trial)
    if silence <= _SILENCE or (trial.times and _judged(trial).weight is not Weight.STOP):
        return ""
    return f"no command or no reading for {silence:.1f} s amid the motion"


def trial_findings(trial: Trial, answer: str) -> Iterator[Finding]:
    """Of a motion that ran to its end; answer: a person's, see `question`."""
    yield _seen_by_sensors(trial)
    yield _seen_by_person(trial.motion, answer)


def question(motion: Motion) -> str:
    """To the person who watched."""
    way = {"position": "towards larger", "velocity": "with positive", "effort": "with positive"}[motion.kind]
    return (
        f"{motion.name} was moved, first {way} {motion.unit}, then as far the other way, and back. "
        "Was it that one, and that way? [y]es, [n]o it went the other way, or type what moved; q ends: "
    )


def _seen_by_person(motion: Motion, answer: str) -> Finding:
    where = f"wiggle {motion.name}"
    if answer.lower() in ("y", "yes"):
        return note(where, "a person saw it move, and the way that the spec says")
    if answer.lower() in ("n", "no"):
        return stop(
            where,
            "reversed: a person saw it move the other way than the spec says",
            "give the command and what is measured a negative `scale`; look at the motor's direction",
        )
    return stop(
        where,
        f"swapped: a person saw {answer or 'nothing'} move when {motion.name} was commanded",
        "mend the order of command.names (it is the controller's), or the wiring",
    )


def _seen_by_sensors(trial: Trial) -> Finding:
    if why := unsure(trial):
        where = f"wiggle {trial.motion.name}"
        return warning(where, f"sensors cannot judge it: {why}", "end what else keeps the computer busy; check again")
    return _judged(trial)


def _judged(trial: Trial) -> Finding:
    motion, where = trial.motion, f"wiggle {trial.motion.name}"
    responses = _responses(trial)
    own = next((r for r in responses if r.name == motion.name), None)
    if own is None:
        return note(where, "no quantity of the spec shows it: what a person saw is all that there is")
    if own.moved and own.correlation > _ALIKE:
        if motion.kind == "position" and not _SCALE[0] < own.slope < _SCALE[1]:
            text = f"it moved {own.slope:.2g} times as far as commanded"
            return warning(where, text, "look at the scales of command and observation, and at the controller's gains")
        return note(where, f"it follows its command (correlation {own.correlation:.2f})")
    if own.moved and own.correlation < -_ALIKE:
        text = f"reversed: it moved against its command (correlation {own.correlation:.2f})"
        return stop(
            where, text, "give the command or what is measured a negative `scale`: whichever a person saw wrong"
        )
    others = [r for r in responses if r.name != motion.name and r.moved and abs(r.correlation) > _ALIKE]
    if others:
        other = max(others, key=lambda r: r.size)
        against = ", and against the command" if other.correlation < 0 else ""
        text = f"swapped: {other.name} moved when {motion.name} was commanded{against}"
        return stop(where, text, "mend the order of command.names if a person saw the same, else the sensor's names")
    found = f"correlation {own.correlation:.2f}" if own.moved else "it stood still"
    text = f"it did not follow its command ({found}), and no other joint did"
    return stop(where, text, "is its motor on, its brake off, its controller active? Or is the effort too small?")


def _silence(trial: Trial) -> float:
    """The longest time within the wave without a command, or without a reading that is to answer it, seconds; what is
    always that slow does not count."""
    if not trial.times:
        return SECONDS
    longest, began = 0.0, trial.times[0]
    for times in (trial.times, *(heard.track.times for heard in _telling(trial))):
        within = [began, *(t for t in sorted(times) if began < t < began + SECONDS), began + SECONDS]
        apart = np.diff(within)
        if apart.max() > 5 * np.median(apart):
            longest = max(longest, float(apart.max()))
    return longest


def _telling(trial: Trial) -> Iterator[Heard]:
    """What shows where joints are or how they move, often enough."""
    for heard in trial.evidence.heard.values():
        source = heard.spec.source
        if source.type == JOINT_STATE and source.field in ("position", "velocity") and len(heard.track.times) >= 5:
            yield heard


def _responses(trial: Trial) -> list[_Response]:
    """Of each joint that a JointState of the spec shows, by the field that is nearest to the command."""
    spec, found = trial.evidence.spec, dict[str, tuple[int, _Response]]()
    (action,) = (a for a in spec.actions if a.name == trial.motion.action)
    for heard in _telling(trial):
        steps = _ORDER[trial.motion.kind] - _ORDER[heard.spec.source.field]
        whose = "" if shows(spec, heard.spec, action) else f" of {heard.spec.source.topic}"
        for response in _followed(trial, heard, steps, whose):
            if response.name not in found or abs(steps) < found[response.name][0]:
                found[response.name] = (abs(steps), response)
    return [response for _, response in found.values()]


def _followed(trial: Trial, heard: Heard, steps: int, whose: str) -> Iterator[_Response]:
    """Of each joint of a quantity.

    Args:
      steps: how often the command is integrated to be what this quantity shows; negative: derived.
      whose: behind the names.
    """
    times = np.asarray(trial.times)
    wanted = np.asarray(trial.commands) * si(trial.motion.unit)
    for _ in range(steps):
        wanted = np.concatenate([[0.0], np.cumsum(np.diff(times) * (wanted[1:] + wanted[:-1]) / 2)])
    for _ in range(-steps):
        wanted = np.gradient(wanted, times)
    at = np.asarray(heard.track.times)
    readings = heard.track.array * si(heard.spec.unit)
    inside = (at >= times[0]) & (at <= times[-1] + _LAGS[-1])
    at, readings = at[inside], readings[inside]
    if len(at) < 5:
        return
    models = np.stack([np.interp(at - lag, times, wanted) for lag in _LAGS])
    models -= models.mean(1, keepdims=True)
    for name, column in zip(heard.track.names, readings.T, strict=True):
        moved = column - column.mean()
        size, expected = rms(moved), rms(models[0])
        if size == 0.0 or expected == 0.0:
            yield _Response(name + whose, 0.0, 0.0, 0.0, False)
            continue
        correlations = models @ moved / np.sqrt((models**2).sum(1) * (moved @ moved))
        best = int(np.argmax(np.abs(correlations)))
        least = _PUSHED if trial.motion.kind == "effort" else _MOVED * expected
        yield _Response(name + whose, float(correlations[best]), size, size / expected, size > least)


def untried(motions: list[Motion], why: str) -> Finding:
    """What was not tried, or not to its end."""
    names = ", ".join(motion.name for motion in motions)
    return warning("wiggle", f"not tried: {names}: {why}", f"a wiggle takes {SECONDS:g} s a joint; check again")
