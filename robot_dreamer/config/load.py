"""Presets: YAML files in `presets/` that override defaults of the configuration.

They compose from left to right with colons, e.g. `dreamer_v3:12m:dmc_vision`. The first names the generation; what
follows is looked up among that generation's own files first (`presets/planet/cpu.yaml` for `planet:cpu`), then among
the common ones. A common preset alone (`cpu_small`) is of DreamerV3, whose settings are the defaults. A name that ends
in .yaml is a file of one's own (`own_preset.py`), alone or behind others: `planet:cpu:mine.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_dreamer import plain_yaml
from robot_dreamer.config.check import SettingError
from robot_dreamer.config.own_preset import OwnPreset, is_own
from robot_dreamer.config.reads import require_read, require_switched_on
from robot_dreamer.config.schema import Config, with_run_settings

_FOLDER = Path(__file__).parent / "presets"
_DEFAULT = "dreamer_v3"  # the generation of the common presets


def known_presets() -> list[str]:
    """Names that `load_config` accepts, alone or joined by colons; those of one generation as `generation:name`."""
    folders = [item for item in _FOLDER.iterdir() if item.is_dir()]
    return sorted([*_names(_FOLDER), *(f"{folder.name}:{name}" for folder in folders for name in _names(folder))])


def _names(folder: Path) -> list[str]:
    return [file.stem for file in folder.glob("*.yaml")]


def load_config(preset: str, overrides: Sequence[str] = (), kept: Sequence[str] = ()) -> Config:
    """Compose presets and overrides into a configuration.

    `preset` is one name or several joined by colons (`dreamer_v3:12m`); later ones win, and leave something of the
    others. An override is `field=value` or `section.field=value`, the value in YAML. `kept` are overrides in front of
    the others that nobody says any more: they may be of settings that nothing reads by now, or that are refused. Raises
    ValueError that lists the known presets or fields, or names the field, what it expects and what it found, and where
    it stands in a file of one's own.
    """
    own, settings = _written(preset)
    merged: dict[str, Any] = {}
    for data in settings:
        _merge(merged, data)
    for override in kept:
        _merge(merged, with_run_settings(_settings(override)))
    said: list[str] = []
    for override in overrides:
        nested = _settings(override)
        said += [name for name, _ in _leaves(nested)]
        _merge(merged, with_run_settings(nested))
    if "name" not in merged:
        merged["name"] = preset + "".join(f" {override}" for override in (*kept, *overrides))
    try:
        config = Config.from_dict(merged)
        config.check()
        require_read(config, [*(path for file in own for path in file.paths), *said])
        require_switched_on(config, said)
    except SettingError as error:
        paths, by_override = (error.path, *error.others), {*said, *(f"run.{name}" for name in said)}
        places = [file.place(path) for file in reversed(own) for path in paths if file.says(path)]
        if by_override & {*paths}:
            raise
        if places:
            raise SettingError(error.path, f"{places[0]}: {error}") from error
        others = [override for override in kept if override.partition("=")[0] not in paths]
        if len(others) == len(kept):
            raise
        load_config(preset, overrides, others)  # of what the run has that is not asked; of what a person says it is
    return config


def composed(preset: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What presets and overrides come to, as `Config.to_dict` has it; whether it goes together nobody has asked.

    Raises ValueError for presets that cannot be composed, and for what is no override.
    """
    whole = Config().to_dict()
    for data in (*_written(preset)[1], *(with_run_settings(_settings(override)) for override in overrides)):
        _merge(whole, data)
    return whole


def _written(preset: str) -> tuple[list[OwnPreset], list[dict[str, Any]]]:
    """The files of one's own in a preset, and what each of its parts says, in order."""
    generation, *_ = names = preset.split(":")
    own = [OwnPreset(name) for name in names if is_own(name)]
    _require_composition(preset, [name for name in names if not is_own(name)])
    files = iter(own)
    written = (next(files).settings if is_own(name) else _read_preset(generation, name) for name in names)
    settings = [with_run_settings(data) for data in written]
    _require_effect(preset, names, settings)
    return own, settings


def _require_composition(preset: str, names: Sequence[str]) -> None:
    """Raise ValueError for presets that each exist and do not go together: says why, and what does."""
    others = {folder.name: sorted(_names(folder)) for folder in _FOLDER.iterdir() if folder.is_dir()}
    first, *rest = names or [_DEFAULT]
    for name in rest:
        if name in others or name == _DEFAULT:
            known = [_DEFAULT, *sorted(others)]
            reason = f"{name} is a generation, and a run is of one, named first: {', '.join(known)}"
        elif first in others and name in _names(_FOLDER) and name not in others[first]:
            reason = f"{name} is made for {_DEFAULT}; {first} goes with {', '.join(others[first])}, and with --set"
        elif any(name in own for own in others.values()) and name not in others.get(first, _names(_FOLDER)):
            elsewhere = [f"{generation}:{name}" for generation in sorted(others) if name in others[generation]]
            reason = f"{first} has no {name}; there is {', '.join(elsewhere)}"
        else:
            continue
        raise ValueError(f"preset {preset!r}: {reason}")


def _require_effect(preset: str, names: Sequence[str], settings: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError for a preset of which those behind it leave nothing: its name would say what the run is not."""
    later: dict[str, Any] = {}
    for name, data in reversed([*zip(names, settings, strict=True)]):
        own = dict(_leaves(data))
        if own.keys() <= later.keys() and any(later[path] != value for path, value in own.items()):
            raise ValueError(
                f"preset {preset!r}: nothing of {name} would be left, since what is named behind it sets the same "
                f"({', '.join(sorted(own)[:3])}, ...); name it last, or leave it out"
            )
        later = own | later


def _leaves(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def preset_file(preset: str) -> Path:
    """The file of one of `known_presets`."""
    return _FOLDER / f"{preset.replace(':', '/')}.yaml"


def _read_preset(generation: str, name: str) -> dict[str, Any]:
    own = _FOLDER / generation
    of_generation = own.is_dir() and name in _names(own)
    if not of_generation and name not in _names(_FOLDER):
        known = f"known presets: {', '.join(known_presets())}; or a file of one's own, NAME.yaml"
        raise ValueError(f"unknown preset {name!r}; {known}")
    path = (own if of_generation else _FOLDER) / f"{name}.yaml"
    try:
        data = plain_yaml.read(plain_yaml.read_file(path)).value or {}
    except plain_yaml.PlainYamlError as error:
        raise ValueError(f"preset {path}, {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"preset {name!r}: expected a mapping, found {type(data).__name__}")
    return data


def _settings(override: str) -> dict[str, Any]:
    path, separator, text = override.partition("=")
    if not separator:
        raise ValueError(f"override {override!r}: expected field=value")
    return _nest(path.strip(), _parse(path, text))


def _parse(path: str, text: str) -> Any:
    try:
        return plain_yaml.read(text).value
    except plain_yaml.PlainYamlError as error:
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise ValueError(f"{path}: {shown!r} is not a value: {error.problem}") from error


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
