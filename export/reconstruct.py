"""What a policy on board sees: its state, made visible by the decoder of the checkpoint that it was exported from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from export.onnx import rebuild_agent
from robot_dreamer.learner.checkpoint import load_checkpoint
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.session import RecurrentState
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.rssm import Latents


def reconstructor(checkpoint: Path, spec: RobotSpec, bundle: Path) -> Callable[[RecurrentState], Arrays]:
    """A function from a policy's state to the observation by name that it stands for; images as bytes.

    checkpoint: as for `load_checkpoint`; bundle: of this run, whose policy's state it will be given. With `bundle_ema`
    the state is that of averaged parameters, the decoder that of the newest.

    Raises CheckpointError, BundleError, SpecMismatch or ValueError for a checkpoint or a bundle that is broken or of
    another robot, and for two of different models.
    """
    tensors, meta = load_checkpoint(checkpoint, spec=spec)
    _, _, agent = rebuild_agent(checkpoint, tensors, meta, None)
    world, manifest = agent.parts.modules["world_model"], read_bundle(bundle, spec).manifest
    ours = {name: tuple(value.shape[1:]) for name, value in world.rssm.initial(1)._asdict().items()}
    theirs = {port.key: port.shape for port in manifest.inputs if port.role == "state"}
    if ours != theirs:
        raise ValueError(
            f"checkpoint {checkpoint} is of {meta.config['name']!r} (state {ours}), bundle {bundle} of "
            f"{manifest.algorithm!r} (state {theirs}): name the run that it was exported from"
        )

    @torch.no_grad()
    def reconstruct(state: Mapping[str, np.ndarray]) -> Arrays:
        found = world.readout(Latents(*(torch.from_numpy(state[name]).float() for name in ("deter", "stoch"))))
        images = {field.name for field in agent.observation_fields if field.kind == "image"}
        arrays = {name: value[0].numpy() for name, value in found.observation.items()}
        return {k: np.rint(255 * v).astype(np.uint8) if k in images else v for k, v in arrays.items()}

    return reconstruct
