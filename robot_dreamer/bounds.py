"""The one range of every number that counts or dates something: in messages, rows, manifests, files and options.

It ends at 2**62, not at 2**63 - 1: the difference of two such numbers, and the number behind the largest, fit an int64
too. So whoever has checked the range may calculate.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

LARGEST = 2**62
LARGEST_SECONDS = 1e10  # 300 years; a longer age or delay is no measurement, and infinity least of all
LARGEST_FIGURE = 1e300  # floats that are only shown; beyond are infinity and NaN, which JSON does not know

Count = Annotated[int, Meta(ge=0, le=LARGEST)]  # of steps, rows, bytes; sequence numbers, stamps in ns, versions
CountOrNone = Annotated[int, Meta(ge=-1, le=LARGEST)]  # -1: before the first
Seconds = Annotated[float, Meta(ge=0, le=LARGEST_SECONDS)]
Shown = Annotated[float, Meta(ge=-LARGEST_FIGURE, le=LARGEST_FIGURE)]


def in_range(number: int, lowest: int = 0) -> bool:
    """Whether a number that counts or dates something may be taken."""
    return lowest <= number <= LARGEST


def expected(lowest: int = 0) -> str:
    """The range in words."""
    return f"{lowest} to {LARGEST} (2**62)"
