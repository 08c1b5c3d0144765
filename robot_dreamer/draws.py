"""What was drawn for an episode: how its world differs from the nominal one. The first row of the episode carries it.

It comes from outside, as the JSON text in the answer of a robot's reset service, and is checked like everything that
does: an object, name -> value or name -> (name -> value), a value being a number, a truth, a short text or a list of
numbers. `simulation.vary` gives {"mass": {"trunk": 5.1}, "delay": {"sensors": 0.02}}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from robot_dreamer.bounds import LARGEST, Shown

MAX_DRAWS = 16 << 10  # bytes, as JSON and as MessagePack
_Number = Shown | Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
_Name = Annotated[str, Meta(max_length=128)]
_Value = _Number | bool | Annotated[str, Meta(max_length=256)] | list[_Number]
Draws = dict[_Name, _Value | dict[_Name, _Value]]

_json = msgspec.json.Decoder(Draws)
_WRONG = (msgspec.MsgspecError, AttributeError, OverflowError, RecursionError, TypeError, ValueError)


def read_draws(text: str, most: int = MAX_DRAWS) -> Draws:
    """The draws in a text from outside, of at most so many characters. Raises ValueError unless they are ones."""
    if len(text) > most:
        raise ValueError(f"expected at most {most} bytes, found {len(text)}")
    try:
        draws = _json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object of values by name: {error}") from error
    if problem := draws_problem(draws):
        raise ValueError(problem)
    return draws


def draws_problem(draws: Draws) -> str:
    """Why no row can carry these, in words; empty if one can."""
    try:
        size = len(msgspec.msgpack.encode(msgspec.convert(draws, Draws)))
    except _WRONG as error:
        return f"drawn: expected values by name: {error}"
    return f"drawn: expected at most {MAX_DRAWS} bytes, found {size}" if size > MAX_DRAWS else ""


def numbers_of(draws: Draws) -> Iterator[tuple[str, float]]:
    """Its numbers, each with the whole of its name: "mass, trunk", "centre_of_mass, trunk [2]"."""
    for name, entry in draws.items():
        for inner, value in entry.items() if isinstance(entry, dict) else [("", entry)]:
            label = f"{name}, {inner}" if inner else name
            if isinstance(value, list):
                yield from ((f"{label} [{i}]", float(number)) for i, number in enumerate(value))
            elif not isinstance(value, str):
                yield label, float(value)
