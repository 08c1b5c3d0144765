"""Dreamer V1 by TorchRL as one callable update, for `peers.py`; needs torchrl 0.14.1.

Its objectives `DreamerModelLoss`, `DreamerActorLoss` and `DreamerValueLoss`, with the modules that its recipe puts
together (`sota-implementations/dreamer/dreamer_utils.py`, inside the wheel) in our sizes, in the order of the recipe's
training loop, eager as it is on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.peer_code import count_of, parameters_of, step_of
from benchmarks.step_time import ACTIONS, HEADS, Update
from benchmarks.torchrl_learner import TESTED, add_recipe, environment
from robot_dreamer.config import Config


def torchrl_v1_update(config: Config) -> tuple[Update, str]:
    """One update on a ready batch of vectors, of the sizes of `config`, and what it is.

    Raises ImportError as `add_recipe`.
    """
    add_recipe("dreamer")
    import dreamer_utils as recipe
    from tensordict import TensorDict
    from torchrl.data import Unbounded
    from torchrl.envs import TensorDictPrimer, TransformedEnv
    from torchrl.modules import MLP, DreamerActor, RSSMPosterior, RSSMPrior
    from torchrl.objectives.dreamer import DreamerActorLoss, DreamerModelLoss, DreamerValueLoss

    model, behavior, observed = config.model, config.behavior, sum(HEADS)
    torch.manual_seed(0)
    latents = {"state": Unbounded((model.stoch,)), "belief": Unbounded((model.deter,))}
    robot = TransformedEnv(environment(observed, ACTIONS), TensorDictPrimer(latents, default_value=0))

    def layers(inputs: int, hidden: int, outputs: int) -> nn.Module:
        return MLP(
            in_features=inputs, out_features=outputs, depth=hidden, num_cells=model.units, activation_class=nn.ELU
        )

    feature = model.deter + model.stoch
    encoder = layers(observed, model.encoder_layers - 1, model.units)
    decoder = layers(feature, model.decoder_layers, observed)
    reward = layers(feature, model.reward_layers, 1)
    prior = RSSMPrior(robot.action_spec, model.hidden, model.deter, model.stoch, model.min_std, ACTIONS)
    posterior = RSSMPosterior(model.hidden, model.stoch, model.min_std, model.deter, model.units)
    names = ("observation", "reco_observation")
    world = recipe._dreamer_make_world_model(encoder, decoder, prior, posterior, reward, *names)
    dreams = recipe._dreamer_make_mbenv(reward, prior, robot, decoder, names[1], False, model.stoch, model.deter)
    actor = recipe._dreamer_make_actor_sim("action", robot, DreamerActor(ACTIONS, behavior.policy_layers, model.units))
    critic = recipe._dreamer_make_value_model(model.units)
    with torch.no_grad():  # the widths of their first layers are those of what comes in
        critic(actor(dreams.fake_tensordict().unsqueeze(-1)))

    discount = 1 - 1 / behavior.return_horizon
    model_loss = DreamerModelLoss(world, free_nats=model.free_nats, delayed_clamp=True)
    model_loss.set_keys(pixels=names[0], reco_pixels=names[1])
    actor_loss = DreamerActorLoss(actor, critic, dreams, imagination_horizon=behavior.horizon)
    actor_loss.make_value_estimator(gamma=discount, lmbda=behavior.lam)
    critic_loss = DreamerValueLoss(critic, gamma=discount)
    rules = [config.optimizer, config.actor_optimizer, config.critic_optimizer]
    groups = [parameters_of(module) for module in (world, actor, critic)]
    steps = [step_of(group, rule) for group, rule in zip(groups, rules, strict=True)]
    lead = (config.batch_size, config.batch_length)
    batch = TensorDict(
        {
            "action": torch.rand(*lead, ACTIONS) * 2 - 1,
            "state": torch.zeros(*lead, model.stoch),
            "belief": torch.zeros(*lead, model.deter),
            "next": {"observation": torch.randn(*lead, observed), "reward": torch.randn(*lead, 1)},
        },
        batch_size=lead,
    )

    def update() -> list[float]:
        losses, filtered = model_loss(batch)
        total = [sum(losses[f"loss_model_{name}"] for name in ("kl", "reco", "reward"))]
        steps[0](total[0])
        losses, dreamt = actor_loss(filtered.reshape(-1))
        total.append(losses["loss_actor"])
        steps[1](total[1])
        losses, _ = critic_loss(dreamt)
        total.append(losses["loss_value"])
        steps[2](total[2])
        return [loss.item() for loss in total]

    return update, f"torchrl {TESTED}, {count_of(sum(groups, []))}"
