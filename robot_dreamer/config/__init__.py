"""The training configuration: schema, checks of its values, presets. Without torch."""

from robot_dreamer.config.behavior import BehaviorConfig
from robot_dreamer.config.evolution import EvolutionConfig, StagesConfig
from robot_dreamer.config.load import composed, known_presets, load_config
from robot_dreamer.config.model import ModelConfig
from robot_dreamer.config.optimizer import LossScales, OptimizerConfig
from robot_dreamer.config.planner import PlannerConfig
from robot_dreamer.config.schema import Config, RunConfig, differences

__all__ = [
    "BehaviorConfig",
    "Config",
    "EvolutionConfig",
    "LossScales",
    "ModelConfig",
    "OptimizerConfig",
    "PlannerConfig",
    "RunConfig",
    "StagesConfig",
    "composed",
    "differences",
    "known_presets",
    "load_config",
]
