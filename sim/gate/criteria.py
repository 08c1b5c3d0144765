"""What a bundle must show: the YAML file of criteria."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer import plain_yaml
from robot_dreamer.spec.check import require
from robot_dreamer.spec.known import explained

DEFAULT = Path(__file__).with_name("criteria.yaml")


class Success(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as a success: all that is said."""

    min_return: float | None = None
    terminal: bool | None = None  # whether the task must have ended for good, or must not have

    def __post_init__(self) -> None:
        require(self.min_return is not None or self.terminal is not None, "success needs min_return or terminal")
        _require_finite("min_return", self.min_return)


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the lower end of an interval must reach; what is not said is not judged."""

    min_return: float | None = None
    min_share: float | None = None  # of nominal's mean return above that of random actions; 0: as random, 1: as nominal
    min_success: float | None = None  # share of episodes

    def __post_init__(self) -> None:
        for name in ("min_share", "min_success"):
            value = getattr(self, name)
            require(value is None or 0 <= value <= 1, f"{name} must be from 0 to 1, found {value}")
        _require_finite("min_return", self.min_return)


class Nominal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the nominal condition."""

    min_return: float | None = None
    min_success: float | None = None
    above_random: bool = True  # the interval lies above that of random actions

    def __post_init__(self) -> None:
        value = self.min_success
        require(value is None or 0 <= value <= 1, f"min_success must be from 0 to 1, found {value}")
        _require_finite("min_return", self.min_return)


class Ladder(Threshold, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A disturbance that grows."""

    points: tuple[float, ...]
    up_to: float  # the largest point that is judged; of the rate either way

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_finite("up_to", self.up_to)
        require(len(set(self.points)) == len(self.points), f"points must differ, found {list(self.points)}")


class Ladders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By what grows. Delays and jitter count in control periods."""

    sensor_delay: Ladder
    command_delay: Ladder
    jitter: Ladder
    loss: Ladder
    noise: Ladder
    push: Ladder
    rate: Ladder

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            low, high = {"loss": (0.0, 1.0), "rate": (-0.9, 9.0)}.get(name, (0.0, math.inf))
            for point in getattr(self, name).points:
                good = point != 0 and low <= point < high
                require(good, f"points of {name} must be from {low:g} to below {high:g} and not 0, found {point:g}")


class Criteria(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    episodes: int
    seed: int
    max_faults: int
    nominal: Nominal
    each: Threshold
    all: Threshold
    ladders: Ladders
    success: Success | None = None

    def __post_init__(self) -> None:
        require(self.episodes >= 2, f"episodes must be at least 2, for an interval, found {self.episodes}")
        require(0 <= self.seed < 2**31, f"seed must be from 0 to 2147483647, found {self.seed}")
        require(self.max_faults >= 0, f"max_faults must be at least 0, found {self.max_faults}")
        if self.success is None:
            groups: dict[str, Nominal | Threshold] = {"nominal": self.nominal, "each": self.each, "all": self.all}
            groups |= {f"ladders.{name}": getattr(self.ladders, name) for name in self.ladders.__struct_fields__}
            for name, group in groups.items():
                require(group.min_success is None, f"{name}.min_success needs success, which says what counts as one")


def _require_finite(name: str, value: float | None) -> None:
    require(value is None or math.isfinite(value), f"{name} must be a finite number, found {value}")


def load_criteria(path: Path | None) -> Criteria:
    """The criteria of a file: what it does not say is as in criteria.yaml beside this module.

    Raises:
      ValueError: names file, line and field.
    """
    default = _read(DEFAULT).value
    if path is None:
        return msgspec.convert(default, Criteria)
    document = _read(path)
    said = {} if document.value is None else document.value
    if not isinstance(said, dict):
        raise ValueError(f"criteria {path}: expected a map, such as nominal: {{min_return: 500}}, found {said!r}")
    try:
        return msgspec.convert(_over(default, said), Criteria)
    except msgspec.ValidationError as error:
        problem, where = explained(error, Criteria)
        field = where or "top level"
        raise ValueError(f"criteria {path}, line {document.line_of(field)}, field {field}: {problem}") from error


def _read(path: Path) -> plain_yaml.Document:
    try:
        return plain_yaml.read(plain_yaml.read_file(path))
    except OSError as error:
        raise ValueError(f"cannot read criteria {path}: {error.strerror}") from error
    except plain_yaml.PlainYamlError as error:
        raise ValueError(f"criteria {path}, {error}") from error


def _over(default: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, with what was said in their place, entry by entry."""
    merged = dict(default)
    for key, value in said.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if both else value
    return merged
