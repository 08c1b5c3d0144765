"""Roll the world model out under the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class Dreamt(NamedTuple):
    """Trajectories of H steps from N starts with gradient; entry 0 is the start."""

    feature: Tensor
    """(N, H+1, F)."""
    action: dict[str, Tensor]
    """(N, H, *shape) or one-hot (N, H, *shape, classes), chosen at the entry before; see `DreamerActor.imagine`."""


class Dream(NamedTuple):
    """One imagined step."""

    feature: Tensor
    """(N, F) that it began with."""
    action: dict[str, Tensor]
    """(N, *shape) each, chosen there."""
    deter: Tensor
    """(N, D) where it led to."""
    stoch: Tensor
    """(N, *latent.shape)."""


ImagineStep = Callable[[Tensor, Tensor, Any, Tensor, dict[str, Tensor]], Dream]
ImagineFew = Callable[[Tensor, Tensor, Any, Tensor, dict[str, Tensor]], Dream]
"""As a step, but that noise is (T, N, ...), feature (N, T, F) and each action (N, T, *shape): several steps in one."""


def imagine_step(
    rssm: RSSM,
    policy: ActorNetwork,
    deter: Tensor,
    stoch: Tensor,
    prepared: Any,
    noise: Tensor,
    action_noise: dict[str, Tensor],
) -> Dream:
    """Act at deter (N, D), stoch (N, *latent.shape), then step the model with noise (N, *latent.shape).

    prepared: see `RSSM.prepare`. The feature has the precision of the matrix products.
    """
    feature = _seen(deter, stoch)
    action = sample_actions(policy(feature), action_noise)
    deter = rssm.step(deter, stoch, encode_action(policy.fields, action), prepared)
    return Dream(feature, action, deter, rssm.latent.draw(rssm.prior_statistics(deter), noise))


def imagine_step_through(
    rssm: RSSM,
    actor: DreamerActor,
    deter: Tensor,
    stoch: Tensor,
    prepared: Any,
    noise: Tensor,
    action_noise: dict[str, Tensor],
) -> Dream:
    """As `imagine_step`, but that action and latents pass their gradient on; the actor's input gets none."""
    feature = feature_of(deter, stoch)
    action = actor.imagine(feature, action_noise)
    deter = rssm.step(deter, stoch, action_features(actor.fields, action), prepared)
    return Dream(feature, action, deter, rssm.latent.draw(rssm.prior_statistics(deter), noise))


def imagine_few(
    step: ImagineStep, deter: Tensor, stoch: Tensor, prepared: Any, noise: Tensor, action_noise: dict[str, Tensor]
) -> Dream:
    """`step`, once for each of noise (T, N, *latent.shape); see `ImagineFew`."""
    dreams = []
    for t in range(noise.shape[0]):
        noise_now = {name: value[t] for name, value in action_noise.items()}
        dreams.append(step(deter, stoch, prepared, noise[t], noise_now))
        deter, stoch = dreams[-1].deter, dreams[-1].stoch
    feature = torch.stack([dream.feature for dream in dreams], 1)
    return Dream(feature, _together([dream.action for dream in dreams], torch.stack), deter, stoch)


def imagine_through(
    rssm: RSSM, few: ImagineFew, start: Latents, noise: Tensor, action_noise: Mapping[str, Tensor]
) -> Dreamt:
    """Imagine from start (N, D), (N, *latent.shape); actions and latents pass their gradient on.

    few: `imagine_few` of `imagine_step_through`, or a compiled form; noise: (H, N, *latent.shape); action_noise:
    (H or more, N, ...) by field.
    """
    features, actions, (deter, stoch) = _in_pieces(few, start, rssm.prepare(), noise, action_noise)
    return Dreamt(torch.cat([*features, feature_of(deter, stoch).unsqueeze(1)], 1), _together(actions, torch.cat))


@torch.no_grad()
def imagine(
    rssm: RSSM,
    policy: ActorNetwork,
    few: ImagineFew,
    start: Latents,
    noise: Tensor,
    action_noise: dict[str, Tensor],
) -> Imagined:
    """Imagine from start (N, D), (N, *latent.shape) without gradient.

    few: `imagine_few` of `imagine_step` with this model and policy, or a compiled form; noise: (H, N, *latent.shape);
    action_noise: see `Noise.action`. The losses of actor and critic need no gradient through the model: the policy
    gradient is REINFORCE for every kind of action.
    """
    features, actions, (deter, stoch) = _in_pieces(few, start, rssm.prepare(), noise, action_noise)
    feature = _seen(deter, stoch)
    last = sample_actions(policy(feature), {name: value[-1] for name, value in action_noise.items()})
    actions.append({name: value.unsqueeze(1) for name, value in last.items()})
    return Imagined(torch.cat([*features, feature.unsqueeze(1)], 1), _together(actions, torch.cat))


def _in_pieces(
    few: ImagineFew, start: Latents, prepared: Any, noise: Tensor, action_noise: Mapping[str, Tensor]
) -> tuple[list[Tensor], list[dict[str, Tensor]], Latents]:
    """Features and actions of all steps, piece by piece, and where they led to."""
    features, actions, (deter, stoch) = [], [], start
    for now in pieces(noise.shape[0]):
        noise_now = {name: value[now] for name, value in action_noise.items()}
        dream = few(deter, stoch, prepared, noise[now], noise_now)
        deter, stoch = dream.deter, dream.stoch
        features.append(dream.feature)
        actions.append(dream.action)
    return features, actions, Latents(deter, stoch)


def _seen(deter: Tensor, stoch: Tensor) -> Tensor:
    return feature_of(deter, stoch).to(product_dtype(deter))


def _together(actions: Sequence[dict[str, Tensor]], join: Callable[..., Tensor]) -> dict[str, Tensor]:
    return {name: join([action[name] for action in actions], 1) for name in actions[0]}
