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
    "behavior": ("dreamer_v3", "dreamer", "planet"),
    "loss_scales.dynamics": ("dreamer_v3",),
    "loss_scales.representation": ("dreamer_v3",),
    "loss_scales.policy": ("dreamer_v3",),
    "loss_scales.value": ("dreamer_v3",),
    "loss_scales.replay_value": ("dreamer_v3",),
    "loss_scales.kl": ("dreamer", "planet"),
    "loss_scales.overshooting": ("planet",),
    "loss_scales.memory": ("world_models",),
}
"""Sections and settings that not every objective reads, with those that do."""
_PLANET_READS = ("behavior.return_horizon", "behavior.continue_discount")  # of the section: its continue head's label


def require_read(config: Config, overrides: Sequence[str]) -> None:
    """Raise ValueError for an override `field=value` of a setting that the objective does not read."""
    for override in overrides:
        path = override.partition("=")[0].strip()
        key = next((key for key in _OF_SOME if path == key or path.startswith(f"{key}.")), None)
        if key is None:
            continue
        readers = _OF_SOME[key]
        unread = config.objective not in readers
        if config.objective == "planet" and key == "behavior" and path not in _PLANET_READS:
            readers, unread = ("dreamer_v3", "dreamer"), True
        if unread:
            advice = "; its exploration is planner.exploration" if path == "behavior.exploration" else ""
            raise ValueError(
                f"{path}: the objective {config.objective} does not read it ({' and '.join(readers)} would){advice}"
            )
