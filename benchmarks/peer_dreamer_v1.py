"""Dreamer V1 by yusukeurakami/dreamer-pytorch as one callable update, for `peers.py`, after the calls of its `main.py`.

Beside ours it does less: it weighs no imagined state. Asked for a horizon of 15, its own script imagines 14 steps; here
it is asked for one more, so that both imagine the same number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from benchmarks.peer_code import Checkout, count_of, parameters_of
from benchmarks.step_time import ACTIONS, HEADS, Update
from robot_dreamer.config import Config


def dreamer_v1_update(config: Config, code: Checkout) -> tuple[Update, str]:
    """One update on a ready batch of vectors, of the sizes of `config`, and what it is.

    Raises ImportError where the code, or what it needs (cv2, plotly), is not there.
    """
    models, utils = code.modules("models", "utils")
    model, behavior, observed = config.model, config.behavior, sum(HEADS)
    torch.manual_seed(0)
    sizes = (model.deter, model.stoch)
    transition = models.TransitionModel(*sizes, ACTIONS, model.hidden, model.units, "elu")
    decoder = models.ObservationModel(True, observed, *sizes, model.units, "elu")
    reward_model = models.RewardModel(*sizes, model.units, "elu")
    encoder = models.Encoder(True, observed, model.units, "elu")
    actor = models.ActorModel(*sizes, model.units, ACTIONS, activation_function="elu")
    critic = models.ValueModel(*sizes, model.units, "elu")
    world = [*transition.modules, *encoder.modules, *decoder.modules, *reward_model.modules]
    groups = [parameters_of(transition, decoder, reward_model, encoder), parameters_of(actor), parameters_of(critic)]
    rules = [config.optimizer, config.actor_optimizer, config.critic_optimizer]
    steps = [
        _step_of(group, rule.learning_rate, rule.epsilon, rule.clip) for group, rule in zip(groups, rules, strict=True)
    ]
    lead, rows = (config.batch_length + 1, config.batch_size), config.batch_size
    observation, reward = torch.randn(*lead, observed), torch.randn(lead)
    action, live = torch.rand(*lead, ACTIONS) * 2 - 1, torch.ones(*lead, 1)
    free_nats = torch.full((1,), model.free_nats)
    discount = 1 - 1 / behavior.return_horizon

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
        steps[0](torch.stack(losses).sum())

        with utils.FreezeParameters(world):
            dreamt = utils.imagine_ahead(states.detach(), beliefs.detach(), actor, transition, behavior.horizon + 1)
        feature = dreamt[0], dreamt[1]
        with utils.FreezeParameters(world + critic.modules):
            rewards, value = models.bottle(reward_model, feature), models.bottle(critic, feature)
        returns = utils.lambda_return(rewards, value, bootstrap=value[-1], discount=discount, lambda_=behavior.lam)
        losses.append(-returns.mean())
        steps[1](losses[-1])

        judged = Normal(models.bottle(critic, tuple(x.detach() for x in feature)), 1)
        losses.append(-judged.log_prob(returns.detach()).mean())
        steps[2](losses[-1])
        return [loss.item() for loss in losses]

    return update, f"{code}, {count_of(sum(groups, []))}; less: weighs no imagined state"


def _step_of(parameters: list[nn.Parameter], rate: float, epsilon: float, clip: float) -> Callable[[Tensor], None]:
    """From a loss to new parameters."""
    optimizer = torch.optim.Adam(parameters, lr=rate, eps=epsilon)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    return step


def _squares(predicted: Tensor, true: Tensor) -> Tensor:
    return F.mse_loss(predicted, true, reduction="none")
