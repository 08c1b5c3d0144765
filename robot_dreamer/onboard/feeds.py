"""The feeds of all topics that a spec names."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from robot_dreamer.onboard.feed import Feed
from robot_dreamer.onboard.joint_parts import JointParts
from robot_dreamer.spec import RobotSpec, Source

_TOLERANCE = 1.5  # periods that a stamp may be ahead: as many ticks are blind where it was wrong


def types_of(sources: list[Source]) -> dict[str, str]:
    """Type by topic. Raises ValueError where two sources say different ones."""
    topics: dict[str, str] = {}
    for source in sources:
        known = topics.setdefault(source.topic, source.type)
        if known != source.type:
            raise ValueError(f"topic {source.topic}: the spec names two types, {known} and {source.type}")
    return topics


def make_feeds(
    spec: RobotSpec,
    signals: list[Source],
    lockstep: bool,
    clock: Callable[[], float],
    now: Callable[[], int] | None,
) -> dict[str, Feed | JointParts]:
    """By topic; the arguments are those of the Observer. Signals: where reward and terminal come from."""
    sensors = [o.source for o in spec.quantities]
    feeds: dict[str, Feed | JointParts] = {}
    for topic in types_of([*sensors, *signals]):
        sources = [s for s in [*sensors, *signals] if s.topic == topic]
        max_age = math.inf if sources[0].hold else min(s.max_age for s in sources)
        make = partial(
            Feed,
            topic,
            max_age,
            lockstep,
            clock,
            now,
            tolerance=_TOLERANCE * spec.period,
            events=all(s.topic != topic for s in sensors),
            synchronised=spec.safety.synchronised_clocks,
        )
        names = dict.fromkeys(name for s in sources for name in s.names)
        feeds[topic] = JointParts(topic, list(names), max_age, make, clock) if sources[0].parts else make()
    return feeds
