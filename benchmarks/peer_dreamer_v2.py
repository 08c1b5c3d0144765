"""DreamerV2 by jsikyoon/dreamer-torch as one callable update, for `peers.py`, after `Dreamer._train` of `dreamer.py`.

It knows pictures only. As ours it begins with bytes, and turns them into numbers.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.peer_code import Checkout, count_of, parameters_of
from benchmarks.step_time import ACTIONS, Update
from robot_dreamer.config import Config


def dreamer_v2_update(config: Config, code: Checkout) -> tuple[Update, str]:
    """One update on a ready batch of pictures, of the sizes of `config`, and what it is.

    Raises ImportError where the code is not there.
    """
    (models,) = code.modules("models")
    assert code.folder is not None
    settings = SimpleNamespace(**_settings(config, code.folder))
    torch.manual_seed(0)
    world = models.WorldModel(0, settings)
    behavior = models.ImagBehavior(settings, world, settings.behavior_stop_grad)
    trained = parameters_of(world, behavior.actor, behavior.value)
    for module in (world, behavior):
        module.requires_grad_(False)
    rng, lead = np.random.default_rng(0), (config.batch_size, config.batch_length)
    batch = {
        "image": rng.integers(0, 256, (*lead, 64, 64, 3), np.uint8),
        "action": rng.uniform(-1, 1, (*lead, ACTIONS)).astype(np.float32),
        "reward": rng.standard_normal(lead).astype(np.float32),
    }

    def reward(feature: object, state: object, action: object) -> torch.Tensor:
        mode: torch.Tensor = world.heads["reward"](world.dynamics.get_feat(state)).mode()
        return mode

    def update() -> object:
        start, _, found = world._train(batch)
        return found | behavior._train(start, reward)[-1]

    return update, f"{code}, {count_of(trained)}"


def _settings(config: Config, folder: Path) -> dict[str, object]:
    """Its own defaults, with our sizes and the constants of ours."""
    model, behavior = config.model, config.behavior
    defaults = yaml.safe_load((folder / "configs.yaml").read_text())["defaults"]
    return defaults | {
        "device": "cpu",
        "precision": 32,
        "size": (64, 64),
        "num_actions": ACTIONS,
        "act": nn.ELU,
        "dyn_cell": "gru_layer_norm",
        "dyn_deter": model.deter,
        "dyn_hidden": model.hidden,
        "dyn_stoch": model.stoch,
        "dyn_discrete": model.classes,
        "units": model.units,
        "cnn_depth": model.depth,
        "reward_layers": model.reward_layers,
        "actor_layers": behavior.policy_layers,
        "value_layers": behavior.critic_layers,
        "kl_balance": model.kl_balance,
        "kl_free": model.free_nats,
        "imag_horizon": behavior.horizon,
        "actor_entropy": lambda: behavior.entropy,
        "actor_state_entropy": lambda: 0.0,
        "discount_lambda": behavior.lam,
        "model_lr": config.optimizer.learning_rate,
        "actor_lr": config.actor_optimizer.learning_rate,
        "value_lr": config.critic_optimizer.learning_rate,
        "opt_eps": config.optimizer.epsilon,
        "weight_decay": config.optimizer.decay,
    }
