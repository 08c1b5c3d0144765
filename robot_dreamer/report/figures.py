"""What robots say of themselves, shown: words are text, numbers may be anything, and neither ends a display."""

from __future__ import annotations

import math
from typing import Any

UNKNOWN = "?"


def number(value: Any) -> float | int | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def amount(value: Any, form: str = ",", unit: str = "") -> str:
    """A number as text, `?` for what is none."""
    found = number(value)
    return UNKNOWN if found is None else f"{found:{form}}{unit}"


def words(value: Any) -> str:
    """A text as it is, `?` for what is none."""
    return value if isinstance(value, str) else UNKNOWN


def counts(value: Any) -> dict[str, int | float]:
    """The counters above zero of a map of them, by kind."""
    entries = value.items() if isinstance(value, dict) else ()
    return {words(kind): found for kind, count in entries if (found := number(count))}


def failed_episodes(evaluation: dict[str, Any]) -> str:
    """A sentence about the episodes of evaluation.json whose simulation lost itself; empty where none did."""
    told = []
    for name, who in (("evaluation", "this policy"), ("random", "random actions")):
        found = evaluation.get(name)
        if isinstance(found, dict) and (count := number(found.get("failed"))):
            seeds = found.get("failed_seeds") or [UNKNOWN]  # an older version did not say which
            told.append(f"{count} of {who} (seeds {', '.join(map(str, seeds))})")
    if not told:
        return ""
    return f"Episodes that failed, because the simulation lost itself: {', '.join(told)}; what they had by then counts."
