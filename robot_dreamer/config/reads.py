"""Which settings a generation reads: one that it does not is refused where a person sets it, not believed in."""

from __future__ import annotations

from collections.abc import Sequence

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
}
"""Settings and sections that not every objective reads, with those that do; a setting stands before its section."""


def require_read(config: Config, overrides: Sequence[str]) -> None:
    """Raise ValueError for an override `field=value` of a setting that the objective does not read."""
    for override in overrides:
        path = override.partition("=")[0].strip()
        key = next((key for key in _OF_SOME if path == key or path.startswith(f"{key}.")), None)
        if key is not None and config.objective not in _OF_SOME[key]:
            advice = "; its exploration is planner.exploration" if path == "behavior.exploration" else ""
            readers = " and ".join(_OF_SOME[key])
            raise ValueError(f"{path}: the objective {config.objective} does not read it ({readers} would){advice}")
