"""Dreamer V1 (Hafner et al. 2020), DreamerV2 (2021) and DayDreamer (Wu et al. 2022): model, critic and actor, each with
an optimiser of its own. What differs between them is configuration (`BehaviorConfig`)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.dreamer_actor import DreamerActor
from robot_dreamer.behavior.imagination import imagine_few, imagine_step_through, imagine_through
from robot_dreamer.behavior.noise import UpdateNoise, draw_noise
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.behavior.returns import AdvantageScale
from robot_dreamer.behavior.slow_copy import move_towards
from robot_dreamer.config import BehaviorConfig, Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.dreamer_checks import check
from robot_dreamer.learner.objectives.dreamer_parts import (
    foresee_returns,
    frozen,
    judge_dreams,
    loss_of_actor,
    loss_of_critic,
)
from robot_dreamer.learner.objectives.parts import Generation, Losses, Parts, Replayed, observe_batch
from robot_dreamer.learner.objectives.planet import objective
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import value_head
from robot_dreamer.world_model.rssm import Latents, Observed
from robot_dreamer.world_model.world_model64 import WorldModel64


def update(parts: Parts, batch: Batch, noise: UpdateNoise) -> Generator[Losses, Tensor, Latents]:
    """One update of the three; `update_order` says which of them have made their step before the next is judged."""
    config, state, behavior = parts.config, parts.state, parts.config.behavior
    world: WorldModel64 = parts.modules["world_model"]
    actor, critic = parts.modules["policy"], parts.modules["critic"]
    judge = parts.modules["slow_critic"] if behavior.slow_every else critic

    # World model: as PlaNet's.
    rows, observed = observe_batch(parts, batch, noise.observe)
    model_loss = parts.compiled("objective", partial(objective, parts.modules, config, join_rows=parts.join_rows))
    model = model_loss(rows, observed, noise.other, state["kl_scale"])
    losses = {"model": model.total}
    terms, metrics, new = model.terms | {"model": model.total.detach()}, model.metrics, {"kl_scale": model.kl_scale}
    if behavior.update_order != "together":
        yield Losses(losses, terms, metrics, new)
        losses, terms, metrics, new = {}, {}, {}, {}

    # Trajectories from the replayed states (N), through which a gradient flows where the actor learns by it.
    start, terminal = starts(config, rows, observed)
    step = partial(imagine_step_through, world.rssm, actor)
    judging = parts.compiled("judge", partial(judge_dreams, world, behavior))
    foresee = parts.compiled("returns", partial(foresee_returns, judge, behavior))
    gradient = gradient_of(behavior, parts.actions)
    through = gradient != "reinforce"
    with frozen(world, judge), torch.set_grad_enabled(through):
        few = parts.compiled("imagine few", partial(imagine_few, step))
        dreamt = imagine_through(world.rssm, few, start, noise.imagine, noise.action)
        judged, weight = judging(dreamt.feature, terminal)
        value, returns = foresee(dreamt.feature, judged)
    seen = dreamt.feature.detach()  # (N, H+1, F)

    # Critic: towards the returns that it, or its slow copy, foresees.
    critic_part = parts.compiled("critic", partial(loss_of_critic, critic, behavior))
    losses["critic"] = critic_part(seen, returns.detach(), weight)
    terms["critic"] = losses["critic"].detach()
    copied = torch.zeros_like(state["updates"])
    if behavior.slow_every:
        copied = (state["updates"] % behavior.slow_every == 0).float()
    new["updates"] = state["updates"] + 1
    if behavior.update_order == "critic_first":
        applied = yield Losses(losses, terms, metrics, new)
        losses, terms, metrics, new = {}, {}, {}, {}
        move_towards(parts.modules["slow_critic"], critic, copied * applied)
        with torch.set_grad_enabled(through):
            value, returns = foresee(dreamt.feature, judged)

    # Actor: the action of a state is judged by the return of where it led to.
    actor_part = parts.compiled("actor", partial(loss_of_actor, actor, gradient, behavior, parts.join_rows))
    scale = AdvantageScale(*(state[f"advantage/{name}"] for name in AdvantageScale._fields))
    entropy_scale = {field.name: state[f"entropy_scale/{field.name}"] for field in parts.actions}
    acting = actor_part(seen, dreamt.action, returns, value, weight, scale, entropy_scale)
    losses["actor"], terms["actor"] = acting.loss, acting.loss.detach()
    metrics = metrics | acting.metrics | {"imagined/reward": judged.reward.detach().mean()}
    new |= {f"advantage/{name}": value for name, value in acting.advantage._asdict().items()}
    new |= {f"entropy_scale/{name}": value for name, value in acting.entropy_scale.items()}
    applied = yield Losses(losses, terms, metrics, new)
    if behavior.update_order != "critic_first" and behavior.slow_every:
        move_towards(parts.modules["slow_critic"], critic, copied * applied)
    return Latents(observed.deter.detach(), observed.stoch.detach())


def starts(config: Config, rows: Replayed, observed: Observed) -> tuple[Latents, Tensor]:
    """The states in which imagination begins (N, ...), without gradient, and whether an episode ended there (N).

    Dreamer V1 with a continue head leaves out the last row of each window, which may be an end; the others know it.
    """
    last = start_rows(config, observed.deter.shape[1])
    state = Latents(*(x[:, :last].flatten(0, 1).detach() for x in (observed.deter, observed.stoch)))
    return state, rows.is_terminal[:, :last].flatten()


def start_rows(config: Config, steps: int) -> int:
    """Of how many rows of a window of `steps` imagination begins."""
    return steps - (config.model.continue_head and not config.behavior.imagine_start)


def gradient_of(config: BehaviorConfig, actions: Sequence[Field]) -> str:
    """How the actor is trained: `behavior.gradient`, or what suits the actions."""
    if config.gradient != "auto":
        return config.gradient
    return "reinforce" if any(field.kind == "discrete" for field in actions) else "dynamics"


def build(observations: Sequence[Field], actions: Sequence[Field], config: Config) -> dict[str, nn.Module]:
    """World model, policy, critic, and a slow critic, which begins as the critic, where it is used.

    Raises ValueError for settings that do not go together.
    """
    check(config, actions)
    model, behavior = config.model, config.behavior
    world = WorldModel64(observations, actions, model)
    policy = DreamerActor(actions, world.feature_size, model, behavior)
    critic = value_head(world.feature_size, behavior.critic_layers, model)
    modules: dict[str, nn.Module] = {"world_model": world, "policy": policy, "critic": critic}
    if behavior.slow_every:
        slow_critic = value_head(world.feature_size, behavior.critic_layers, model)
        slow_critic.load_state_dict(critic.state_dict())
        modules["slow_critic"] = slow_critic.requires_grad_(False)
    return modules


def _state(modules: Mapping[str, Any], config: Config, device: torch.device) -> dict[str, Tensor]:
    one = torch.ones((), device=device)
    state = {"kl_scale": one, "updates": torch.zeros((), dtype=torch.int64, device=device)}
    state |= {f"advantage/{name}": x for name, x in AdvantageScale.initial(device)._asdict().items()}
    return state | {
        f"entropy_scale/{field.name}": torch.ones(field.shape, device=device) for field in modules["policy"].fields
    }


def _noise(parts: Parts, rows: int, steps: int, generator: torch.Generator) -> UpdateNoise:
    latent, horizon = parts.world.rssm.latent, parts.config.behavior.horizon
    count = rows * start_rows(parts.config, steps)
    return draw_noise(parts.actions, latent, steps, rows, horizon, count, generator)


def _policy_step(modules: Mapping[str, Any], actions: Sequence[Field]) -> PolicyStep:
    world: WorldModel64 = modules["world_model"]
    return PolicyStep(world, modules["policy"], actions, {"value": modules["critic"], "reward": world.reward})


_GROUPS: dict[str, tuple[str, ...]] = {"model": ("world_model",), "critic": ("critic",), "actor": ("policy",)}
DREAMER = Generation(build, _GROUPS, _state, _noise, update, _policy_step)
