"""Dataclasses from nested mappings, and checks of their values. Every error is a SettingError that names the field."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal


class SettingError(ValueError):
    """A setting that cannot be, alone or together with others.

    Attributes:
      path: its name with its section, such as model.deter.
      others: settings by the same kind of name that it does not go with.
    """

    def __init__(self, path: str, text: str, others: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.path, self.others = path, tuple(others)

    def within(self, section: str) -> SettingError:
        """The same error of a setting in a section; the text begins with the name."""
        path, *others = (f"{section}.{name}" for name in (self.path, *self.others))
        return SettingError(path, f"{section}.{self}", others)


class Section:
    """Settings that belong together: a dataclass."""

    def check(self) -> None:
        """Raise SettingError, by the name of the field alone, for a value that cannot be."""


def build(cls: type, data: Any, path: str) -> Any:
    """Build dataclass `cls` from a mapping, checking every name and type on the way, and no value."""
    if not isinstance(data, Mapping):
        raise SettingError(path, f"{path or 'configuration'}: expected a mapping, found {data!r}")
    hints = typing.get_type_hints(cls)
    known = [item.name for item in dataclasses.fields(cls)]
    values = {}
    for key, value in data.items():
        full = f"{path}.{key}" if path else str(key)
        if key not in known:
            raise SettingError(full, f"unknown field {full!r}; known fields: {', '.join(known)}")
        kind = hints[key]
        nested = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        values[key] = build(kind, value, full) if nested else _convert(kind, value, full)
    return cls(**values)


def _convert(kind: Any, value: Any, path: str) -> Any:
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        require(value in choices, path, f"one of {', '.join(choices)}", value)
        return value
    if typing.get_origin(kind) is tuple:
        item_kind = typing.get_args(kind)[0]
        what = {int: "whole numbers", str: "texts"}[item_kind]
        valid = isinstance(value, list | tuple) and all(type(item) is item_kind for item in value)
        require(valid, path, f"a list of {what}", value)
        return tuple(value)
    if kind is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        require(fits and abs(value) <= sys.float_info.max, path, "a finite number", value)
        return float(value)
    names: dict[type, str] = {int: "a whole number", bool: "true or false", str: "text"}
    require(type(value) is kind, path, names[kind], value)
    return value


def require(condition: bool, path: str, expected: str, found: Any, others: Sequence[str] = ()) -> None:
    if not condition:
        raise SettingError(path, f"{path}: expected {expected}, found {found!r}", others)


def require_range(path: str, value: float, low: float, high: float) -> None:
    require(low <= value <= high, path, f"a number between {low} and {high}", value)


def require_less(config: Any, section: str, low: str, high: str) -> None:
    least, most = getattr(config, low), getattr(config, high)
    require(least < most, high, f"more than {section}.{low} = {least}", most, (low,))


def require_positive(config: Any, exclude: tuple[str, ...]) -> None:
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name not in exclude and not isinstance(value, str | bool):
            require(value > 0, item.name, "a positive number", value)
