"""PlaNet by Kaixhin/PlaNet as one callable update, for `peers.py`, after the calls of its `main.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from benchmarks.peer_code import Checkout, count_of, parameters_of
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
    optimizer = torch.optim.Adam(parameters, lr=config.optimizer.learning_rate, eps=config.optimizer.epsilon)
    lead, rows = (config.batch_length + 1, config.batch_size), config.batch_size
    observation, reward = torch.randn(*lead, observed), torch.randn(lead)
    action, live = torch.rand(*lead, ACTIONS) * 2 - 1, torch.ones(*lead, 1)
    free_nats = torch.full((1,), model.free_nats)

    def update() -> list[float]:
        start = torch.zeros(rows, model.deter), torch.zeros(rows, model.stoch)
        embedded = models.bottle(encoder, (observation[1:],))
        beliefs, _, prior_mean, prior_std, states, mean, std = transition(
            start[1], action[:-1], start[0], embedded, live[:-1]
        )
        losses = [
            _squares(models.bottle(decoder, (beliefs, states)), observation[1:]).sum(2).mean(),
            _squares(models.bottle(reward_model, (beliefs, states)), reward[:-1]).mean(),
            torch.max(kl_divergence(Normal(mean, std), Normal(prior_mean, prior_std)).sum(2), free_nats).mean(),
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(parameters, config.optimizer.clip)
        optimizer.step()
        return [loss.item() for loss in losses]

    return update, f"{code}, {count_of(parameters)}"


def _squares(predicted: Tensor, true: Tensor) -> Tensor:
    return F.mse_loss(predicted, true, reduction="none")
