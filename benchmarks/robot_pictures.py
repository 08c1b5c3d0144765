"""Pictures of the shipped robots with a model of their own, for docs/robots.md: `python benchmarks/robot_pictures.py`.

Each is its first camera's, after a second of the neutral command in the episode of seed 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from robot_dreamer.spec import known_robots, load_spec
from sim.robot import SimRobot

SIDE = 240


def own_models() -> list[str]:
    """Robots whose model ships here."""
    return [n for n in known_robots() if str(load_spec(n).simulation.get("model", "")).startswith("mjcf:")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robots", nargs="*", help="default: all")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs")
    options = parser.parse_args()
    for name in options.robots or own_models():
        spec = load_spec(name)
        robot = SimRobot(spec, seed=3)
        robot.reset()
        for _ in range(round(spec.rate)):
            robot.step({action.name: action.neutral_command() for action in spec.actions})
        picture = Image.fromarray(robot.picture(2 * SIDE)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(options.folder / f"robot_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
