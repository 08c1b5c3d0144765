"""Training configuration: frozen dataclasses with one documented field per option.

The defaults are DreamerV3 as its authors publish it today (size 200m); `load.py` reads others. Without torch,
so that a robot can read a configuration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from robot_dreamer.config.check import build, require, require_positive, require_range


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and constants of the world model (encoder, RSSM, decoder, reward and continue head)."""

    deter: int = 8192
    """Size D of the deterministic state; a multiple of `blocks` and `decoder_blocks`."""
    hidden: int = 1024
    """Width of the layers inside the RSSM."""
    stoch: int = 32
    """Number S of categorical latent variables."""
    classes: int = 64
    """Number K of classes of each latent variable."""
    blocks: int = 8
    """Number of blocks of the block-diagonal recurrent layers."""
    units: int = 1024
    """Width of the vector encoder and decoder and of all heads."""
    depth: int = 64
    """Base number of channels of the convolutions."""
    multipliers: tuple[int, ...] = (2, 3, 4, 4)
    """Channels of each image stage as multiples of `depth`; each stage halves the resolution."""
    kernel: int = 5
    """Side of the convolution kernels; odd."""
    encoder_layers: int = 3
    """Hidden layers of the vector encoder."""
    decoder_layers: int = 3
    """Hidden layers of the vector decoder."""
    decoder_blocks: int = 8
    """Blocks of the layer that lays the deterministic state out as the first feature map of the image decoder."""
    dynamics_layers: int = 1
    """Block-diagonal hidden layers in front of the recurrent gates."""
    prior_layers: int = 2
    """Hidden layers of the prior."""
    posterior_layers: int = 1
    """Hidden layers of the posterior."""
    reward_layers: int = 1
    """Hidden layers of the reward head."""
    continue_layers: int = 1
    """Hidden layers of the continue head."""
    bins: int = 255
    """Number of bins of the two-hot heads (reward and critic); odd."""
    unimix: float = 0.01
    """Share of the uniform distribution mixed into the latent distributions."""
    free_nats: float = 1.0
    """KL terms below this many nats (summed over the latent variables) give no gradient."""
    symlog_inputs: bool = True
    """Squash vector observations with symlog in front of the encoder."""

    def __post_init__(self) -> None:
        require_positive(self, "model", exclude=("unimix", "free_nats", "symlog_inputs", "multipliers"))
        require_range("model.unimix", self.unimix, 0.0, 1.0)
        require_range("model.free_nats", self.free_nats, 0.0, math.inf)
        require(self.deter % self.blocks == 0, "model.deter", f"a multiple of model.blocks = {self.blocks}", self.deter)
        require(
            self.deter % self.decoder_blocks == 0,
            "model.deter",
            f"a multiple of model.decoder_blocks = {self.decoder_blocks}",
            self.deter,
        )
        require(self.bins % 2 == 1 and self.bins >= 3, "model.bins", "an odd number of at least 3", self.bins)
        require(self.kernel % 2 == 1, "model.kernel", "an odd number", self.kernel)
        require(
            len(self.multipliers) > 0 and all(m > 0 for m in self.multipliers),
            "model.multipliers",
            "one or more positive numbers",
            self.multipliers,
        )


@dataclass(frozen=True)
class BehaviorConfig:
    """Actor and critic, trained on imagined trajectories."""

    horizon: int = 15
    """Number H of imagined steps."""
    imagine_last: int = 0
    """Start imagination only from this many last rows of each training sequence; 0 means from every row."""
    return_horizon: int = 333
    """Effective length of the discounted return in steps: the discount is 1 - 1 / return_horizon."""
    continue_discount: bool = True
    """Fold the discount into the label of the continue head instead of the return formula."""
    lam: float = 0.95
    """Lambda of the imagined returns and of the replay returns."""
    entropy: float = 3e-4
    """Weight of the policy entropy."""
    slow_rate: float = 0.02
    """Share of the critic that enters the slow critic after each update."""
    slow_regularizer: float = 1.0
    """Weight of the critic loss against the prediction of the slow critic."""
    slow_target: bool = False
    """Use the slow critic for bootstrap and baseline instead of the critic itself."""
    return_rate: float = 0.01
    """Rate of the moving percentiles that scale the returns."""
    return_percentile_low: float = 5.0
    """Lower percentile of the return range."""
    return_percentile_high: float = 95.0
    """Upper percentile of the return range."""
    return_limit: float = 1.0
    """Smallest return range; smaller ones are not amplified."""
    policy_layers: int = 3
    """Hidden layers of the policy."""
    critic_layers: int = 3
    """Hidden layers of the critic."""
    min_std: float = 0.1
    """Smallest standard deviation of a continuous action."""
    max_std: float = 1.0
    """Largest standard deviation of a continuous action."""
    discrete_unimix: float = 0.0
    """Share of the uniform distribution in a discrete policy. The paper says 0.01, the published code applies none."""
    policy_outscale: float = 0.01
    """Factor on the initial kernels of the last policy layer."""
    critic_outscale: float = 0.0
    """Factor on the initial kernels of the last layer of critic and reward head; 0 predicts zero at the start."""

    def __post_init__(self) -> None:
        for name in ("horizon", "policy_layers", "critic_layers"):
            require(getattr(self, name) > 0, f"behavior.{name}", "a positive number", getattr(self, name))
        require(self.return_horizon > 1, "behavior.return_horizon", "more than 1", self.return_horizon)
        require(self.imagine_last >= 0, "behavior.imagine_last", "0 or a positive number", self.imagine_last)
        for name in ("lam", "slow_rate", "return_rate", "discrete_unimix"):
            require_range(f"behavior.{name}", getattr(self, name), 0.0, 1.0)
        low, high = self.return_percentile_low, self.return_percentile_high
        require(0 <= low < high <= 100, "behavior.return_percentile_low", "0 <= low < high <= 100", (low, high))
        require(self.return_limit > 0, "behavior.return_limit", "a positive number", self.return_limit)
        require(0 < self.min_std < self.max_std, "behavior.min_std", "0 < min_std < max_std", self.min_std)


@dataclass(frozen=True)
class OptimizerConfig:
    """One optimiser for all modules: clip each tensor, divide by its RMS, then momentum."""

    learning_rate: float = 4e-5
    """Step size after the warm-up."""
    warmup: int = 1000
    """Updates over which the step size grows linearly from zero; 0 switches the warm-up off."""
    agc: float = 0.3
    """Largest gradient norm of a tensor relative to the norm of the tensor."""
    agc_minimum: float = 1e-3
    """Smallest parameter norm that the clipping assumes."""
    beta1: float = 0.9
    """Decay of the momentum."""
    beta2: float = 0.999
    """Decay of the second moment."""
    epsilon: float = 1e-20
    """Added to the root of the second moment."""

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate", "a positive number", self.learning_rate)
        require(self.warmup >= 0, "optimizer.warmup", "0 or a positive number", self.warmup)
        for name in ("agc", "agc_minimum", "epsilon"):
            require(getattr(self, name) > 0, f"optimizer.{name}", "a positive number", getattr(self, name))
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"optimizer.{name}", "at least 0 and below 1", value)


@dataclass(frozen=True)
class LossScales:
    """Factor of each loss term in the total loss."""

    reconstruction: float = 1.0
    """Each decoded observation."""
    reward: float = 1.0
    """Reward head."""
    continuation: float = 1.0
    """Continue head."""
    dynamics: float = 1.0
    """KL that pulls the prior towards the posterior."""
    representation: float = 0.1
    """KL that pulls the posterior towards the prior."""
    policy: float = 1.0
    """Policy, on imagined trajectories."""
    value: float = 1.0
    """Critic, on imagined trajectories."""
    replay_value: float = 0.3
    """Critic, on replayed trajectories; shapes the representation."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            require_range(f"loss_scales.{item.name}", getattr(self, item.name), 0.0, math.inf)


@dataclass(frozen=True)
class Config:
    """Everything that a training run needs to know besides the robot or environment itself."""

    name: str = "dreamer_v3"
    """Presets and overrides that this configuration was made from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """World model."""
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    """Actor and critic."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""
    loss_scales: LossScales = field(default_factory=LossScales)
    """Factors of the loss terms."""
    batch_size: int = 16
    """Sequences per update."""
    batch_length: int = 64
    """Trained rows per sequence; one more row in front of them gives the context."""
    train_ratio: float = 32.0
    """Replayed rows trained per environment step: updates per step = train_ratio / (batch_size * batch_length)."""
    replay_capacity: int = 5_000_000
    """Rows kept in the replay; the oldest leave first."""
    online_queue: bool = True
    """Train each new window once, before windows are drawn uniformly."""
    action_repeat: int = 1
    """Environment steps per action, where the environment is not a robot with a rate of its own."""
    pixels: bool = False
    """dm_control tasks show one 64x64 colour picture instead of numbers."""
    seed: int = 0
    """Seed of the parameters and of all noise."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU if there is one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products; parameters, distributions and losses are float32 in any case."""
    compile: bool = False
    """Compile the imagined step and all losses with torch.compile: minutes at the first start (two on two quiet cores),
    seconds later from a cache on disk. A CPU needs a C++ compiler. Falls back with one warning."""
    cuda_graph: bool = False
    """Record the whole update once as a CUDA graph and replay it; needs a CUDA device. Falls back with one warning."""
    publish_every: float = 10.0
    """Seconds between two policy bundles sent to the robots."""
    bundle_weights: Literal["float32", "int8", "float16"] = "float32"
    """Weights of those bundles: int8 makes a step of sizes from 12m on three to four times faster on robots without a
    GPU (needs ONNX Runtime 1.22 there), float16 is for robots with one."""
    checkpoint_every: float = 300.0
    """Seconds between two checkpoints."""
    max_nonfinite: int = 100
    """Updates skipped for a loss or gradient that is not finite, after which training stops with a checkpoint."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "replay_capacity", "action_repeat", "max_nonfinite"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.batch_length > 1, "batch_length", "at least 2", self.batch_length)
        require(
            self.behavior.imagine_last == 0 or 2 <= self.behavior.imagine_last <= self.batch_length,
            "behavior.imagine_last",
            f"0, or between 2 and batch_length = {self.batch_length}",
            self.behavior.imagine_last,
        )
        for name in ("train_ratio", "publish_every", "checkpoint_every"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested dictionaries of JSON types."""
        return _jsonable(dataclasses.asdict(self))

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Config:
        """Build a configuration from nested dictionaries; absent fields keep their defaults.

        Raises ValueError that names the field for unknown fields, wrong types and values out of range.
        """
        return build(Config, data, "")


# Fields that change how a run is carried out, not what is learned.
_CARRYING_OUT = frozenset(
    (
        "name",
        "seed",
        "device",
        "precision",
        "compile",
        "cuda_graph",
        "publish_every",
        "bundle_weights",
        "checkpoint_every",
        "max_nonfinite",
    )
)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings of the algorithm with different values in two `Config.to_dict`: name, ours, theirs (None if absent)."""
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [(f"{name}.{key}", x, y) for key, x, y in differences(a, b)]
        elif a != b and name not in _CARRYING_OUT:
            found.append((name, a, b))
    return found


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
