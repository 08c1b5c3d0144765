"""Which settings a generation reads: one that it does not is refused where a person sets it, not believed in."""

from __future__ import annotations

from collections.abc import Sequence

from robot_dreamer.config.check import SettingError
from robot_dreamer.config.schema import Config

_OF_SOME = {
    "planner": ("planet",),
    "stages": ("world_models",),
    "evolution": ("world_models",),
    "memory_optimizer": ("world_models",),
    "actor_optimizer": ("dreamer",),
    "critic_optimizer": ("dreamer",),
    "behavior.return_horizon": ("dreamer_v3", "dreamer", "planet"),
    "behavior.continue_discount": ("dreamer_v3", "dreamer", "planet"),
    "behavior": ("dreamer_v3", "dreamer"),
    "loss_scales.dynamics": ("dreamer_v3",),
    "loss_scales.representation": ("dreamer_v3",),
    "loss_scales.policy": ("dreamer_v3",),
    "loss_scales.value": ("dreamer_v3",),
    "loss_scales.replay_value": ("dreamer_v3",),
    "loss_scales.kl": ("dreamer", "planet"),
    "loss_scales.overshooting": ("planet",),
    "loss_scales.memory": ("world_models",),
    "demonstrations.imitation": ("dreamer_v3",),
    "demonstrations.half_life": ("dreamer_v3",),
    "bundle_ema": ("dreamer_v3", "dreamer", "planet"),
}
"""Settings and sections that not every objective reads, with those that do; a setting stands before its section."""


def require_read(config: Config, overrides: Sequence[str]) -> None:
    """Raise SettingError for a setting that the objective does not read; overrides: `field=value`, or `field`."""
    for override in overrides:
        path = override.partition("=")[0].strip()
        if not is_read(config, path):
            advice = "; its exploration is planner.exploration" if path == "behavior.exploration" else ""
            readers = " and ".join(_readers(path))
            text = f"{path}: the objective {config.objective} does not read it ({readers} would){advice}"
            raise SettingError(path, text)


def is_read(config: Config, path: str) -> bool:
    """Whether the objective reads a setting, or anything of a section."""
    readers = _readers(path)
    return not readers or config.objective in readers


def _readers(path: str) -> tuple[str, ...]:
    """The objectives that read a setting; empty: all."""
    path = path.removeprefix("run.")  # which a setting of the run may have or not
    key = next((key for key in _OF_SOME if path == key or path.startswith(f"{key}.")), None)
    return () if key is None else _OF_SOME[key]
