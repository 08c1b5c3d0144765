"""What several programs of a machine want and only one can have: numbers, each with a lock in the temporary folder."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path


def lock(name: str) -> int | None:
    """A descriptor that holds the name until it is closed; None if somebody else has it.

    The kernel frees it when we die, however that is.
    """
    path = Path(tempfile.gettempdir()) / f"robot_dreamer-{name}.lock"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError:
        return None  # another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
