"""Started by torchrun: a few updates of one batch, each process with its part; process 0 leaves what they came to."""

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
SMALL = ("device=cpu", "batch_size=4", "batch_length=16", "optimizer.learning_rate=1e-3")
SMALL_THREE = (*SMALL, "actor_optimizer.learning_rate=1e-3", "critic_optimizer.learning_rate=1e-3")
CONFIGS: dict[str, Config] = {
    "dreamer_v3": load_config("nano", [*SMALL, "optimizer.warmup=0"]),
    "imitation": load_config("nano", [*SMALL, "optimizer.warmup=0", "demonstrations.imitation=1"]),
    # the mean KL of the whole batch is on the other side of floor or band than that of one of the parts
    "dreamer_v1": load_config("dreamer_v1:cpu", [*SMALL_THREE, "model.free_nats=2.7"]),
    "dreamer_v2": load_config("dreamer_v2:cpu", [*SMALL_THREE, "model.free_nats=0.7"]),
    "daydreamer": load_config("daydreamer:cpu", [*SMALL_THREE, "model.free_nats=4.07"]),
}
UPDATES = 5


def make_agent(config: Config, team: Team | None) -> Agent:
    """Parameters of a run that is not at its start: rewards and values are not zero, so that returns differ."""
    config = dataclasses.replace(config, behavior=dataclasses.replace(config.behavior, critic_outscale=1.0))
    return Agent(SPEC.observation_space(), SPEC.action_space(), config, team)


def make_batch(config: Config) -> Batch:
    """Windows that differ much from each other; a person acted in the last one."""
    rng, rows, length = np.random.default_rng(3), config.batch_size, config.batch_length + 1

    def draw(*shape: int) -> torch.Tensor:
        scale = np.arange(1, rows + 1).reshape(rows, *[1] * (len(shape) - 1))
        return torch.from_numpy((rng.normal(size=shape) * scale).astype(np.float32))

    def flags(share: float) -> torch.Tensor:
        return torch.from_numpy(rng.random((rows, length)) < share)

    last, model = flags(0.1), config.model
    classes = torch.from_numpy(rng.integers(0, model.classes, (rows, model.stoch)))
    one_hot = torch.nn.functional.one_hot(classes, model.classes).float()
    return Batch(
        {o.name: draw(rows, length, *o.shape) for o in SPEC.observations},
        {a.name: draw(rows, length, *a.shape).clamp(-1, 1) for a in SPEC.actions},
        draw(rows, length),
        flags(0.1),
        last,
        last & flags(0.5),
        draw(rows, model.deter),
        one_hot if model.latent == "classes" else draw(rows, model.stoch),
        torch.arange(rows)[:, None].expand(rows, length) == rows - 1,
    )


def make_noise(agent: Agent) -> list[UpdateNoise]:
    """Of each update, for the whole batch."""
    return [agent.draw_noise(agent.config.batch_size, agent.config.batch_length + 1) for _ in range(UPDATES)]


def part_of(noise: UpdateNoise, rank: int, size: int) -> UpdateNoise:
    """The share of one process; imagination starts are ordered by window."""

    def share(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.chunk(size, 1)[rank]

    return UpdateNoise(share(noise.observe), share(noise.imagine), {k: share(v) for k, v in noise.action.items()})


def state_after(agent: Agent, latents: Latents, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What has to be the same for any number of processes."""
    losses = {f"loss/{name}": value for name, value in losses.items()}
    return agent.training_state() | {"deter": latents.deter, "stoch": latents.stoch} | losses


def update(team: Team, name: str, folder: Path) -> None:
    """With one of CONFIGS: NAME.safetensors and, of what cannot be done, NAME.txt."""
    config = CONFIGS[name]
    noise = make_noise(make_agent(config, None))
    agent = make_agent(config, team)
    if not team.leads:  # the leader's parameters count
        with torch.no_grad():
            for optimizer in agent.optimizers.values():
                optimizer.flat.add_(1.0)
    agent.join_team()
    part = team.empty_part(SPEC, config, agent.parts.world.rssm)
    for drawn in noise:
        mine = team.deal(make_batch(config) if team.leads else None, part)
        result = agent.update(mine, part_of(drawn, team.rank, team.size))
        latents = team.collect(result.latents)
    if team.leads:
        state = {k: v.contiguous() for k, v in state_after(agent, latents, result.losses).items()}
        save_file(state, folder / f"{name}.safetensors")
    broken = make_batch(config)
    broken.reward[-1] = torch.nan  # in the part of the last process
    result = agent.update(team.deal(broken if team.leads else None, part))
    if team.leads:
        terms = [term for term, value in result.losses.items() if not torch.isfinite(value)]
        words = [f"applied {int(result.applied)}, not finite: {', '.join(terms)}"]
        try:
            team.empty_part(SPEC, load_config("nano", ["device=cpu", "batch_size=3"]), agent.parts.world.rssm)
        except ValueError as error:
            words.append(str(error))
        (folder / f"{name}.txt").write_text("\n".join(words))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    team = Team.join(torch.device("cpu"))
    assert team is not None
    for name in CONFIGS:
        update(team, name, folder)
    Team.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
