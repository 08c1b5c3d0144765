"""Which settings a generation reads: one that it does not is refused where a person sets it, not believed in."""

from __future__ import annotations

from collections.abc import Sequence

from robot_dreamer.config.check import SettingError
from robot_dreamer.config.schema import Config

_V3, _DREAMER, _PLANET, _MEMORY = "dreamer_v3", "dreamer", "planet", "world_models"


def _each(section: str, names: str, *readers: str) -> dict[str, tuple[str, ...]]:
    return {f"{section}.{name}": readers for name in names.split()}


_OF_SOME = {
    "planner": (_PLANET,),
    "stages": (_MEMORY,),
    "evolution": (_MEMORY,),
    "memory_optimizer": (_MEMORY,),
    "actor_optimizer": (_DREAMER,),
    "critic_optimizer": (_DREAMER,),
    **_each("model", "blocks multipliers kernel decoder_blocks dynamics_layers bins", _V3),
    **_each("model", "hidden classes prior_layers posterior_layers reward_layers", _V3, _DREAMER, _PLANET),
    **_each("model", "continue_layers unimix kl_rule overshooting", _V3, _DREAMER, _PLANET),
    **_each("model", "activation conv_activation norm pixel_code likelihood", _DREAMER, _PLANET, _MEMORY),
    **_each("model", "daydreamer_init std_rule", _DREAMER, _PLANET, _MEMORY),
    **_each("model", "learned_start kl_balance reward_units continue_head tanh_rewards min_std", _DREAMER, _PLANET),
    **_each("model", "mixtures restart_input", _MEMORY),
    **_each("behavior", "return_horizon continue_discount", _V3, _DREAMER, _PLANET),
    **_each("behavior", "slow_rate slow_regularizer slow_target critic_outscale", _V3),
    **_each("behavior", "return_rate return_percentile_low return_percentile_high return_limit", _V3),
    **_each("behavior", "init_std exact_cut dynamics_share returns imagine_start", _DREAMER),
    "behavior": (_V3, _DREAMER),
    **_each("loss_scales", "dynamics representation policy value replay_value", _V3),
    **_each("loss_scales", "kl", _DREAMER, _PLANET),
    **_each("loss_scales", "overshooting", _PLANET),
    **_each("loss_scales", "memory", _MEMORY),
    **_each("demonstrations", "imitation half_life", _V3),
    "bundle_ema": (_V3, _DREAMER, _PLANET),
}
"""Settings and sections that not every objective reads, with those that do; a setting stands before its section. Some
are read only to be refused with what to choose instead (`learner/objectives/dreamer_checks.py`)."""

_ADAM = ("adam", "adam_tf")
_OF_RULE = {"agc": ("laprop",), "agc_minimum": ("laprop",)} | dict.fromkeys(
    ("clip", "clip_entries", "decay", "decay_kernels"), _ADAM
)
"""Settings of an optimiser that not every rule reads, with those that do."""

_WITH: dict[str, tuple[str, tuple[object, ...]]] = {
    **dict.fromkeys(("model.classes", "model.unimix"), ("model.latent", ("classes",))),
    **dict.fromkeys(("model.min_std", "model.std_rule"), ("model.latent", ("numbers",))),
    **dict.fromkeys(("model.continue_layers", "loss_scales.continuation"), ("model.continue_head", (True,))),
    "model.kl_balance": ("model.kl_rule", ("balanced", "adaptive")),
    "behavior.init_std": ("behavior.actor", ("tanh_normal",)),
    "behavior.exact_cut": ("behavior.actor", ("truncated_normal",)),
    "behavior.max_std": ("behavior.actor", ("normal",)),
    "behavior.dynamics_share": ("behavior.gradient", ("mix",)),
    "behavior.entropy": ("behavior.entropy_target", (0.0,)),
}
"""Settings that are read with certain values of another one only, where the objective reads that one."""


def require_read(config: Config, paths: Sequence[str]) -> None:
    """Raise SettingError for a setting, by its name with its section, that nothing of this configuration reads."""
    for path in paths:
        if reason := _unread(config, path):
            raise SettingError(path, f"{path}: {reason}")


def require_switched_on(config: Config, paths: Sequence[str]) -> None:
    """Raise SettingError for a setting that another one leaves unread.

    For single settings: a file may hold what waits for the other one to be switched on, as the shipped presets do.
    """
    for path in paths:
        other, values = _WITH.get(path, ("", ()))
        if other and is_read(config, other) and (found := _value(config, other)) not in values:
            wanted = " or ".join(map(_said, values))
            raise SettingError(path, f"{path}: it is read with {other}={wanted} only, found {_said(found)}")


def is_read(config: Config, path: str) -> bool:
    """Whether the objective reads a setting, or anything of a section."""
    return not _unread(config, path)


def _unread(config: Config, path: str) -> str:
    """Who does not read a setting, and who would; empty if it is read."""
    path = path.removeprefix("run.")  # which a setting of the run may have or not
    key = next((key for key in _OF_SOME if path == key or path.startswith(f"{key}.")), None)
    if key is not None and config.objective not in _OF_SOME[key]:
        advice = "; its exploration is planner.exploration" if path == "behavior.exploration" else ""
        readers = " and ".join(_OF_SOME[key])
        return f"the objective {config.objective} does not read it ({readers} would){advice}"
    section, _, name = path.partition(".")
    rules = _OF_RULE.get(name, ()) if section.endswith("optimizer") else ()
    if rules and (rule := getattr(config, section).rule) not in rules:
        return f"the rule {rule} does not read it ({' and '.join(rules)} would)"
    return ""


def _value(config: Config, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)


def _said(value: object) -> str:
    return str(value).lower()
