"""Scores of different tasks on one scale, as the papers normalise them, and their interquartile mean over tasks.

Atari: 0 for random actions, 1 for the human of Mnih et al. 2015 (random and human scores as the Atari 100k papers since
Kaiser et al. 2020 give them). Control suite: 0 to 1 for 0 to 1000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robot_dreamer.intervals import Interval, bootstrap_groups, middle_of

_ATARI = {  # game: random, human
    "alien": (227.8, 7127.7),
    "amidar": (5.8, 1719.5),
    "assault": (222.4, 742.0),
    "asterix": (210.0, 8503.3),
    "bank_heist": (14.2, 753.1),
    "battle_zone": (2360.0, 37187.5),
    "boxing": (0.1, 12.1),
    "breakout": (1.7, 30.5),
    "chopper_command": (811.0, 7387.8),
    "crazy_climber": (10780.5, 35829.4),
    "demon_attack": (152.1, 1971.0),
    "freeway": (0.0, 29.6),
    "frostbite": (65.2, 4334.7),
    "gopher": (257.6, 2412.5),
    "hero": (1027.0, 30826.4),
    "jamesbond": (29.0, 302.8),
    "kangaroo": (52.0, 3035.0),
    "krull": (1598.0, 2665.5),
    "kung_fu_master": (258.5, 22736.3),
    "ms_pacman": (307.3, 6951.6),
    "pong": (-20.7, 14.6),
    "private_eye": (24.9, 69571.3),
    "qbert": (163.9, 13455.0),
    "road_runner": (11.5, 7845.0),
    "seaquest": (68.4, 42054.7),
    "up_n_down": (533.4, 11693.2),
}


def normalised(task: str, score: float) -> float | None:
    """A score on the common scale; None for a task that has none."""
    kind, _, name = task.partition("_")
    if kind == "dmc":
        return score / 1000
    if kind == "atari" and name in _ATARI:
        low, high = _ATARI[name]
        return (score - low) / (high - low)
    return None


def over_tasks(scores: Mapping[str, Sequence[float]]) -> tuple[float, Interval | None]:
    """Interquartile mean of normalised scores of all tasks and seeds, and its 95 % interval.

    The interval is a bootstrap over seeds, each task by itself (Agarwal et al. 2021); None where a task has a single
    seed, of whose spread nothing is known. scores: by task, of its seeds.
    """
    together = np.concatenate([np.asarray(values, np.float64) for values in scores.values()])
    several = all(len(values) > 1 for values in scores.values())
    return float(middle_of(together)), bootstrap_groups(list(scores.values()), middle_of) if several else None
