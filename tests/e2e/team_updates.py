"""Started by torchrun: a few updates of one batch, each process with its part; process 0 leaves the result."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.config import Config, load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.team import Team
from robot_dreamer.spec import RobotSpec, load_spec
from robot_dreamer.world_model.rssm import Latents

SPEC: RobotSpec = load_spec("cartpole")
# large steps without warm-up, so that parameters move far beyond the tolerance within few updates
CONFIG: Config = load_config("nano", ["device=cpu", "optimizer.warmup=0", "optimizer.learning_rate=1e-3"])
UPDATES = 5


def make_agent(team: Team | None) -> Agent:
    """Parameters of a run that is not at its start: rewards and values are not zero, so that returns differ."""
    config = dataclasses.replace(CONFIG, behavior=dataclasses.replace(CONFIG.behavior, critic_outscale=1.0))
    return Agent(SPEC.observation_space(), SPEC.action_space(), config, team)


def make_batch() -> Batch:
    """Windows that differ much from each other."""
    rng, rows, length = np.random.default_rng(3), CONFIG.batch_size, CONFIG.batch_length + 1

    def draw(*shape: int) -> torch.Tensor:
        scale = np.arange(1, rows + 1).reshape(rows, *[1] * (len(shape) - 1))
        return torch.from_numpy((rng.normal(size=shape) * scale).astype(np.float32))

    def flags(share: float) -> torch.Tensor:
        return torch.from_numpy(rng.random((rows, length)) < share)

    last, model = flags(0.1), CONFIG.model
    classes = torch.from_numpy(rng.integers(0, model.classes, (rows, model.stoch)))
    return Batch(
        {o.name: draw(rows, length, *o.shape) for o in SPEC.observations},
        {a.name: draw(rows, length, *a.shape).clamp(-1, 1) for a in SPEC.actions},
        draw(rows, length),
        flags(0.1),
        last,
        last & flags(0.5),
        draw(rows, model.deter),
        torch.nn.functional.one_hot(classes, model.classes).float(),
        last,
    )


def make_noise(agent: Agent) -> list[UpdateNoise]:
    """Of each update, for the whole batch."""
    return [agent.draw_noise(CONFIG.batch_size, CONFIG.batch_length + 1) for _ in range(UPDATES)]


def part_of(noise: UpdateNoise, rank: int, size: int) -> UpdateNoise:
    """The share of one process; imagination starts are ordered by window."""

    def share(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.chunk(size, 1)[rank]

    return UpdateNoise(share(noise.observe), share(noise.imagine), {k: share(v) for k, v in noise.action.items()})


def state_after(agent: Agent, latents: Latents, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What has to be the same for any number of processes."""
    losses = {f"loss/{name}": value for name, value in losses.items()}
    return agent.training_state() | {"deter": latents.deter, "stoch": latents.stoch} | losses


def main() -> None:
    torch.set_num_threads(1)
    team = Team.join(torch.device("cpu"))
    assert team is not None
    noise = make_noise(make_agent(None))
    agent = make_agent(team)
    if not team.leads:  # the leader's parameters count
        with torch.no_grad():
            agent.optimizers["all"].flat.add_(1.0)
    agent.join_team()
    part = team.empty_part(SPEC, CONFIG, agent.parts.world.rssm)
    for drawn in noise:
        mine = team.deal(make_batch() if team.leads else None, part)
        result = agent.update(mine, part_of(drawn, team.rank, team.size))
        latents = team.collect(result.latents)
    if team.leads:
        save_file({k: v.contiguous() for k, v in state_after(agent, latents, result.losses).items()}, Path(sys.argv[1]))
    broken = make_batch()
    broken.reward[-1] = torch.nan  # in the part of the last process
    result = agent.update(team.deal(broken if team.leads else None, part))
    if team.leads:
        terms = [name for name, value in result.losses.items() if not torch.isfinite(value)]
        print(f"applied {int(result.applied)}, not finite: {', '.join(terms)}")
        try:
            team.empty_part(SPEC, load_config("nano", ["device=cpu", "batch_size=3"]), agent.parts.world.rssm)
        except ValueError as error:
            print(error)
    Team.leave()


if __name__ == "__main__":
    main()
