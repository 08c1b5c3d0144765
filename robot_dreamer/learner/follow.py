"""The other processes of a team: they train what the leader deals out."""

from __future__ import annotations

from robot_dreamer.config import Config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.compile_ahead import CompileAhead
from robot_dreamer.learner.memory import fitting, update_advice
from robot_dreamer.learner.team import Team
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.agreement import require_one_model


def build_agent(spec: RobotSpec, config: Config, team: Team | None) -> Agent:
    """A fresh agent. Raises OutOfMemory if it does not fit, ModelsDisagree if its fast forms are another model."""
    require_one_model(config.model)
    width = f"(model.deter {config.model.deter}, model.units {config.model.units})"
    with fitting(f"for the model and its optimiser {width}: choose a smaller model size"):
        agent = Agent(spec.observation_space(), spec.action_space(), config, team)
    if config.run.compile and not config.run.cuda_graph and team is None:  # a graph is recorded once; a team keeps step
        ahead = CompileAhead(spec, config)
        # Rows that have waited come first: on a busy machine to filter them takes longer than the head start.
        agent.parts.compiled.wait_for(lambda: agent.begun and ahead())
    return agent


def follow(spec: RobotSpec, config: Config, team: Team) -> int:
    """Train with a leader's `Trainer` until it ends the run; returns the updates made.

    Raises TeamError if the leader is gone.
    """
    agent = build_agent(spec, config, team)
    part = team.empty_part(spec, config, agent.parts.world.rssm)
    agent.join_team()
    updates = 0
    with fitting(update_advice(config, agent.trained_parameters, agent.device)):
        while team.wait_for_update():
            latents = agent.update(team.deal(None, part)).latents
            if latents is not None:
                team.collect(latents)
            updates += 1
    return updates
