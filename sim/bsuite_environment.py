"""bsuite (package bsuite) in-process: small experiments, each of which tries one capability of a learner.

Osband et al. 2020, Behaviour Suite for Reinforcement Learning. Its own file keeps the books of a run, from which its
own scores are computed (benchmarks/bsuite_scores.py).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import TimeStep
from robot_dreamer.spec import SpecError
from sim import synthetic

_RATE = 10.0  # steps per second: bsuite has no clock


class BsuiteEnvironment:
    """See sim.environments.Environment. Terminal is dm_env's discount of 0.

    Args:
      bsuite_id: experiment and setting, as catch/0.
      records: folder for bsuite's own file about the run; None: it keeps none.

    Raises:
      SpecError: bsuite is missing, has no such id, or cannot get an experiment's files (mnist's pictures).
      ValueError: the folder has the file of another run.
    """

    def __init__(self, bsuite_id: str, seed: int, action_repeat: int, records: Path | None = None) -> None:
        if action_repeat != 1:
            raise SpecError(f"action_repeat {action_repeat} is not for bsuite: its scores count single steps")
        try:
            from bsuite import bsuite, sweep
            from bsuite.logging.csv_logging import Logger
            from bsuite.utils.wrappers import Logging
        except ImportError as error:
            raise SpecError(f'bsuite is missing: pip install "robot_dreamer[bsuite]" ({error})') from error
        if bsuite_id not in sweep.SETTINGS:
            counts = {name: sum(i.startswith(f"{name}/") for i in sweep.SWEEP) for name in _experiments(sweep)}
            known = ", ".join(f"{name}/0 to {count - 1}" for name, count in counts.items())
            raise SpecError(f"unknown bsuite id {bsuite_id!r}; known: {known}")
        load = bsuite.EXPERIMENT_NAME_TO_ENVIRONMENT[bsuite_id.partition("/")[0]]
        settings = dict(sweep.SETTINGS[bsuite_id])
        if "seed" in inspect.signature(load).parameters:
            settings["seed"] = seed
        try:
            self._environment = load(**settings)
        except OSError as error:
            raise SpecError(f"{bsuite_id} needs files that bsuite cannot fetch or write: {error}") from error
        if records is not None:
            if kept := list(records.glob("*.csv")):
                raise ValueError(
                    f"{kept[0]}: bsuite counts regret from a run's first episode on, so a run cannot be resumed; "
                    "choose another --logdir"
                )
            self._environment = Logging(self._environment, Logger(bsuite_id, str(records)))
        self._running = False
        shape = self._environment.observation_spec().shape
        observation = synthetic.vector("observation", max(1, math.prod(shape)))
        action = synthetic.discrete("action", int(self._environment.action_spec().num_values))
        name = f"bsuite_{bsuite_id}"
        self.spec = synthetic.make_spec(name, _RATE, [observation], [action], synthetic.NO_TIME_LIMIT)

    def reset(self) -> TimeStep:
        self._running = True
        return TimeStep(_numbers(self._environment.reset()), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        shown = self._environment.step(int(commands["action"][0]))
        self._running = not shown.last()
        terminal = bool(shown.last() and shown.discount == 0)
        return TimeStep(_numbers(shown), float(shown.reward), bool(shown.last()), terminal)

    def close(self) -> None:
        """Nothing is open."""


def _experiments(sweep: Any) -> list[str]:
    return list(dict.fromkeys(bsuite_id.partition("/")[0] for bsuite_id in sweep.SWEEP))


def _numbers(shown: Any) -> dict[str, NDArray[Any]]:
    return {"observation": np.array(shown.observation, np.float32).reshape(-1)}
