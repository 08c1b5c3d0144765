"""What a person says of somebody else's LeRobotDataset: which feature is which quantity of the RobotSpec."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Numbers `start` to `stop` of a feature (None: all) are `name`."""

    feature: str
    name: str
    start: int | None = None
    stop: int | None = None


def parse_choice(text: str) -> Choice:
    """FEATURE=NAME or FEATURE[a:b]=NAME, for argparse."""
    found = re.fullmatch(r"([^=\[\]]+)(?:\[(\d+):(\d+)\])?=([^=]+)", text)
    if not found:
        examples = "observation.state=joint_position, observation.state[0:6]=joint_position"
        raise argparse.ArgumentTypeError(f"{text!r} maps nothing; examples: {examples}")
    feature, start, stop, name = found.groups()
    return Choice(feature, name, int(start) if start else None, int(stop) if stop else None)
