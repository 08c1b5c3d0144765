"""Starting from what another run has learned: its parameters, without its optimiser, replay or random streams.

What the networks see must be the same: observations and actions by name, shape and dtype, and the model. The rest of
the contract may differ (the reward, a topic): a simulated robot's run begins that of the real one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from robot_dreamer.config import differences
from robot_dreamer.config.reads import is_read
from robot_dreamer.learner.adam import belongs_to
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.checkpoint import CheckpointError, below, load_checkpoint
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.contract import differences as contract_differences

_log = logging.getLogger(__name__)
_MODEL = "agent/model/"
_TASK_FREE = ("encoder", "rssm", "decoder")  # of a world model
_NETWORKS = ("model.", "behavior.")  # sections that say what networks are
_MEANING = {
    f"{section}.{name}"
    for section, names in (
        ("model", "cell activation conv_activation norm latent min_std std_rule unimix learned_start"),
        ("model", "pixel_code likelihood symlog_inputs tanh_rewards restart_input"),
        ("behavior", "actor init_std min_std max_std discrete_unimix return_horizon continue_discount returns"),
    )
    for name in names.split()
}
"""Settings of these by which the same parameters mean something else; the others say how they are learned."""


def start_from(trainer: Trainer, run: Path, fresh: Sequence[str] = ()) -> None:
    """Give a trainer that has not begun the parameters of the newest checkpoint of another run.

    Args:
      run: its log directory, or a checkpoint.
      fresh: modules that keep the parameters they were drawn with.

    Raises:
      CheckpointError: there is none, or its networks are others; both sides are shown.
    """
    tensors, meta = load_checkpoint(run)
    _require_same_view(run, trainer.spec, meta.spec)
    found = differences(trainer.config.to_dict(), meta.configuration().to_dict())
    settings = {
        name: f"  {name}: ours {a!r}, theirs {b!r}"
        for name, a, b in found
        if name.startswith(_NETWORKS) and is_read(trainer.config, name)
    }
    own = {name: p.data for name, p in trainer.agent.named_parameters() if not belongs_to(name, fresh)}
    theirs = below(tensors, _MODEL)
    if odd := _misfits(own, theirs):
        advice = f"take its preset ({meta.config['name']})"
        raise CheckpointError("\n".join([f"the networks of {run} are others, {advice}: {odd}", *settings.values()]))
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(theirs[name])
    trainer.given = True
    if trainer.ema:
        trainer.ema.restart()
    kept = f"; drawn anew: {', '.join(fresh)}" if fresh else ""
    _log.info("starting from %s after %d updates%s", run, meta.training_step, kept)
    if others := [line for name, line in settings.items() if name in _MEANING]:
        text = "its networks say something else with the settings of this run; take theirs, unless it is meant so:\n%s"
        _log.warning(text, "\n".join(others))
    for line in contract_differences(trainer.spec.contract(), meta.spec.contract()):
        _log.info("its robot differs in %s", line)


def task_modules(agent: Agent) -> list[str]:
    """Modules that know the task: all but those that see, remember and predict what is seen."""
    parts = dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in agent.named_parameters())
    heads = [part.partition(".")[2] for part in parts if part.startswith("world_model.")]
    others = dict.fromkeys(part.partition(".")[0] for part in parts if not part.startswith("world_model."))
    return [head for head in heads if head not in _TASK_FREE] + list(others)


def _require_same_view(run: Path, ours: RobotSpec, theirs: RobotSpec) -> None:
    spaces = (
        ("observations", ours.observation_space(), theirs.observation_space()),
        ("actions", ours.action_space(), theirs.action_space()),
    )
    for what, a, b in spaces:
        if a != b:
            raise CheckpointError(f"{run} has learned with other {what}:\n  ours {a}\n  theirs {b}")


def _misfits(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """What of our parameters the other run has not, or in another shape; "" if all is there."""
    for name, tensor in own.items():
        if name not in theirs:
            return f"no {name}"
        if theirs[name].shape != tensor.shape:
            return f"{name} is {tuple(tensor.shape)} here and {tuple(theirs[name].shape)} there"
    return ""
