"""The optimisers of the generations before DreamerV3: Adam with a bound on the whole gradient, and weight decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.config import Config, OptimizerConfig
from robot_dreamer.learner.optimizer import Optimizer, rms


class Adam(Optimizer):
    """Clip by the global norm, decay, then Adam (Kingma & Ba 2015).

    adam_tf   w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)        TensorFlow: PlaNet, V1, V2, World Models
    adam      w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)        as published: DayDreamer

    With adam_tf the epsilon is not corrected for the bias, so small gradients make other steps. Weights decay by the
    factor 1 - decay (V2), with adam by 1 - decay lr (DayDreamer), after the gradient is known and before the step; the
    learning rate in it is that of the update before.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> None:
        super().__init__(parameters, config)
        decays = [not config.decay_kernels or p.dim() > 1 for p in self.parameters]
        masks = [torch.full((p.numel(),), float(x)) for p, x in zip(self.parameters, decays, strict=True)]
        self._decay = config.decay * torch.cat(masks).to(self.flat.device) if config.decay else None

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], finite: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Optimizer.step`."""
        config = self.config
        gradient = torch.cat([part.reshape(-1) for part in gradients])
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        applied = finite & torch.isfinite(norm)

        # 1. Bounds: of the whole gradient, then of each entry.
        bounded = gradient * (config.clip / norm.clamp(min=config.clip)).float()
        if config.clip_entries:
            bounded = bounded.clamp(-config.clip_entries, config.clip_entries)
        # A skipped update has zero gradient, zero learning rate and moments that stand still.
        bounded = torch.where(applied, bounded, 0.0)
        count = self.step_count + applied
        age = count.clamp(min=1).double()

        # 2. Moments.
        self.first_moment.lerp_(bounded, torch.where(applied, 1 - config.beta1, 0.0))
        self.second_moment.lerp_(bounded.square(), torch.where(applied, 1 - config.beta2, 0.0))

        # 3. Step.
        before, now = self._learning_rate(self.step_count), self._learning_rate(self.step_count + 1)
        correction = 1 - config.beta1**age, (1 - config.beta2**age).sqrt()
        tf = config.rule == "adam_tf"
        root = self.second_moment.sqrt() if tf else self.second_moment.sqrt() / correction[1]
        length = torch.where(applied, now, 0.0) / correction[0] * (correction[1] if tf else 1.0)
        update = self.first_moment / (root + config.epsilon) * length
        kept = self.flat
        if self._decay is not None:
            kept = kept * (1 - self._decay * torch.where(applied, 1.0 if tf else before, 0.0))
        moved = kept - update
        # A step too long for float32 leaves the parameters where they are; only the moments have moved, and are finite.
        applied = applied & torch.isfinite(rms(moved))
        torch.where(applied, moved, self.flat, out=self.flat)
        self.step_count.copy_(count)
        return applied, {
            "gradient_norm": norm.float(),
            "gradient_rms": (norm / gradient.numel() ** 0.5).float(),
            "update_rms": rms(update),
            "parameter_rms": rms(self.flat),
        }

    def _learning_rate(self, count: Tensor) -> Tensor:
        """() at a number of updates."""
        warmup = self.config.warmup
        ramp = (count / warmup).clamp(0, 1) if warmup else torch.ones_like(count, dtype=torch.float32)
        return self.config.learning_rate * ramp


def make_optimizer(parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """The optimiser of that rule."""
    return (Optimizer if config.rule == "laprop" else Adam)(parameters, config)


Trained = Mapping[str, Sequence[tuple[str, nn.Parameter]]]
"""By group of parameters, an optimiser each: names and parameters."""


def trained_parameters(model: nn.Module, groups: Mapping[str, Sequence[str]], frozen: Sequence[str] = ()) -> Trained:
    """Parameters of a model that training changes.

    Args:
      groups: modules, or parts of them, by group (see `Generation`).
      frozen: modules, wherever in the model, that stay as they are; their parameters get no gradient any more.

    Raises:
      ValueError: the model has no such module, or nothing of a group would be left.
    """

    def belongs(name: str, members: Sequence[str]) -> bool:
        return any(name.startswith(f"{member}.") for member in members)

    own = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    known = dict.fromkeys(module for name, _ in own for module in _modules(name))
    for stranger in (name for name in frozen if name not in known):
        raise ValueError(f"freeze: expected modules of {', '.join(known)}, found {stranger!r}")
    for name, parameter in own:
        parameter.requires_grad_(not belongs_to(name, frozen))
    found = {
        group: [(n, p) for n, p in own if p.requires_grad and belongs(n, members)] for group, members in groups.items()
    }
    for group in (group for group, named in found.items() if not named):
        raise ValueError(f"freeze: nothing of {' and '.join(groups[group])} would be left to learn")
    return found


def belongs_to(parameter: str, modules: Sequence[str]) -> bool:
    """Whether a parameter, by its dotted name, is of one of these modules: `encoder` has `world_model.encoder.out`."""
    return any(module in _modules(parameter) for module in modules)


def _modules(parameter: str) -> list[str]:
    """A module of the agent; of the world model, which is one, its own modules too."""
    first, second = parameter.split(".")[:2]
    return [first, second] if first == "world_model" else [first]


def make_optimizers(trained: Trained, config: Config) -> dict[str, Optimizer]:
    """An optimiser for each group of parameters, by the group's own settings or else the common ones."""
    own = {"actor": config.actor_optimizer, "critic": config.critic_optimizer, "memory": config.memory_optimizer}
    return {
        group: make_optimizer([parameter for _, parameter in named], own.get(group, config.optimizer))
        for group, named in trained.items()
    }
