"""What a command line says: numbers that cannot work are refused at the start, by the option's name; paths know `~`."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Type of an option: a whole number of at least `least`, at most `most`; argparse names the option."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, found {text!r}")
        return number

    return parse


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Type of an option: a finite number of at least `least`, at most `most`; argparse names the option."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not least <= value <= most:
            bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"expected a number {bounds}, found {text!r}")
        return value

    return parse


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options (None: of this process), in whose paths `~` is the home folder: behind a `=` a shell leaves it."""
    found = parser.parse_args(arguments)
    for name, value in vars(found).items():
        setattr(found, name, _at_home(value))
    return found


def _at_home(value: Any) -> Any:
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return Path(os.path.expanduser(value)) if isinstance(value, Path) else value
