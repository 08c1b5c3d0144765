"""Training configuration: frozen dataclasses with one documented field per option, and YAML presets.

The defaults of the dataclasses are DreamerV3 as its authors publish it today (size 200m). A preset is a YAML file in
`presets/` that overrides some of them; presets compose from left to right with colons, e.g. `dreamer_v3:12m`.
This module needs PyYAML and the standard library only, so that a robot without torch can read a configuration.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

import yaml

_PRESET_PACKAGE = "robot_dreamer"
_PRESET_FOLDER = "presets"


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
        _require_positive(self, "model", exclude=("unimix", "free_nats", "symlog_inputs", "multipliers"))
        _require_range("model.unimix", self.unimix, 0.0, 1.0)
        _require_range("model.free_nats", self.free_nats, 0.0, math.inf)
        _require(
            self.deter % self.blocks == 0, "model.deter", f"a multiple of model.blocks = {self.blocks}", self.deter
        )
        _require(
            self.deter % self.decoder_blocks == 0,
            "model.deter",
            f"a multiple of model.decoder_blocks = {self.decoder_blocks}",
            self.deter,
        )
        _require(self.bins % 2 == 1 and self.bins >= 3, "model.bins", "an odd number of at least 3", self.bins)
        _require(self.kernel % 2 == 1, "model.kernel", "an odd number", self.kernel)
        _require(
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
            _require(getattr(self, name) > 0, f"behavior.{name}", "a positive number", getattr(self, name))
        _require(self.return_horizon > 1, "behavior.return_horizon", "more than 1", self.return_horizon)
        _require(self.imagine_last >= 0, "behavior.imagine_last", "0 or a positive number", self.imagine_last)
        for name in ("lam", "slow_rate", "return_rate", "discrete_unimix"):
            _require_range(f"behavior.{name}", getattr(self, name), 0.0, 1.0)
        low, high = self.return_percentile_low, self.return_percentile_high
        _require(0 <= low < high <= 100, "behavior.return_percentile_low", "0 <= low < high <= 100", (low, high))
        _require(self.return_limit > 0, "behavior.return_limit", "a positive number", self.return_limit)
        _require(0 < self.min_std < self.max_std, "behavior.min_std", "0 < min_std < max_std", self.min_std)


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
        _require(self.learning_rate > 0, "optimizer.learning_rate", "a positive number", self.learning_rate)
        _require(self.warmup >= 0, "optimizer.warmup", "0 or a positive number", self.warmup)
        for name in ("agc", "agc_minimum", "epsilon"):
            _require(getattr(self, name) > 0, f"optimizer.{name}", "a positive number", getattr(self, name))
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"optimizer.{name}", "at least 0 and below 1", value)


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
            _require_range(f"loss_scales.{item.name}", getattr(self, item.name), 0.0, math.inf)


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
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        _require(self.batch_length > 1, "batch_length", "at least 2", self.batch_length)
        _require(
            self.behavior.imagine_last == 0 or 2 <= self.behavior.imagine_last <= self.batch_length,
            "behavior.imagine_last",
            f"0, or between 2 and batch_length = {self.batch_length}",
            self.behavior.imagine_last,
        )
        for name in ("train_ratio", "publish_every", "checkpoint_every"):
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested dictionaries of JSON types."""
        return _jsonable(dataclasses.asdict(self))

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Config:
        """Build a configuration from nested dictionaries; absent fields keep their defaults.

        Raises ValueError that names the field for unknown fields, wrong types and values out of range.
        """
        return _build(Config, data, "")


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


def known_presets() -> list[str]:
    """Names that `load_config` accepts, alone or joined by colons."""
    folder = resources.files(_PRESET_PACKAGE).joinpath(_PRESET_FOLDER)
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_config(preset: str, overrides: Sequence[str] = ()) -> Config:
    """Compose presets and overrides into a configuration.

    `preset` is one name or several joined by colons (`dreamer_v3:12m`); later ones win. An override is
    `field=value` or `section.field=value`, the value in YAML. Raises ValueError that lists the known presets or fields,
    or names the field, what it expects and what it found.
    """
    merged: dict[str, Any] = {}
    for name in preset.split(":"):
        _merge(merged, _read_preset(name))
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator:
            raise ValueError(f"override {override!r}: expected field=value")
        _merge(merged, _nest(path.strip(), _parse(path, text)))
    if "name" not in merged:
        merged["name"] = ":".join([preset]) + "".join(f" {override}" for override in overrides)
    return Config.from_dict(merged)


def _read_preset(name: str) -> dict[str, Any]:
    known = known_presets()
    if name not in known:
        raise ValueError(f"unknown preset {name!r}; known presets: {', '.join(known)}")
    text = (
        resources.files(_PRESET_PACKAGE).joinpath(_PRESET_FOLDER).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    )
    data = yaml.safe_load(text) or {}
    if not isinstance(data, dict):
        raise ValueError(f"preset {name!r}: expected a mapping, found {type(data).__name__}")
    return data


def _parse(path: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {text!r} is not a YAML value") from error


def _nest(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _build(cls: type, data: Any, path: str) -> Any:
    """Build dataclass `cls` from a mapping, checking every name and type on the way."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{path or 'configuration'}: expected a mapping, found {data!r}")
    hints = typing.get_type_hints(cls)
    known = [item.name for item in dataclasses.fields(cls)]
    values = {}
    for key, value in data.items():
        full = f"{path}.{key}" if path else str(key)
        if key not in known:
            raise ValueError(f"unknown field {full!r}; known fields: {', '.join(known)}")
        kind = hints[key]
        nested = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        values[key] = _build(kind, value, full) if nested else _convert(kind, value, full)
    return cls(**values)


def _convert(kind: Any, value: Any, path: str) -> Any:
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        _require(value in choices, path, f"one of {', '.join(choices)}", value)
        return value
    if typing.get_origin(kind) is tuple:
        valid = isinstance(value, list | tuple) and all(type(item) is int for item in value)
        _require(valid, path, "a list of whole numbers", value)
        return tuple(value)
    if kind is float:
        # YAML 1.1 reads 3e-4 (without a point) as text.
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        _require(math.isfinite(number), path, "a finite number", value)
        return number
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    names: dict[type, str] = {int: "a whole number", bool: "true or false", str: "text"}
    _require(type(value) is kind, path, names[kind], value)
    return value


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _require(condition: bool, path: str, expected: str, found: Any) -> None:
    if not condition:
        raise ValueError(f"{path}: expected {expected}, found {found!r}")


def _require_range(path: str, value: float, low: float, high: float) -> None:
    _require(low <= value <= high, path, f"a number between {low} and {high}", value)


def _require_positive(config: Any, section: str, exclude: tuple[str, ...]) -> None:
    for item in dataclasses.fields(config):
        if item.name not in exclude:
            value = getattr(config, item.name)
            _require(value > 0, f"{section}.{item.name}", "a positive number", value)
