"""Pictures, which a machine without OpenGL cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def taking_pictures() -> Iterator[None]:
    """Where there is no OpenGL the test is skipped. Whatever else goes wrong is no reason to."""
    from sim.physics import CannotRender  # not before the test has looked whether there is a simulator

    try:
        yield
    except CannotRender as error:
        pytest.skip(str(error))
