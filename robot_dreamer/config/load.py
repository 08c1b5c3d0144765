"""Presets: YAML files in `presets/` that override defaults of the configuration.

They compose from left to right with colons, e.g. `dreamer_v3:12m`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

from robot_dreamer.config.schema import Config

_FOLDER = resources.files("robot_dreamer.config") / "presets"


def known_presets() -> list[str]:
    """Names that `load_config` accepts, alone or joined by colons."""
    return sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml"))


def load_config(preset: str, overrides: Sequence[str] = ()) -> Config:
    """Compose presets and overrides into a configuration.

    `preset` is one name or several joined by colons (`dreamer_v3:12m`); later ones win. An override is
    `field=value` or `section.field=value`, the value in YAML. Raises ValueError that lists the known presets or fields,
    or names the field, what it expects and what it found.
    """
    merged: dict[str, Any] = {}
    for name in preset.split(":"):
        _merge(merged, _read_preset(name))
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator:
            raise ValueError(f"override {override!r}: expected field=value")
        _merge(merged, _nest(path.strip(), _parse(path, text)))
    if "name" not in merged:
        merged["name"] = preset + "".join(f" {override}" for override in overrides)
    return Config.from_dict(merged)


def _read_preset(name: str) -> dict[str, Any]:
    known = known_presets()
    if name not in known:
        raise ValueError(f"unknown preset {name!r}; known presets: {', '.join(known)}")
    data = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    if not isinstance(data, dict):
        raise ValueError(f"preset {name!r}: expected a mapping, found {type(data).__name__}")
    return data


def _parse(path: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {text!r} is not a YAML value") from error


def _nest(path: str, value: Any) -> dict[str, Any]:
    *sections, name = path.split(".")
    nested: dict[str, Any] = {name: value}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
