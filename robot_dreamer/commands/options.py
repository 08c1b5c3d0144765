"""Options that the training commands share."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence

from robot_dreamer.config import Config, composed, differences, load_config
from robot_dreamer.config.own_preset import OwnPreset, is_own
from robot_dreamer.config.reads import is_read
from robot_dreamer.learner.checkpoint_meta import CheckpointMeta, newest_meta
from robot_dreamer.settings.learner import DEFAULT_PRESET, LearnerSettings
from robot_dreamer.settings.setting import add_options

STOPPED = 130  # exit status when a signal ended a run before its budget was spent; run again to resume
_DOMAINS = {"dmc": "dmc_proprio", "atari": "atari100k", "crafter": "crafter"}  # kind of environment: preset
_OF_ENVIRONMENTS = ("action_repeat", "pixels")  # settings that only an environment in the learner's process reads
_log = logging.getLogger(__name__)


_TRAINING = (
    *("preset", "overrides", "logdir", "minutes", "steps", "seed", "threads"),
    *("init_from", "freeze", "demonstrations"),
)


def add_training_arguments(
    parser: argparse.ArgumentParser, preset: str | None = DEFAULT_PRESET, without: Sequence[str] = ()
) -> None:
    """Preset, overrides, place, beginning and budget of a run; without: settings that have no meaning in it."""
    add_options(parser, LearnerSettings, [name for name in _TRAINING if name not in without], preset=preset)


def preset_for(
    environment: str, preset: str | None, overrides: Sequence[str], meta: CheckpointMeta | None = None
) -> str:
    """The preset of an in-process environment, with the settings of its domain where the user chose none.

    No preset is `dreamer_v3` for a domain that has published settings. `dreamer_v3` and `dreamer_v3:12m` get the domain
    in front of the size, so that the size that was asked for stays. Any other choice stays as it is. A run that goes on
    sees what it saw, unless somebody says otherwise; meta: of its newest checkpoint.
    """
    domain = _DOMAINS.get(environment.partition(":")[0])
    if domain is None:
        return preset or DEFAULT_PRESET
    first, *rest = (preset or "dreamer_v3").split(":")
    if first != "dreamer_v3" or {*_DOMAINS.values(), "dmc_vision", "robot"} & set(rest):
        return preset or DEFAULT_PRESET
    if domain == "dmc_proprio":
        said = "pixels" in _said(preset or first, overrides)
        shown = meta.config if meta and not said else composed(preset or first, overrides)
        domain = "dmc_vision" if shown.get("pixels") is True else domain
    return ":".join([first, domain, *rest])


def require_for_robots(overrides: Sequence[str]) -> None:
    """Raise ValueError for an override that a robot's RobotSpec says instead."""
    for override in overrides:
        if override.partition("=")[0].strip() in _OF_ENVIRONMENTS:
            raise ValueError(
                f"--set {override}: only with --env; at which rate a robot acts and what it sees is in its RobotSpec"
            )


def chosen_config(args: argparse.Namespace, environment: str | None = None) -> Config:
    """What the options ask for, see `resolved`; says what stays of the run.

    Raises ValueError as that does.
    """
    config, kept = resolved(args, environment)
    if kept:
        _log.info("this run goes on as it was where neither command nor preset says so today: %s", " ".join(kept))
    return config


def resolved(args: argparse.Namespace, environment: str | None = None) -> tuple[Config, list[str]]:
    """The configuration that the options ask for, in a run that goes on with what it had where they do not say; and
    that as overrides.

    Raises:
      ValueError: an unknown preset or field (lists the known ones), or a wrong value.
    """
    said: dict[str, str] = {}
    for override in args.set:
        name = override.partition("=")[0].strip()
        if name == "seed":
            raise ValueError(f"--set {override}: the seed has an option of its own, --seed")
        if name in said:
            raise ValueError(f"--set {override}: {name} is set twice, by --set {said[name]} already")
        said[name] = override
    meta = newest_meta(args.logdir) if "logdir" in args else None
    preset = args.preset or DEFAULT_PRESET
    if environment:
        preset = preset_for(environment, args.preset, args.set, meta)
    given = getattr(args, "freeze", "")  # relearn has no such option
    frozen = [name.strip() for name in given.split(",")]
    if not all(frozen) and given:
        raise ValueError(f"--freeze {given!r}: expected modules separated by commas, such as encoder,decoder")
    freeze = [f"freeze=[{', '.join(frozen)}]"] if all(frozen) else []
    if freeze and "freeze" in said:
        raise ValueError(f"--freeze {given}: frozen already by --set {said['freeze']}")
    overrides = [*args.set, *freeze, f"seed={args.seed}"]
    kept = _kept(preset, overrides, meta) if meta else []
    return load_config(preset, overrides, kept), kept  # by itself an override may not go with the preset


def _kept(preset: str, overrides: Sequence[str], meta: CheckpointMeta) -> list[str]:
    """Overrides with which a run of the same preset goes on as it was: when it began the preset may have said something
    else, in another version, or the person something more.

    meta: of its newest checkpoint.
    """
    if not f"{meta.config['name']} ".startswith(f"{preset} "):
        return []
    said = _said(preset, overrides)
    before, kept = meta.configuration(), []
    for path, now, then in differences(composed(preset), meta.config):
        told = any(path == name or path.startswith(f"{name}.") for name in said)
        if not (told or now is None or then is None) and is_read(before, path):  # None: one of the versions lacks it
            kept.append(f"{path}={then if isinstance(then, str) else json.dumps(then)}")
    return kept


def _said(preset: str, overrides: Sequence[str]) -> list[str]:
    """Settings that a person says, by override or in a preset of one's own; of some only the section."""
    own = [path for name in preset.split(":") if is_own(name) for path in OwnPreset(name).paths]
    return [override.partition("=")[0].strip() for override in overrides] + own
