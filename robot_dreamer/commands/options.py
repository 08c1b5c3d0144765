"""Options that the training commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.config import Config, load_config

STOPPED = 130  # exit status when a signal ended a run before its budget was spent; run again to resume


def add_training_arguments(parser: argparse.ArgumentParser, minutes: float = 0.0) -> None:
    """Preset, overrides, place and budget of a run."""
    parser.add_argument(
        "--preset", default="cpu_small", help="preset, or several joined by colons (robot-dreamer list)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override of a preset, e.g. model.deter=512"
    )
    parser.add_argument(
        "--logdir", type=Path, default=Path("runs/default"), help="everything of this run; running again resumes it"
    )
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="minutes of training over all starts; 0: no limit"
    )
    parser.add_argument("--steps", type=int, default=0, help="environment steps over all starts; 0: no limit")
    parser.add_argument("--seed", type=int, default=0, help="seed of the parameters and all noise")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the learner")


def chosen_config(args: argparse.Namespace) -> Config:
    """The configuration that the options ask for; raises ValueError that lists the known presets or fields."""
    return load_config(args.preset, [*args.set, f"seed={args.seed}"])
