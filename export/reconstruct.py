"""What a policy on board sees: its state, made visible by the decoder of the checkpoint that it was exported from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from export.onnx import rebuild_agent
from robot_dreamer.learner.checkpoint import load_checkpoint
from robot_dreamer.onboard.session import RecurrentState
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.rssm import Latents


def reconstructor(checkpoint: Path, spec: RobotSpec) -> Callable[[RecurrentState], Arrays]:
    """A function from a policy's state to the observation by name that it stands for; images as bytes.

    checkpoint: as for `load_checkpoint`. The state must be that of a policy of this checkpoint, or of a near one.

    Raises CheckpointError, SpecMismatch or ValueError for a checkpoint that is broken, or of another robot.
    """
    tensors, meta = load_checkpoint(checkpoint, spec=spec)
    _, _, agent = rebuild_agent(checkpoint, tensors, meta, None)
    world = agent.parts.modules["world_model"]

    @torch.no_grad()
    def reconstruct(state: Mapping[str, np.ndarray]) -> Arrays:
        found = world.readout(Latents(*(torch.from_numpy(state[name]).float() for name in ("deter", "stoch"))))
        images = {field.name for field in agent.observation_fields if field.kind == "image"}
        arrays = {name: value[0].numpy() for name, value in found.observation.items()}
        return {k: np.rint(255 * v).astype(np.uint8) if k in images else v for k, v in arrays.items()}

    return reconstruct
