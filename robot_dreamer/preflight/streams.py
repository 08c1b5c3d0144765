"""Findings about messages as such: whether they come, how often, how old, by which clock, from whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from robot_dreamer.preflight.evidence import MOST, Evidence, Stream
from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.source import MAX_AGE

_SLOW, _TOO_SLOW = 0.9, 0.5  # of the spec's rate
_SPEED = 0.1  # that stamps and receipts may run apart
_OTHER_CLOCK = 3600.0  # seconds; as the policy node sees it
_AHEAD = 0.1  # seconds that a stamp may be after now
_GAP = 1.5  # usual steps; a longer one has lost messages
_LOST, _MANY_LOST = 0.02, 0.2  # shares of messages
_PLACES = 3  # gaps; fewer are a pause of a driver, or of ours
_FEW = 10  # messages; of fewer nothing is said of rates
_CLOCKS = "synchronise the clocks of all computers (chrony), and let the driver stamp when it measures"


def stream_findings(evidence: Evidence, seconds: float, told: Collection[str] = ()) -> Iterator[Finding]:
    """Of all topics that the spec reads; see `judge.findings_of`."""
    for stream in evidence.streams.values():
        where = f"topic {stream.topic}"
        if stream.count > MOST:
            text = f"stamps, ages and numbers are those of the first {MOST:,} of its {stream.count:,} messages"
            yield note(where, f"{text}; the rest was not compared: check it as a recording of its own")
        if stream.source is None:
            continue
        if not stream.count:
            if stream.topic in told:
                continue
            yield stop(
                where,
                f"no {stream.kind} came within {seconds:.3g} s",
                "start the driver; or mend the topic in the spec (a namespace?), or its type",
            )
            continue
        if stream.source.hold:
            continue
        event = stream.topic in {source.topic for source in evidence.spec.signals.values()}
        yield from _age(where, stream, evidence.spec.period)
        if not event:  # they come when they come
            yield from _rate(where, stream, evidence.spec, seconds)
        yield from _between(where, stream, seconds, event)
        yield from _lost(where, stream)
        yield from _sources(where, stream)
    for problem, count in evidence.signal_problems.items():
        yield stop("reward, terminal or commands", f"{problem} ({count} times)", "mend the driver, or the spec")


def _rate(where: str, stream: Stream, spec: RobotSpec, seconds: float) -> Iterator[Finding]:
    """Whoever raises max_age above what it is by itself says that the sensor may be so slow."""
    least = min(spec.rate, 1 / stream.max_age) if stream.max_age > MAX_AGE else spec.rate
    rate = stream.pace.rate or (1 / stream.step if stream.step else 0.0)
    if stream.count < _FEW and seconds * least < _FEW:
        text = f"{stream.count} messages in {seconds:.3g} s are too few to tell how often it comes"
        yield warning(where, text, f"listen for longer: {math.ceil(_FEW / least)} s at least")
    elif stream.count < _FEW:
        yield stop(where, f"only {stream.count} messages came", "let it be published at the spec's rate at least")
    elif rate < _TOO_SLOW * least:
        yield stop(
            where,
            f"expected {spec.rate:g} Hz at least (the rate of the spec), found {rate:.3g} Hz",
            "speed the driver up, or lower `rate` in the spec: most observations would be repetitions; what may be "
            "slow says so by its max_age",
        )
    elif rate < _SLOW * spec.rate:
        yield warning(
            where,
            f"expected {spec.rate:g} Hz at least, found {rate:.3g} Hz: values repeat",
            "speed the driver up, or lower `rate` in the spec",
        )
    else:
        yield note(where, f"{rate:.3g} Hz")


def _between(where: str, stream: Stream, seconds: float, event: bool) -> Iterator[Finding]:
    """Messages that are fresh when they come, and stale before the next one does. Events age from their receipt."""
    age = max(0.0, float(np.median(stream.ages))) if stream.ages and not event else 0.0
    step = stream.step if stream.count > 1 else seconds
    parts = stream.source is not None and stream.source.parts  # each of its nodes has a pace of its own
    if not parts and age <= stream.max_age < step + age:
        advice = "speed the driver up, or raise its max_age above that, if an older value will do"
        held = "; hold: true if the last one counts however old it is"
        yield stop(
            where,
            f"a message comes every {step:.3g} s and counts for {stream.max_age:g} s: stale before the next one",
            advice if event else advice + held,
        )


def _age(where: str, stream: Stream, period: float) -> Iterator[Finding]:
    max_age = stream.max_age
    if stream.pace.unstamped:
        yield warning(
            where,
            f"{stream.pace.unstamped} of {stream.count} messages have no stamp; the time of their receipt counts",
            "let the driver stamp them when it measures: without, nobody sees how old they are",
        )
    if stream.count >= _FEW and len(set(stream.stamps)) == 1:
        yield stop(
            where,
            f"all {len(stream.stamps)} stamps are the same: its messages go stale after {max_age:g} s",
            "let the driver stamp each measurement anew",
        )
        return
    if not stream.ages:
        return
    if abs(stream.pace.speed - 1.0) > _SPEED:
        yield stop(
            where,
            f"stamps run {stream.pace.speed:.3g} times as fast as the clock: they are of a simulation",
            "use its time (--sim-time; for a bag: ros2 bag record --use-sim-time), or let it run in real time",
        )
    age, spread = float(np.median(stream.ages)), float(np.percentile(stream.ages, 95))
    if abs(age) > _OTHER_CLOCK:
        behind = "behind" if age > 0 else "ahead of"
        yield stop(where, f"its stamps are {abs(age):.6g} s {behind} our clock: another clock than ours", _CLOCKS)
    elif age < -_AHEAD:
        yield stop(where, f"its stamps are {-age:.3g} s ahead of our clock: its age cannot be told", _CLOCKS)
    elif spread > max_age:
        yield stop(
            where,
            f"messages are up to {spread:.3g} s old when they come, allowed are {max_age:g} s: stale",
            "find the delay (network, encoding, a queue of the driver), or synchronise the clocks; max_age is no cure",
        )
    elif age > max(2 * period, 0.05):
        yield warning(
            where,
            f"messages are {age:.3g} s old when they come, more than two control periods: a delay",
            "find it (network, encoding, a queue of the driver): what the robot does comes later by as much",
        )
    if stream.pace.backwards:
        yield warning(
            where,
            f"{stream.pace.backwards} stamps go backwards",
            "look for two publishers, or a driver that sends out of order: late messages are dropped",
        )


def _lost(where: str, stream: Stream) -> Iterator[Finding]:
    """Steps between stamps that are longer than usual."""
    if len(stream.stamps) < _FEW or (stream.source is not None and stream.source.parts):
        return
    steps = np.diff(np.asarray(stream.stamps, np.float64))
    usual = float(np.median(steps))
    if usual <= 0:
        return
    gaps = steps[steps > _GAP * usual]
    missing = float(np.rint(gaps / usual - 1).sum())
    share = missing / (missing + len(steps))
    if share > _LOST and len(gaps) >= _PLACES:
        yield (stop if share > _MANY_LOST else warning)(
            where,
            f"{missing:.0f} messages are missing, {share:.0%} of all (steps of {usual / 1e6:.3g} ms have gaps)",
            "look at the network (Wi-Fi, QoS, a full CPU), or at a driver that skips",
        )


def _sources(where: str, stream: Stream) -> Iterator[Finding]:
    parts = stream.source is not None and stream.source.parts
    signs = "" if parts else stream.interleaving.signs()
    if signs:
        yield stop(
            where,
            f"two streams interleave ({signs} alternate): two nodes publish it",
            "end one of them, or give it a topic of its own; parts: true if each has some of the joints",
        )
    if len(stream.frames) > 1 and not parts:
        told = ", ".join(f"{frame or 'none'} ({count})" for frame, count in stream.frames.most_common(4))
        yield warning(
            where,
            f"its messages are of several frames: {told}",
            "one quantity has one frame: look for two publishers, or a driver that changes it",
        )
