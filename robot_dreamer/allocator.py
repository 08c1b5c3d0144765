"""The C library's allocator, as far as it can be told: from which size freed blocks go back to the system, and when."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # options of mallopt(3)


def mallopt(option: int, value: int) -> bool:
    """Set an option for this process. False where the C library has none such; nothing changes then."""
    found = getattr(ctypes.CDLL(None), "mallopt", None)
    return found is not None and bool(found(option, value))
