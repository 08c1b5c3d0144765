"""The console of every command: what it prints is text, so that brackets and colons of paths and reasons stay."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """A console that takes no text for markup or emoji, in tables too; options: of rich's Console."""
    return Console(markup=False, emoji=False, highlight=False, **options)
