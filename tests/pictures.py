"""Pictures, which a machine without OpenGL cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def taking_pictures() -> Iterator[None]:
    """Where there is no OpenGL the test is skipped. Whatever else goes wrong is no reason to."""
    try:
        yield
    except RuntimeError as error:
        if "cannot take a picture" not in str(error):
            raise
        pytest.skip(str(error))
