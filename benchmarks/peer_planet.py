"""PlaNet by Kaixhin/PlaNet as one callable update, for `peers.py`, after the calls of its `main.py`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from benchmarks.peer_code import Checkout, count_of, parameters_of, step_of
from benchmarks.step_time import ACTIONS, HEADS, Update
from robot_dreamer.config import Config


def planet_update(config: Config, code: Checkout) -> tuple[Update, str]:
    """One update on a ready batch of vectors, of the sizes of `config`, and what it is.

    Raises ImportError where the code is not there.
    """
    (models,) = code.modules("models")
    model, observed = config.model, sum(HEADS)
    torch.manual_seed(0)
    sizes = (model.deter, model.stoch)
    transition = models.TransitionModel(*sizes, ACTIONS, model.hidden, model.units)
    decoder = models.ObservationModel(True, observed, *sizes, model.units)
    reward_model = models.RewardModel(*sizes, model.reward_units or model.units)
    encoder = models.Encoder(True, observed, model.units)
    parameters = parameters_of(transition, decoder, reward_model, encoder)
    step = step_of(parameters, config.optimizer)
    model_losses = model_losses_of(models, transition, encoder, decoder, reward_model, config)

    def update() -> list[float]:
        losses, _, _ = model_losses()
        step(torch.stack(losses).sum())
        return [loss.item() for loss in losses]

    return update, f"{code}, {count_of(parameters)}"


def model_losses_of(
    models: ModuleType,
    transition: nn.Module,
    encoder: nn.Module,
    decoder: nn.Module,
    reward_model: nn.Module,
    config: Config,
) -> Callable[[], tuple[list[Tensor], Tensor, Tensor]]:
    """At each call: losses of reconstruction, reward and KL on a ready batch, beliefs (T, B, D), states (T, B, S).

    models: the module that the networks are of, which has their `bottle`.
    """
    model, rows = config.model, config.batch_size
    lead = (config.batch_length + 1, rows)
    observation, reward = torch.randn(*lead, sum(HEADS)), torch.randn(lead)
    action, live = torch.rand(*lead, ACTIONS) * 2 - 1, torch.ones(*lead, 1)
    free_nats = torch.full((1,), model.free_nats)

    def losses() -> tuple[list[Tensor], Tensor, Tensor]:
        start = torch.zeros(rows, model.deter), torch.zeros(rows, model.stoch)
        embedded = models.bottle(encoder, (observation[1:],))
        beliefs, _, prior_mean, prior_std, states, mean, std = transition(
            start[1], action[:-1], start[0], embedded, live[:-1]
        )
        found = [
            _squares(models.bottle(decoder, (beliefs, states)), observation[1:]).sum(2).mean(),
            _squares(models.bottle(reward_model, (beliefs, states)), reward[:-1]).mean(),
            torch.max(kl_divergence(Normal(mean, std), Normal(prior_mean, prior_std)).sum(2), free_nats).mean(),
        ]
        return found, beliefs, states

    return losses


def _squares(predicted: Tensor, true: Tensor) -> Tensor:
    return F.mse_loss(predicted, true, reduction="none")
