"""How World Models is put together: its stages, its networks, the state of its search, and its random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.dreams import DreamNoise
from robot_dreamer.behavior.evolution import Evolution, LinearController
from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config, StagesConfig
from robot_dreamer.learner.objectives.parts import Parts
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.vision_memory import ActingCopy, RewardOutput, VisionMemory

_SEARCH = "evolution/search/"  # prefix in the state
Stage = Literal["vision", "memory", "controller"]


def stage_at(position: int, stages: StagesConfig) -> tuple[Stage, int]:
    """The stage of an update, and how many of its updates are done; position: updates before it."""
    left = position % (stages.vision + stages.memory + stages.controller)
    if left < stages.vision:
        return "vision", left
    left -= stages.vision
    return ("memory", left) if left < stages.memory else ("controller", left - stages.memory)


def search_of(controller: LinearController, config: Config, state: Mapping[str, Tensor] | None = None) -> Evolution:
    """The search as it stands in a state, or at its beginning."""
    own = None if state is None else {k.removeprefix(_SEARCH): v for k, v in state.items() if k.startswith(_SEARCH)}
    return Evolution(controller.parameter_count, config.evolution.population, config.evolution.sigma, own)


def search_state(search: Evolution, device: torch.device) -> dict[str, Tensor]:
    """The search as entries of the state, on its device; the inverse of `search_of`."""
    return {f"{_SEARCH}{name}": value.to(device) for name, value in search.tensors().items()}


def build_networks(observations: Sequence[Field], actions: Sequence[Field], config: Config) -> dict[str, nn.Module]:
    """Networks by name; see `Generation.build`. Raises ValueError for a model that is not of this generation."""
    model = config.model
    if (model.cell, model.latent, model.std_rule, model.deter % 2) != ("lstm", "numbers", "log_variance", 0):
        raise ValueError(
            "objective world_models: expected model.cell lstm, model.latent numbers, model.std_rule log_variance and "
            f"an even model.deter (h and c), found {model.cell}, {model.latent}, {model.std_rule} and {model.deter}; "
            "begin with the preset world_models"
        )
    world = VisionMemory(observations, actions, model)
    inputs = model.stoch + world.rssm.memory.units * (1 + config.evolution.reads_cell)
    controller = LinearController(actions, inputs, config.evolution.bias, config.evolution.reads_cell)
    return {"world_model": world, "policy": controller, "acting": ActingCopy(world)}


def first_state(modules: Mapping[str, Any], config: Config, device: torch.device) -> dict[str, Tensor]:
    """State before the first update; see `Generation.state`."""
    zero = torch.zeros((), dtype=torch.int64, device=device)
    search = search_state(search_of(modules["policy"], config), device)
    return {"stages/position": zero, "evolution/restarts": zero.clone(), **search}


def draw_noise(parts: Parts, rows: int, steps: int, generator: torch.Generator) -> UpdateNoise:
    """Random numbers of the stage whose turn it is; see `Generation.noise`."""
    if parts.join_rows is not None:
        raise ValueError("objective world_models trains in one process: an evolution has no gradients to share")
    config, size, device = parts.config.evolution, parts.config.model.stoch, generator.device

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=dtype)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    stage, _ = stage_at(int(parts.state["stages/position"]), parts.config.stages)
    none = torch.empty(0, device=device)
    if stage == "vision":
        count = parts.config.stages.vision_rows
        return UpdateNoise(none, none, {}, {"rows": uniform(count), "code": normal(count, size)})
    observe = normal(steps + 1, rows, size)
    if stage == "memory":
        return UpdateNoise(observe, none, {})
    uniforms, normals = DreamNoise.draw(config.dream_length, config.dreams, size, generator)
    candidates = normal(config.population, parts.modules["policy"].parameter_count, dtype=torch.float64)
    other = {"starts": uniform(config.dreams), "uniform": uniforms, "normal": normals, "candidates": candidates}
    return UpdateNoise(observe, none, {}, other)


def acting_step(modules: Mapping[str, Any], actions: Sequence[Field]) -> PolicyStep:
    """The acting step, with the networks as they were last handed over."""
    acting: ActingCopy = modules["acting"]
    return PolicyStep(acting, modules["policy"], actions, {"reward": RewardOutput(acting.rssm.memory)})
