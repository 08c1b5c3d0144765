"""TorchRL's DreamerV3 recipe as one callable update, for `step_time.py`; needs torchrl 0.14.1, omegaconf, hydra-core.

The recipe comes inside the wheel (`sota-implementations/dreamer_v3`); its learner is built by its own functions, with
our sizes, and runs as it chooses itself for the device: eager on a CPU, compiled and captured on a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from robot_dreamer.config import Config

TESTED = "0.14.1"


def torchrl_update(
    config: Config, heads: tuple[int, ...], action_size: int, device: torch.device
) -> tuple[Callable[[], object], str]:
    """One update on a random batch of the sizes of `config`, and what it is.

    heads: sizes of the vector observations.

    Raises ImportError as `add_recipe`.
    """
    add_recipe("dreamer_v3")
    import train as recipe
    from omegaconf import OmegaConf
    from tensordict import TensorDict

    size = sum(heads)
    cfg = OmegaConf.create(_settings(config, heads, action_size))
    torch.manual_seed(0)
    learner = recipe._build_learner(cfg, device, size, action_size)
    stepper = recipe._make_learner_update(cfg, device, learner)
    lead = (config.batch_size, config.batch_length)
    latent = config.model.stoch * config.model.classes
    sample = TensorDict(
        {
            "action": torch.randn(*lead, action_size).clamp(-1, 1),
            "is_init": torch.zeros(*lead, 1, dtype=torch.bool),
            "state": torch.zeros(*lead, latent),
            "belief": torch.zeros(*lead, config.model.deter),
            "next": {
                "observation": torch.randn(*lead, size),
                "reward": torch.randn(*lead, 1),
                "done": torch.zeros(*lead, 1, dtype=torch.bool),
                "terminated": torch.zeros(*lead, 1, dtype=torch.bool),
            },
        },
        batch_size=lead,
    ).to(device)
    if any(stepper.resolve(device)):
        stepper.warmup(sample)
    count = sum(p.numel() for group in learner.optimizer.param_groups for p in group["params"])
    return lambda: stepper.step(None, sample), f"torchrl {TESTED}, {count:,} parameters"


def add_recipe(name: str) -> None:
    """Let the modules of a recipe inside TorchRL's wheel be imported.

    Raises ImportError where TorchRL is missing or of another version than the one this was written for.
    """
    import torchrl

    if version("torchrl") != TESTED:
        raise ImportError(f"expected torchrl {TESTED}, found {version('torchrl')}")
    sys.path.insert(0, str(Path(torchrl.__file__).parents[1] / "sota-implementations" / name))


def _settings(config: Config, heads: tuple[int, ...], action_size: int) -> dict[str, Any]:
    """The entries of the recipe's configuration that its learner reads, from ours."""
    model, behavior, optimizer, scales = config.model, config.behavior, config.optimizer, config.loss_scales
    return {
        "env": {
            "backend": "custom",
            "factory": f"{__name__}:environment",
            "factory_kwargs": {"observation_size": sum(heads), "action_size": action_size},
            "name": "random",
            "seed": 0,
            "use_seed": False,
            "max_episode_steps": 1000,
            "vector_key": "observation",
            "pixels_key": None,
        },
        "collector": {"num_envs": 1},
        "replay_buffer": {"batch_size": config.batch_size, "seq_len": config.batch_length},
        "networks": {
            "rnn_hidden_dim": model.deter,
            "hidden_dim": model.hidden,
            "num_categoricals": model.stoch,
            "num_classes": model.classes,
            "num_blocks": model.blocks,
            "recurrent_model": "block_gru",
            "dynamics_layers": model.dynamics_layers,
            "prior_layers": model.prior_layers,
            "posterior_layers": model.posterior_layers,
            "encoder_layers": model.encoder_layers,
            "decoder_layers": model.decoder_layers,
            "decoder_event_dims": list(heads),
            "reward_layers": model.reward_layers,
            "actor_layers": behavior.policy_layers,
            "value_layers": behavior.critic_layers,
            "num_reward_bins": model.bins,
            "num_value_bins": model.bins,
            "policy_min_std": behavior.min_std,
            "policy_max_std": behavior.max_std,
            "unimix": model.unimix,
            "norm_eps": 1e-4,
        },
        "optimization": {
            "compile": "auto",
            "compile_train_step": None,
            "compile_rssm": None,
            "cudagraph_train_step": None,
            "compile_train_step_mode": "default",
            "rssm_scan_unroll": 8,
            "mixed_precision": config.run.precision == "bfloat16",
            "free_bits": model.free_nats,
            "dynamic_loss_weight": scales.dynamics,
            "representation_loss_weight": scales.representation,
            "replay_value_loss_weight": scales.replay_value,
            "continuation_horizon": behavior.return_horizon,
            "imagination_horizon": behavior.horizon,
            "use_reinforce": True,
            "return_normalization_rate": behavior.return_rate,
            "return_normalization_min_scale": behavior.return_limit,
            "gamma": 1.0,
            "lmbda": behavior.lam,
            "slow_critic_regularization": behavior.slow_regularizer,
            "slow_critic_tau": behavior.slow_rate,
            "lr": optimizer.learning_rate,
            "adaptive_grad_clip": optimizer.agc,
            "optimizer_eps": optimizer.epsilon,
            "warmup_steps": optimizer.warmup,
        },
    }


def environment(observation_size: int, action_size: int, **_: object) -> Any:
    """An environment of the right spaces; the recipe asks it for its specifications only."""
    import gymnasium
    import numpy as np
    from torchrl.envs.libs.gym import GymWrapper

    class Random(gymnasium.Env):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(-1, 1, (observation_size,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (action_size,), np.float32)

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            return self.observation_space.sample(), {}

        def step(self, _: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return self.observation_space.sample(), 0.0, False, False, {}

    return GymWrapper(Random(), device="cpu")
