"""The YAML that people write: scalars, lists and maps, in YAML 1.2's spelling of numbers. One reader for all doors.

PyYAML reads YAML 1.1, where `010` is eight, `1:30` is ninety, `5e1` a text and `no` false, and constructs whatever a
tag asks for. Here a spelling of numbers that the two versions read differently is refused with advice, and so are
tags, keys that stand twice, and files whose aliases, depth or size have no use.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_BYTES, _DEPTH, _NODES, _ALIASES = 1 << 20, 50, 100_000, 100
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_WORDS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_WORDS |= dict.fromkeys(("", "~", "null", "Null", "NULL"))
_DOUBTFUL = (
    (
        re.compile(r"[-+]?0[0-9_]+\Z"),
        "a leading zero means eight to some readers: write the number without, or quote it",
    ),
    (re.compile(r"[-+]?0b[01_]+\Z"), "write this number in decimal, or quote it"),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z"),
        "base 60 to some readers: write one number, or quote it",
    ),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*\Z"), "write this number without underscores, or quote it"),
)


class PlainYamlError(ValueError):
    """A text that we do not read.

    Attributes:
      line: where, from 1.
      problem: what is wrong, without the place.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


class Document(NamedTuple):
    """A text that was read."""

    value: Any
    """Maps, lists, texts, numbers, true, false and None."""
    root: yaml.Node | None
    """Where each part of it stands; None for an empty text."""

    def line_of(self, field: str) -> int:
        """Line (from 1) of a field such as observations[0].dtype, or of its nearest parent that exists."""
        node, line = self.root, 1
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
            if isinstance(node, yaml.MappingNode) and name:
                found = next(((k, v) for k, v in node.value if k.value == name), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
                node = node.value[int(index)]
                line = node.start_mark.line + 1
            else:
                break
        return line


def read_file(path: Path) -> str:
    """The text of a file, which is UTF-8 whatever the locale; a byte order mark is left out.

    Raises OSError, and PlainYamlError that names the line of the first byte that is no UTF-8.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = content[error.start]
        problem = f"not UTF-8 (byte 0x{found:02x}): save the file as UTF-8"
        raise PlainYamlError(content.count(b"\n", 0, error.start) + 1, problem) from None


def read(text: str) -> Document:
    """Read one document. Raises PlainYamlError."""
    if len(text) > _BYTES:
        raise PlainYamlError(1, f"expected at most {_BYTES} characters, found {len(text)}")
    try:
        _survey(text)
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PlainYamlError(mark.line + 1 if mark else 1, f"not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlainYamlError(line, f"not valid YAML: {error.reason}") from error
    return Document(None if root is None else _Builder().build(root, 0), root)


def _survey(text: str) -> None:
    """Refuse what must not be composed; PyYAML composes by recursion, but its events come one after the other."""
    depth = nodes = aliases = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.NodeEvent):
            nodes, aliases = nodes + 1, aliases + isinstance(event, yaml.AliasEvent)
        if getattr(event, "tag", None) is not None:
            raise PlainYamlError(line, f"tags such as {event.tag} are not read: write a plain value")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        for found, most, what in ((depth, _DEPTH, "levels"), (nodes, _NODES, "values"), (aliases, _ALIASES, "aliases")):
            if found > most:
                raise PlainYamlError(line, f"expected at most {most} {what}")


class _Builder:
    """Makes plain values of nodes; what an alias stands for counts each time."""

    def __init__(self) -> None:
        self._nodes = 0

    def build(self, node: yaml.Node, depth: int) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if depth > _DEPTH or self._nodes > _NODES:
            raise PlainYamlError(line, "its aliases make it too large")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, depth + 1) for item in node.value]
        return node.value if node.style is not None else _scalar(node.value, line)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise PlainYamlError(line, "expected a plain text as a key")
            if key_node.value == "<<" and key_node.style is None:
                for found in self._merged(value_node, line, depth):
                    merged = {**found, **merged}  # the first of several wins
                continue
            key = self.build(key_node, depth)
            if key in lines:
                raise PlainYamlError(line, f"the key {key!r} stands twice, in line {lines[key]} already")
            lines[key], own[key] = line, self.build(value_node, depth)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, line: int, depth: int) -> list[dict[Any, Any]]:
        value = self.build(node, depth)
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in found):
            raise PlainYamlError(line, "expected a map, or a list of maps, behind <<")
        return found


def _scalar(text: str, line: int) -> Any:
    """What an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 40 and _FLOAT.match(text):
        raise PlainYamlError(line, f"expected a number of at most 40 characters, found {len(text)}")
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    for pattern, advice in _DOUBTFUL:
        if pattern.match(text):
            raise PlainYamlError(line, f"{text}: {advice}")
    if _NOT_FINITE.match(text):
        return float(text.replace(".", ""))  # whoever reads the field says that it must be finite
    if not _FLOAT.match(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        raise PlainYamlError(line, f"expected a number below 1e308, found {text}")
    # 1e4 is a whole number to whoever writes it.
    return int(number) if "e" in text.lower() and number.is_integer() and abs(number) < 2**53 else number
