"""Which episodes to export."""

from __future__ import annotations

import argparse
import re
from collections import Counter

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.survey import Survey


def parse_range(text: str) -> slice:
    """ "7", "3:8" (8 not included), "3:" or ":8"."""
    found = re.fullmatch(r"(\d*)(:?)(\d*)", text)
    if not found or text in ("", ":"):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of episodes; examples: 7, 3:8, 3:, :8")
    first, colon, last = found.groups()
    if not colon:
        return slice(int(first), int(first) + 1)
    return slice(int(first or 0), int(last) if last else None)


def selected(
    survey: Survey, robot: str | None, episodes: slice | None, discarded: bool = False
) -> Counter[tuple[str, str, int]]:
    """(robot, boot, episode) -> rows. Episodes of a robot are counted over its boots, in order of arrival, from 0.

    Args:
      discarded: those that a person has said not to learn from, too.

    Raises DataError if nothing matches; names what there is.
    """
    known = sorted({boot.robot for boot in survey.boots})
    if robot is not None and robot not in known:
        raise DataError(f"no rows of robot {robot!r}; the store holds: {', '.join(known) or 'nothing'}")
    chosen: Counter[tuple[str, str, int]] = Counter()
    for name in [robot] if robot is not None else known:
        found = [(boot, episode) for boot in survey.boots if boot.robot == name for episode in boot.episodes]
        for boot, episode in found[episodes or slice(None)]:
            if episode.discarded and not discarded:
                continue
            chosen[name, boot.boot, episode.number] += episode.rows
    if not chosen:
        counts = {name: sum(len(b.episodes) for b in survey.boots if b.robot == name) for name in known}
        held = ", ".join(f"{count} episodes of {name}" for name, count in counts.items())
        all_discarded = any(e.discarded for b in survey.boots for e in b.episodes)
        advice = "; discarded ones only with --discarded" if all_discarded and not discarded else ""
        raise DataError(f"no episode matches; the store holds: {held or 'nothing'}{advice}")
    return chosen
