"""Options that the training commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from robot_dreamer.config import Config, load_config
from robot_dreamer.option_types import number, whole_number

STOPPED = 130  # exit status when a signal ended a run before its budget was spent; run again to resume
DEFAULT_PRESET = "cpu_small"
_DOMAINS = {"dmc": "dmc_proprio", "atari": "atari100k", "crafter": "crafter"}  # kind of environment: preset


def add_training_arguments(parser: argparse.ArgumentParser, preset: str | None = DEFAULT_PRESET) -> None:
    """Preset, overrides, place and budget of a run."""
    parser.add_argument("--preset", default=preset, help="preset, or several joined by colons (robot-dreamer list)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override of a preset, e.g. model.deter=512"
    )
    parser.add_argument(
        "--logdir", type=Path, default=Path("runs/default"), help="everything of this run; running again resumes it"
    )
    parser.add_argument(
        "--minutes", type=number(0.0), default=0.0, help="minutes of training over all starts; 0: no limit"
    )
    parser.add_argument(
        "--steps",
        type=whole_number(0),
        default=0,
        help="environment steps over all starts, action repeats included; 0: no limit",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the parameters and all noise")
    parser.add_argument("--threads", type=whole_number(1), default=1, help="CPU threads of the learner")


def preset_for(environment: str, preset: str | None, overrides: Sequence[str]) -> str:
    """The preset of an in-process environment, with the settings of its domain where the user chose none.

    No preset is `dreamer_v3` for a domain that has published settings. `dreamer_v3` and `dreamer_v3:12m` get the domain
    in front of the size, so that the size that was asked for stays. Any other choice stays as it is.
    """
    domain = _DOMAINS.get(environment.partition(":")[0])
    if domain is None:
        return preset or DEFAULT_PRESET
    first, *rest = (preset or "dreamer_v3").split(":")
    if first != "dreamer_v3" or {*_DOMAINS.values(), "dmc_vision", "robot"} & set(rest):
        return preset or DEFAULT_PRESET
    if domain == "dmc_proprio" and load_config(preset or first, overrides).pixels:
        domain = "dmc_vision"
    return ":".join([first, domain, *rest])


def chosen_config(args: argparse.Namespace, environment: str | None = None) -> Config:
    """The configuration that the options ask for.

    Raises:
      ValueError: an unknown preset or field (lists the known ones), or a wrong value.
    """
    for override in args.set:
        if override.partition("=")[0].strip() == "seed":
            raise ValueError(f"--set {override}: the seed has an option of its own, --seed")
    preset = preset_for(environment, args.preset, args.set) if environment else args.preset or DEFAULT_PRESET
    return load_config(preset, [*args.set, f"seed={args.seed}"])
