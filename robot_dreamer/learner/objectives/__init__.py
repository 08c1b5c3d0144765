"""The objectives of the Dreamer line: a paper on a page each."""

from robot_dreamer.learner.objectives.dreamer import DREAMER
from robot_dreamer.learner.objectives.dreamer_v3 import DREAMER_V3
from robot_dreamer.learner.objectives.parts import Generation
from robot_dreamer.learner.objectives.planet import PLANET
from robot_dreamer.learner.objectives.world_models import WORLD_MODELS

OBJECTIVES: dict[str, Generation] = {
    "dreamer_v3": DREAMER_V3,
    "dreamer": DREAMER,
    "planet": PLANET,
    "world_models": WORLD_MODELS,
}
"""By `Config.objective`."""
