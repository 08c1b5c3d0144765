"""Processes that end without a word in the middle of a write."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

KILLED = 77


def dying_at(point: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wraps functions: the n-th call of any of them, counted from 0, ends the process with the status KILLED."""
    passed = 0

    def dying(work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal passed
            if passed == point:
                os._exit(KILLED)
            passed += 1
            return work(*args, **options)

        return step

    return dying
