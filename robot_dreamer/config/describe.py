"""What can be set: each field of the configuration with its value and its documentation, for `robot-dreamer list`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from robot_dreamer.config.load import preset_file
from robot_dreamer.config.own_preset import ELSEWHERE
from robot_dreamer.config.reads import is_read
from robot_dreamer.config.schema import Config

_END = re.compile(r"(?<! al)\. ")  # of a sentence, not of "et al."


class Field(NamedTuple):
    """A setting as `--set` takes it."""

    path: str
    value: Any
    text: str


def fields(config: Config) -> Iterator[Field]:
    """All settings of a configuration that its objective reads, with their values, those without a section first."""
    return (field for field in _fields(config, "") if field.path not in ELSEWHERE and is_read(config, field.path))


def _fields(config: Any, section: str) -> Iterator[Field]:
    hints, told = typing.get_type_hints(type(config)), _documentation(type(config))
    nested = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(hints[item.name]):
            nested.append((item.name, value))
        else:
            yield Field(f"{section}{item.name}", value, told.get(item.name, ""))
    for name, value in nested:
        yield from _fields(value, f"{section}{name}.")


def preset_line(name: str) -> str:
    """The first sentence that a shipped preset says of itself."""
    remark = []
    for line in preset_file(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        remark.append(line.removeprefix("#").strip())
    return _sentence(" ".join(remark))


def _documentation(kind: type) -> dict[str, str]:
    """First sentence of the text below each field."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    told = {}
    for item, text in zip(body.body, body.body[1:], strict=False):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            told[item.target.id] = _sentence(" ".join(str(text.value.value).split()))
    return told


def _sentence(text: str) -> str:
    return _END.split(text, maxsplit=1)[0].rstrip(".")
