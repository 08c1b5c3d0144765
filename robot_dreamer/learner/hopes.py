"""What an agent hopes for, beside what came: the classic check for an over-optimistic behaviour.

Letters: B windows, T rows of each, N starts, H imagined steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_dreamer.behavior.noise import draw_port
from robot_dreamer.behavior.planner import Planner
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch, batch_to
from robot_dreamer.learner.carry import Carry
from robot_dreamer.record import Arrays
from robot_dreamer.world_model.rssm import Filtered, Latents, Observed, encode_action, feature_of

IMAGINED = 15  # steps under the current policy
PLANS = 2  # starts of a planner, each of which costs a whole search
EPISODE_ROWS = 1001  # of an episode along which values are shown, at most: a thousand actions, as in the control suite


def imagined_rewards(
    agent: Agent, batch: Batch, carry: Carry | None, observed: Observed, context: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Rewards that the current behaviour imagines to earn, beside those that were earned from the same rows.

    The recorded actions are those of an older policy, or of a person, so a gap of a learning agent is no error; one
    that stays, is.

    carry: what the batch was filtered from, see `Agent.observe`.

    Returns imagined/predicted and imagined/obtained (N), sums over imagined/steps () rows, in the scale in which the
    model learns rewards; nothing if the windows are too short, or no reward is predicted.
    """
    step = agent.policy_step()
    policy, steps = step.policy, IMAGINED
    rows = slice(None)
    if isinstance(policy, Planner):
        steps, rows = policy.config.horizon, slice(PLANS)
    last = batch.reward.shape[1] - 1 - steps
    if last < context or "reward" not in step.monitors:
        return {}
    starts = list(range(context, last + 1, steps))
    if isinstance(policy, Planner):
        starts = starts[:1]
    if step.rssm is not agent.parts.world.rssm:  # World Models acts by networks as they were when C was handed over
        seen = batch.observation, batch.action, batch.is_first
        observed = agent.observe(*seen, carry, generator=generator, world=step)
    deter, stoch = (torch.cat([x[rows, t] for t in starts]).float() for x in (observed.deter, observed.stoch))
    predicted = _imagine(step, Latents(deter, stoch), steps, generator)
    reward = batch.reward.float()
    reward = torch.tanh(reward) if agent.config.model.tanh_rewards else reward
    obtained = torch.cat([reward[rows, t + 1 : t + 1 + steps].sum(1) for t in starts])
    whole = torch.cat([~batch.is_first[rows, t + 1 : t + 1 + steps].any(1) for t in starts])
    return {
        "imagined/predicted": predicted[whole],
        "imagined/obtained": obtained[whole],
        "imagined/steps": torch.tensor(steps),
    }


def _imagine(step: PolicyStep, state: Latents, steps: int, generator: torch.Generator) -> Tensor:
    """Sum of the rewards (N) that are imagined from states (N, ...)."""
    rssm, policy, heads = step.rssm, step.policy, dict(step.monitors.items())
    (deter, stoch), count, prepared = state, state.deter.shape[0], step.rssm.prepare()
    total = torch.zeros(count, device=deter.device)
    planned: Tensor | None = None
    if isinstance(policy, Planner):
        noise = {port.name: draw_port(port, count, generator) for port in policy.noise}
        planned = policy.plan(rssm, heads["reward"], state, noise).mean  # (N, H, A)
    for t in range(steps):
        if planned is None:
            noise = {port.name: draw_port(port, count, generator) for port in policy.noise}
            action = policy.act(rssm, heads, Latents(deter, stoch), feature_of(deter, stoch), noise)
            features = encode_action(step.actions, action)
        else:
            features = planned[:, t]
        deter = rssm.step(deter, stoch, features, prepared)
        stoch = rssm.expect(deter, generator)
        total = total + heads["reward"](feature_of(deter, stoch)).mean.float()
    return total


@torch.no_grad()
def value_along(agent: Agent, episode: Batch, seed: int = 0) -> Arrays:
    """Value, reward and surprise along one episode (1, T).

    Returns, each (T): episode/reward; episode/surprise (nats); episode/value and episode/obtained, if there is a
    critic: its value, and the discounted rewards that did come, from the same row to the end of the episode. Where
    that is no terminal one, the critic's last value stands for what would have come.
    """
    episode = batch_to(episode, agent.device)
    generator = torch.Generator(agent.device).manual_seed(seed)
    step = agent.policy_step()
    with agent.precision():
        latents = agent.observe(episode.observation, episode.action, episode.is_first, None, generator=generator)
        filtered = Filtered(*(x[0] for x in latents))
        reward = episode.reward[0].float()
        found = {"reward": reward, "surprise": agent.parts.world.rssm.surprise(filtered)}
        if "value" in step.monitors:
            value = step.monitors["value"](feature_of(filtered.deter, filtered.stoch)).mean.float()
            found |= {"value": value, "obtained": _discounted(agent, reward, value, bool(episode.is_terminal[0, -1]))}
    return {f"episode/{name}": x.float().cpu().numpy() for name, x in found.items()}


def _discounted(agent: Agent, reward: Tensor, value: Tensor, terminal: bool) -> Tensor:
    """Returns (T) from each row on, in the convention and the reward scale of the critic."""
    config = agent.config
    if config.model.tanh_rewards:
        reward = torch.tanh(reward)
    discount = 1 - 1 / config.behavior.return_horizon
    arrival = config.objective == "dreamer" and config.behavior.returns == "arrival"  # a state's value holds its reward
    total = torch.zeros(()) if terminal else value[-1].cpu()
    if terminal and arrival:
        total = reward[-1].cpu()
    returns, rewards = [total], reward.cpu()
    for t in range(len(rewards) - 2, -1, -1):
        total = rewards[t] + discount * total if arrival else rewards[t + 1] + discount * total
        returns.append(total)
    return torch.stack(returns[::-1])
