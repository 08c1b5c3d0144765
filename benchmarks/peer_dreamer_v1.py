"""Dreamer V1 by yusukeurakami/dreamer-pytorch as one callable update, for `peers.py`, after the calls of its `main.py`.

Beside ours it does less: it weighs no imagined state. Asked for a horizon of 15, its own script imagines 14 steps; here
it is asked for one more, so that both imagine the same number. Its world model is called as that of Kaixhin/PlaNet.
"""

from __future__ import annotations

import torch
from torch.distributions import Normal

from benchmarks.peer_code import Checkout, count_of, parameters_of, step_of
from benchmarks.peer_planet import model_losses_of
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
    steps = [step_of(group, rule) for group, rule in zip(groups, rules, strict=True)]
    model_losses = model_losses_of(models, transition, encoder, decoder, reward_model, config)
    discount = 1 - 1 / behavior.return_horizon

    def update() -> list[float]:
        losses, beliefs, states = model_losses()
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
