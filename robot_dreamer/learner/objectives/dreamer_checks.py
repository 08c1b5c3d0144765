"""What of the settings of the Dreamers does not go together, and why."""

from __future__ import annotations

from collections.abc import Sequence

from robot_dreamer.config import Config
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.gru_cells import GRU_CELLS

_BEGIN = "begin with the preset dreamer_v1, dreamer_v2 or daydreamer"


def check(config: Config, actions: Sequence[Field]) -> None:
    """Raises ValueError that names the setting, what is expected with which other one, what was found, and why."""
    model, behavior = config.model, config.behavior

    def refuse(setting: str, expected: str, found: object, why: str) -> None:
        raise ValueError(f"objective dreamer: {setting}: expected {expected}, found {found}: {why}")

    if model.cell not in GRU_CELLS:
        cells, why = f"one of {', '.join(GRU_CELLS)}", f"that cell is another generation's; {_BEGIN}"
        refuse("model.cell", cells, model.cell, why)
    if model.kl_rule == "dyn_rep":
        refuse("model.kl_rule", "hinge, floor_of_mean, balanced or adaptive", model.kl_rule, f"it is V3's; {_BEGIN}")
    if model.overshooting:
        refuse("model.overshooting", "0", model.overshooting, "latent overshooting is PlaNet's alone")
    if model.pixel_code == "five_bit":
        refuse("model.pixel_code", "centered or unit", model.pixel_code, "its noise is PlaNet's alone")
    if not behavior.imagine_start and behavior.returns == "departure":
        reason = "without its own reward a start has no return"
        refuse("behavior.returns", "arrival with behavior.imagine_start=false", behavior.returns, reason)
    if behavior.update_order == "critic_first" and not behavior.slow_every:
        refuse(
            "behavior.slow_every", "a positive number with critic_first", 0, "the actor is judged by the slow critic"
        )
    if behavior.imagine_last:
        refuse("behavior.imagine_last", "0", behavior.imagine_last, "every row is a start; only V3 chooses")
    if behavior.horizon < 2:
        refuse("behavior.horizon", "at least 2", behavior.horizon, "a return needs a state after the action")
    if behavior.entropy_target and behavior.actor != "normal" and any(a.kind != "discrete" for a in actions):
        refuse(
            "behavior.entropy_target", "0", behavior.entropy_target, f"{behavior.actor} has no known span of entropy"
        )


def check_v3(config: Config) -> None:
    """Raises ValueError that names a setting of an earlier generation, which DreamerV3 does not read."""
    model, behavior = config.model, config.behavior
    only = {
        "model.cell": (model.cell, "block"),
        "model.latent": (model.latent, "classes"),
        "model.kl_rule": (model.kl_rule, "dyn_rep"),
        "model.overshooting": (model.overshooting, 0),
        "behavior.actor": (behavior.actor, "normal"),
        "behavior.gradient": (behavior.gradient, "auto"),
        "behavior.slow_every": (behavior.slow_every, 0),
        "behavior.exploration": (behavior.exploration, 0.0),
        "behavior.update_order": (behavior.update_order, "together"),
        "behavior.advantage_rate": (behavior.advantage_rate, 0.0),
        "behavior.entropy_target": (behavior.entropy_target, 0.0),
    }
    for setting, (found, expected) in only.items():
        if found != expected:
            raise ValueError(
                f"objective dreamer_v3: {setting}: expected {expected}, found {found}: that is an earlier "
                "generation's; begin with one of the presets planet, dreamer_v1, dreamer_v2, daydreamer"
            )
