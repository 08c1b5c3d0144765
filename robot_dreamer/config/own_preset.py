"""A preset of a person's own: a YAML file whose errors are named by file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robot_dreamer import plain_yaml

_ENDINGS = (".yaml", ".yml")
_RUN = "run."  # may be left out in front of its settings
ELSEWHERE = {"seed": "--seed", "run.seed": "--seed", "name": "the name of the file"}
"""Settings that are said otherwise, and how."""


def is_own(name: str) -> bool:
    """Whether a part of `--preset` names a file."""
    return name.endswith(_ENDINGS)


class OwnPreset:
    """A file of settings.

    Attributes:
      settings: what it says, as the shipped presets do.
      paths: of all settings in it, with their sections.

    Raises:
      ValueError: it cannot be read, is no YAML, no map, or says what has an option of its own.
    """

    def __init__(self, name: str) -> None:
        self._file = Path(name).expanduser()
        try:
            self._document = plain_yaml.read(plain_yaml.read_file(self._file))
        except OSError as error:
            raise ValueError(f"cannot read preset file {self._file}: {error.strerror}") from error
        except plain_yaml.PlainYamlError as error:
            raise ValueError(f"preset {self._file}, {error}") from error
        settings = {} if self._document.value is None else self._document.value
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            found = type(settings).__name__ if not isinstance(settings, dict) else f"keys {list(settings)}"
            raise ValueError(f"preset {self._file}: expected settings, such as batch_size: 16, found {found}")
        self.settings: dict[str, Any] = settings
        self.paths = list(_paths(settings))
        for path in self.paths:
            if path in ELSEWHERE:
                raise ValueError(f"{self.place(path)}: {path} is not for a preset; it is said by {ELSEWHERE[path]}")

    def says(self, path: str) -> bool:
        """Whether a setting, or a part of it, stands in this file."""
        return self._written(path) is not None

    def place(self, path: str) -> str:
        """File and line of a setting."""
        return f"preset {self._file}, line {self._document.line_of(self._written(path) or path)}"

    def _written(self, path: str) -> str | None:
        names = (path, path.removeprefix(_RUN))
        return next((n for n in names if n in self.paths or any(p.startswith(f"{n}.") for p in self.paths)), None)


def _paths(settings: Mapping[str, Any], section: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{section}{key}.")
        else:
            yield f"{section}{key}"
