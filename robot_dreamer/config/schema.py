"""Training configuration: frozen dataclasses with one documented field per option.

The defaults are DreamerV3 as its authors publish it today (size 200m); `load.py` reads others. Without torch, so that a
robot can read a configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from robot_dreamer.config.behavior import BehaviorConfig
from robot_dreamer.config.check import Section, SettingError, build, require
from robot_dreamer.config.demonstrations import DemonstrationsConfig
from robot_dreamer.config.evolution import EvolutionConfig, StagesConfig
from robot_dreamer.config.model import ModelConfig
from robot_dreamer.config.optimizer import LossScales, OptimizerConfig
from robot_dreamer.config.planner import PlannerConfig


@dataclass(frozen=True)
class RunConfig(Section):
    """How a run is carried out: nothing here changes what is learned from the same rows, so a resumed run may have
    other values."""

    seed: int = 0
    """Seed of the parameters and of all noise."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU if there is one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products; parameters, distributions and losses are float32 in any case."""
    compile: bool = False
    """Compile imagination, losses and filtered rows with torch.compile: another process compiles, minutes at the first
    start and seconds later from a cache on disk; until then the run goes on without. A CPU needs a C++ compiler. Falls
    back with one warning."""
    cuda_graph: bool = False
    """Record the whole update once as a CUDA graph and replay it; needs a CUDA device. Falls back with one warning."""
    publish_every: float = 10.0
    """Seconds between two policy bundles sent to the robots."""
    bundle_weights: Literal["float32", "int8", "float16"] = "float32"
    """Weights of those bundles: int8 makes a step of sizes from 12m on three to four times faster on robots without a
    GPU (needs ONNX Runtime 1.22 there), float16 is for robots with one."""
    bundle_ema: int = 0
    """Time constant, in updates, of the exponential moving average of the parameters that those bundles have; 0: they
    have those of the newest update."""
    checkpoint_every: float = 300.0
    """Seconds between two checkpoints."""
    portrait_every: float = 60.0
    """Seconds between two portraits of the agent for the report, or more, so that they take 2 % of the time at most;
    0: none."""
    max_nonfinite: int = 100
    """Updates skipped for a loss or gradient that is not finite, after which training stops with a checkpoint."""

    def check(self) -> None:
        for name in ("publish_every", "checkpoint_every", "max_nonfinite"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.bundle_ema >= 0, "bundle_ema", "0 or a positive number", self.bundle_ema)
        require(self.portrait_every >= 0, "portrait_every", "0 or a positive number", self.portrait_every)


@dataclass(frozen=True)
class Config:
    """Everything that a training run needs to know besides the robot or environment itself."""

    objective: Literal["dreamer_v3", "dreamer", "planet", "world_models"] = "dreamer_v3"
    """Generation of the algorithm: what is learned and how, see `learner/objectives/`."""
    name: str = "dreamer_v3"
    """Presets and overrides that this configuration was made from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """World model."""
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    """Actor and critic."""
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    """Planner, in the generation that plans."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser of everything, or of the world model where actor and critic have their own."""
    actor_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser of the actor, in the generations that have one."""
    critic_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser of the critic, in the generations that have one."""
    memory_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser of M, in World Models; V has `optimizer`."""
    stages: StagesConfig = field(default_factory=StagesConfig)
    """World Models: how much each of V, M and C is trained in a round."""
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    """World Models: C."""
    loss_scales: LossScales = field(default_factory=LossScales)
    """Factors of the loss terms."""
    demonstrations: DemonstrationsConfig = field(default_factory=DemonstrationsConfig)
    """Rows in which a person acted."""
    run: RunConfig = field(default_factory=RunConfig)
    """How the run is carried out; its settings may be written without `run.` in front."""
    batch_size: int = 16
    """Sequences per update."""
    batch_length: int = 64
    """Trained rows per sequence; one more row in front of them gives the context."""
    train_ratio: float = 32.0
    """Replayed rows trained per environment step: updates per step = train_ratio / (batch_size * batch_length)."""
    replay_context: Literal["stored", "zero"] = "stored"
    """Where filtering of a sequence starts: the latents stored with the row before it, or the initial state."""
    replay_capacity: int = 5_000_000
    """Rows kept in the replay; the oldest leave first."""
    prefill: int = 0
    """Rows of experience before the first update; they pay for no updates."""
    online_queue: bool = True
    """Train each new window once, before windows are drawn uniformly."""
    action_repeat: int = 1
    """Environment steps per action, where the environment is not a robot with a rate of its own."""
    freeze: tuple[str, ...] = ()
    """Modules whose parameters stay as they are, such as encoder or policy (docs/learning.md)."""
    pixels: bool = False
    """dm_control tasks show one 64x64 colour picture instead of numbers."""

    def check(self) -> None:
        """Raise SettingError for a value that cannot be, alone or beside others.

        Asked of what people say, not of what a checkpoint holds: it goes on with what an older version took.
        """
        for name, section in vars(self).items():
            if isinstance(section, Section):
                try:
                    section.check()
                except SettingError as error:
                    raise error.within(name) from None
        for name in ("batch_size", "replay_capacity", "action_repeat"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.batch_length > 1, "batch_length", "at least 2", self.batch_length)
        require(
            self.behavior.imagine_last == 0 or 2 <= self.behavior.imagine_last <= self.batch_length,
            "behavior.imagine_last",
            f"0, or between 2 and batch_length = {self.batch_length}",
            self.behavior.imagine_last,
            ("batch_length",),
        )
        require(self.prefill >= 0, "prefill", "0 or a positive number", self.prefill)
        steps, bound = self.model.overshooting, f"at most batch_length = {self.batch_length}"
        require(steps <= self.batch_length, "model.overshooting", bound, steps, ("batch_length",))
        require(self.train_ratio > 0, "train_ratio", "a positive number", self.train_ratio)

    def with_run(self, **settings: Any) -> Config:
        """The same with other settings of the run."""
        return dataclasses.replace(self, run=dataclasses.replace(self.run, **settings))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested dictionaries of JSON types."""
        return _jsonable(dataclasses.asdict(self))

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Config:
        """Build a configuration from nested dictionaries; absent fields keep their defaults.

        Raises ValueError that names the field for unknown fields and wrong types; values are another matter: `check`.
        """
        return build(Config, with_run_settings(data), "")


def with_run_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with those of the run in their section, where somebody wrote them without it.

    Overrides are shorter like this, and so checkpoints were written before there was a section.
    """
    names = {item.name for item in dataclasses.fields(RunConfig)}
    short = {name: value for name, value in data.items() if name in names}
    rest = {name: value for name, value in data.items() if name not in names}
    if short:
        section = rest.get("run", {})
        rest["run"] = {**section, **short} if isinstance(section, Mapping) else section
    return rest


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings of the algorithm with different values in two `Config.to_dict`: name, ours, theirs (None if absent)."""
    return _differences(_algorithm(ours), _algorithm(theirs))


def _algorithm(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in with_run_settings(settings).items() if name not in ("run", "name")}


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [(f"{name}.{key}", x, y) for key, x, y in _differences(a, b)]
        elif a != b:
            found.append((name, a, b))
    return found


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
