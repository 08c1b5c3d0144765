"""Waiting for what another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T | None], what: str = "what the test is about", seconds: float = 60.0, every: float = 0.005
) -> T:
    """Ask again and again until the answer is true; returns it. `seconds` are those of sleep: a machine may be paused.

    Raises AssertionError, which names `what`, if it never is.
    """
    for _ in range(round(seconds / every)):
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}")
