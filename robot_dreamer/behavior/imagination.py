"""Roll the world model out under the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robot_dreamer.behavior.actor import ActorNetwork, sample_actions
from robot_dreamer.behavior.dreamer_actor import DreamerActor, action_features
from robot_dreamer.world_model.fast.pieces import pieces
from robot_dreamer.world_model.fast.scan_layers import product_dtype
from robot_dreamer.world_model.rssm import RSSM, Latents, encode_action, feature_of


class Imagined(NamedTuple):
    """Trajectories of H steps from N starts; entry 0 is the start."""

    feature: Tensor
    """(N, H+1, F): deter (D), then stoch flattened; in the precision of the matrix products."""
    action: dict[str, Tensor]
    """(N, H+1, *shape) each, not clipped; one more than steps."""


class Dream(NamedTuple):
    """One imagined step."""

    action: dict[str, Tensor]
    """(N, *shape) each, chosen at the entry before."""
    deter: Tensor
    """(N, D)."""
    stoch: Tensor
    """(N, *latent.shape)."""


class Dreamt(NamedTuple):
    """Trajectories of H steps from N starts with gradient; entry 0 is the start."""

    feature: Tensor
    """(N, H+1, F)."""
    action: dict[str, Tensor]
    """(N, H, *shape) or one-hot (N, H, *shape, classes), chosen at the entry before; see `DreamerActor.imagine`."""


def imagine_through(
    rssm: RSSM, actor: DreamerActor, start: Latents, noise: Tensor, action_noise: Mapping[str, Tensor]
) -> Dreamt:
    """Imagine from start (N, D), (N, *latent.shape); actions and latents pass their gradient on.

    noise: (H, N, *latent.shape); action_noise: (H or more, N, ...) by field. The actor sees states without gradient.
    """
    deter, stoch = start
    features, actions = [feature_of(deter, stoch)], []
    prepared = rssm.prepare()
    for t in range(noise.shape[0]):
        action = actor.imagine(features[-1], {name: draws[t] for name, draws in action_noise.items()})
        deter = rssm.step(deter, stoch, action_features(actor.fields, action), prepared)
        stoch = rssm.latent.draw(rssm.prior_statistics(deter), noise[t])
        features.append(feature_of(deter, stoch))
        actions.append(action)
    stacked = {name: torch.stack([action[name] for action in actions], 1) for name in actions[0]}
    return Dreamt(torch.stack(features, 1), stacked)


ImagineStep = Callable[[Tensor, Tensor, Tensor, Any, Tensor, dict[str, Tensor]], Dream]


def imagine_step(
    rssm: RSSM,
    policy: ActorNetwork,
    feature: Tensor,
    deter: Tensor,
    stoch: Tensor,
    prepared: Any,
    noise: Tensor,
    action_noise: dict[str, Tensor],
) -> Dream:
    """Act on feature (N, F), then step the model from deter (N, D), stoch and with noise (N, *latent.shape).

    prepared: see `RSSM.prepare`.
    """
    action = sample_actions(policy(feature), action_noise)
    deter = rssm.step(deter, stoch, encode_action(policy.fields, action), prepared)
    return Dream(action, deter, rssm.latent.draw(rssm.prior_statistics(deter), noise))


class Few(NamedTuple):
    """A few imagined steps."""

    feature: Tensor
    """(N, T, F) that each step began with; in the precision of the matrix products."""
    action: dict[str, Tensor]
    """(N, T, *shape), chosen there."""
    deter: Tensor
    """(N, D) after the last step."""
    stoch: Tensor
    """(N, *latent.shape)."""


def imagine_few(
    step: ImagineStep, deter: Tensor, stoch: Tensor, prepared: Any, noise: Tensor, action_noise: dict[str, Tensor]
) -> Few:
    """`step`, once for each of noise (T, N, *latent.shape), from deter (N, D) and stoch."""
    features, actions = [], []
    for t in range(noise.shape[0]):
        features.append(feature_of(deter, stoch).to(product_dtype(deter)))
        noise_now = {name: value[t] for name, value in action_noise.items()}
        dream = step(features[-1], deter, stoch, prepared, noise[t], noise_now)
        deter, stoch = dream.deter, dream.stoch
        actions.append(dream.action)
    stacked = {name: torch.stack([action[name] for action in actions], 1) for name in actions[0]}
    return Few(torch.stack(features, 1), stacked, deter, stoch)


@torch.no_grad()
def imagine(
    rssm: RSSM,
    policy: ActorNetwork,
    start: Latents,
    noise: Tensor,
    action_noise: dict[str, Tensor],
    few: Callable[..., Few] | None = None,
) -> Imagined:
    """Imagine from start (N, D), (N, *latent.shape) without gradient.

    noise: (H, N, *latent.shape); action_noise: see `Noise.action`; few: `imagine_few` with the `imagine_step` of this
    model and policy, or a compiled form of it. The losses of actor and critic need no gradient through the model: the
    policy gradient is REINFORCE for every kind of action.
    """
    few = few or partial(imagine_few, partial(imagine_step, rssm, policy))
    deter, stoch = start
    prepared = rssm.prepare()
    features, actions = [], []
    for now in pieces(noise.shape[0]):
        noise_now = {name: value[now] for name, value in action_noise.items()}
        dreamt = few(deter, stoch, prepared, noise[now], noise_now)
        deter, stoch = dreamt.deter, dreamt.stoch
        features.append(dreamt.feature)
        actions.append(dreamt.action)
    features.append(feature_of(deter, stoch).to(product_dtype(deter)).unsqueeze(1))
    last = sample_actions(policy(features[-1][:, 0]), {name: value[-1] for name, value in action_noise.items()})
    actions.append({name: value.unsqueeze(1) for name, value in last.items()})
    return Imagined(torch.cat(features, 1), {name: torch.cat([a[name] for a in actions], 1) for name in last})
