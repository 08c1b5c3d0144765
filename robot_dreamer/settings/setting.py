"""A setting of a program, declared once: its parameter, launch argument, option and row in the docs come from it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Setting:
    """A field of a table of settings.

    Attributes:
      name: as in `-p name:=…`, `name:=…` and `--name …`.
      kind: the annotation: str, int, float, bool, Path, tuple[str, ...], or one of them with ` | None`.
      default: None where the program decides.
      description: for people; units where there are any.
      least, most: bounds of a number, included.
      choices: the texts that are known; empty: any.
      changes: it may change while the program runs.
      option: name on a command line, without dashes, where it is another.
      file: a text that names a file or folder; `~` in it means the home folder, which a shell leaves where it stands.
    """

    name: str
    kind: str
    default: Any
    description: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    changes: bool = False
    option: str = ""
    file: bool = False

    @property
    def expected(self) -> str:
        """What a value must be."""
        if self.choices:
            return " or ".join(choice or "nothing" for choice in self.choices)
        plain = {"bool": "true or false", "int": "a whole number", "float": "a number"}
        text = plain.get(self.kind.removesuffix(" | None"), "a text")
        if self.least is not None and self.most is not None:
            return f"{text} from {self.least:.10g} to {self.most:.10g}"
        return text if self.least is None else f"{text} of at least {self.least:.10g}"

    def check(self, value: Any, found: Any = None) -> Any:
        """The value, with a whole number for a float made one, and a home folder written out.

        found: what a message shows; the value itself if None.

        Raises ValueError: the name, what was expected and found.
        """
        kind = self.kind.removesuffix(" | None")
        if value is None and kind != self.kind:
            return None
        if kind == "float" and type(value) is int:
            value = float(value)
        known = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}.get(kind, tuple)
        fits = isinstance(value, known) and (kind == "bool" or not isinstance(value, bool))
        if fits and kind in ("int", "float"):
            least = -math.inf if self.least is None else self.least
            most = math.inf if self.most is None else self.most
            fits = math.isfinite(value) and least <= value <= most
        if not fits or (self.choices and value not in self.choices):
            raise ValueError(f"{self.name}: expected {self.expected}, found {value if found is None else found!r}")
        return type(value)(os.path.expanduser(value)) if self.file or kind == "Path" else value

    def read(self, text: str) -> Any:
        """The value that a text from a person means. Raises ValueError as `check` does."""
        text, kind = text.strip(), self.kind.removesuffix(" | None")
        if kind != self.kind and not text:
            return None
        value: Any = text
        if kind == "bool":
            value = _WORDS.get(text.lower(), text)
        elif kind == "Path":
            value = Path(text)
        elif kind.startswith("tuple"):
            value = tuple(shlex.split(text))
        elif kind in ("int", "float"):
            with contextlib.suppress(ValueError):  # `check` names it
                value = int(text) if kind == "int" else float(text)
        return self.check(value, text)

    @property
    def shown(self) -> str:
        """The default as a text that `read` takes back."""
        if self.default is None:
            return ""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return shlex.join(self.default) if isinstance(self.default, tuple) else str(self.default)


def setting(default: Any, description: str, **facts: Any) -> Any:
    """A field of a table; facts: further attributes of `Setting`. A default of MISSING must be given."""
    return field(default=default, metadata={"description": description, **facts})


def same(table: type, name: str, **changes: Any) -> Any:
    """A field that another program's table has declared already, with some attributes changed."""
    (found,) = (entry for entry in settings_of(table) if entry.name == name)
    facts = {entry.name: getattr(found, entry.name) for entry in dataclasses.fields(Setting)} | changes
    default = facts.pop("default")
    return field(default=default, metadata={key: value for key, value in facts.items() if key not in ("name", "kind")})


def settings_of(table: type) -> tuple[Setting, ...]:
    """The settings that a table declares, in order."""
    return tuple(
        Setting(entry.name, str(entry.type), None if entry.default is MISSING else entry.default, **entry.metadata)
        for entry in dataclasses.fields(table)
        if "description" in entry.metadata
    )


def check_all(values: object) -> None:
    """Check all settings of an instance of a table. Raises ValueError that names the first that does not fit."""
    for entry in settings_of(type(values)):
        entry.check(getattr(values, entry.name))


def refuse_unknown(found: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise ValueError if a name is not known: says which, and which known one is near."""
    for name in found:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
            raise ValueError(f"unknown {what} {name!r}{meant}")


def add_options(
    parser: argparse._ActionsContainer, table: type, names: Iterable[str] | None = None, **defaults: Any
) -> None:
    """Options of a command line for the settings of a table, or for some of them; defaults: others, None for absent."""
    for entry in settings_of(table):
        if names is not None and entry.name not in names:
            continue
        kind, flag = entry.kind.removesuffix(" | None"), "--" + (entry.option or entry.name).replace("_", "-")
        options: dict[str, Any] = {"help": entry.description, "default": defaults.get(entry.name, entry.default)}
        if kind == "bool":
            options["action"] = argparse.BooleanOptionalAction if entry.default else "store_true"
        elif kind.startswith("tuple"):
            options |= {"action": "append", "default": [], "metavar": "FIELD=VALUE"}
        elif entry.choices:
            options["choices"] = entry.choices
        else:
            options["type"] = _option_type(entry)
        parser.add_argument(flag, **options)


def command_line(values: object) -> tuple[str, ...]:
    """The options that make a program which `add_options` gave them read `values`; zero and nothing need none."""
    line: list[str] = []
    for entry in settings_of(type(values)):
        value, flag = getattr(values, entry.name), "--" + (entry.option or entry.name).replace("_", "-")
        if not value and not entry.default:
            continue
        if isinstance(value, bool):
            line.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            line += [x for one in (value if isinstance(value, tuple) else (value,)) for x in (flag, str(one))]
    return tuple(line)


def _option_type(entry: Setting) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return entry.read(text)
        except ValueError as error:  # argparse names the option itself
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{entry.name}: ")) from None

    return parse


def markdown(settings: Iterable[Setting], names: Iterable[str] | None = None) -> str:
    """A table of the docs: setting, default, meaning; names: under which they are shown, their own if None."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    settings = list(settings)
    for name, entry in zip(names or [entry.name for entry in settings], settings, strict=True):
        bounds = "" if entry.least is None or entry.most is None else f" ({entry.least:.10g} to {entry.most:.10g})"
        default = f"`{entry.shown}`" if entry.shown else "none"
        meaning = entry.description.replace("<", "\\<")
        rows.append(f"| `{name}` | {default} | {meaning}{bounds} |")
    return "\n".join(rows)
