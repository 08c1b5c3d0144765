"""Somebody else's LeRobotDataset -> rows, by the rules of an episode that hold on the robot.

Frame t is row t. Numbers of observations and commands are those of the drivers' messages, as the spec says; what
rewards and ends is computed, or the feature that is mapped. `next.reward` and `next.done` of frame t arrive with row
t+1; the last frame has no row behind it, so its reward and end are added to its own. Any other feature is of the row
that it stands in. The last frame's action leads nowhere and is dropped. An episode ends with its last frame, as by a
time limit, unless it is terminal before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.identity import boot_of
from robot_dreamer.data.lerobot.mapping import REWARD, TERMINAL, Route
from robot_dreamer.data.lerobot.reader import Dataset, Frames
from robot_dreamer.onboard.books import EpisodeBooks
from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.onboard.sample import Sample
from robot_dreamer.record import INTERVENTION, StepRecord, reward_problem
from robot_dreamer.spec import ActionSpec, ExpressionFault, RobotSpec

_SLACK = 1e-3  # of the normalised action; float32 rounds
_NEXT = "next."  # what comes of a frame's action
_BETWEEN = 1.0  # seconds between two episodes


class StrangerRows:
    """Rows of a dataset.

    Attributes:
      boot: the identity of the rows.
      beyond_limits: actions that were outside the spec's limits (or no class) and were moved to the nearest.
      unused: frames behind a terminal one.
    """

    def __init__(self, dataset: Dataset, spec: RobotSpec, routes: Mapping[str, Route], robot: str) -> None:
        if dataset.info.fps != spec.rate:
            found = f"recorded at {dataset.info.fps:g} Hz, robot {spec.name} acts at {spec.rate:g} Hz"
            raise DataError(f"{dataset.root}: {found}: make a spec of that rate")
        self.beyond_limits = self.unused = 0
        self._dataset, self._spec, self._routes = dataset, spec, routes
        self.boot = boot_of("lerobot", dataset.fingerprint, spec, sorted(routes.items()))
        self._books = EpisodeBooks(spec, robot, self.boot)
        self._begin = 0.0  # seconds: stamps of the next episode's first frame

    def rows(self, progress: Callable[[], None] = lambda: None) -> Iterator[StepRecord]:
        """All rows, in the order of the dataset. Raises DataError that names episode and frame."""
        for frames in self._dataset.episodes():
            limit = self._spec.episode.max_steps
            if len(frames) - 1 > limit:
                text = f"episode {frames.number} has {len(frames)} frames, the spec allows {limit} actions"
                raise DataError(f"{self._dataset.root}: {text}: raise episode.max_steps")
            for row in self._episode(frames):
                progress()
                yield row
            self._begin += len(frames) * self._spec.period + _BETWEEN

    def notes(self) -> Iterator[str]:
        """What was odd, in words."""
        if self.beyond_limits:
            yield f"{self.beyond_limits} actions were outside the spec's limits and were moved to the nearest inside"
        if self.unused:
            yield f"{self.unused} frames behind a terminal one were not used"

    def _episode(self, frames: Frames) -> Iterator[StepRecord]:
        numbers = {n: self._numbers(frames, route) for n, route in self._routes.items() if route.indices}
        cameras = {n: self._dataset.pictures(frames, r.feature) for n, r in self._routes.items() if not r.indices}
        rewards = self._rewards(numbers.get(REWARD), len(frames))
        ends = self._ends(numbers.get(TERMINAL), len(frames))
        for t in range(len(frames)):
            last, stamp = t == len(frames) - 1, round((self._begin + t * self._spec.period) * 1e9)
            try:
                seen = {n: next(pixels) for n, pixels in cameras.items()} | {n: x[t] for n, x in numbers.items()}
                observation = {o.name: encode_observation(o, seen[o.name]) for o in self._spec.recorded}
                sample = self._books.judge(Sample(observation, float(rewards[t]), bool(ends[t]), stamp, last))
                problem = reward_problem(sample.reward)
            except (ObservationError, ExpressionFault) as error:
                problem = str(error)
            if problem:
                raise DataError(f"{self._dataset.root}: episode {frames.number}, frame {t}: {problem}")
            self._books.open(sample)
            if self._books.over:
                self.unused += len(frames) - 1 - t
                yield self._books.close(INTERVENTION)
                return
            action = {a.name: self._action(a, numbers[a.name][t]) for a in self._spec.actions}
            self._books.act(action, action, INTERVENTION)
            yield self._books.applied(stamp)

    def _numbers(self, frames: Frames, route: Route) -> NDArray[np.float64]:
        return self._dataset.values(frames, route.feature)[:, list(route.indices)].astype(np.float64)

    def _rewards(self, given: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
        if given is None:
            return np.zeros(count)
        if not self._routes[REWARD].feature.startswith(_NEXT):
            return given[:, 0]
        behind = np.concatenate([[0.0], given[:-1, 0]])
        behind[-1] += given[-1, 0]
        return behind

    def _ends(self, given: NDArray[np.float64] | None, count: int) -> NDArray[np.bool_]:
        ends = np.zeros(count, bool)
        if given is not None and self._routes[TERMINAL].feature.startswith(_NEXT):
            ends[1:] = given[:-1, 0] > 0.5
            ends[-1] |= given[-1, 0] > 0.5
        elif given is not None:
            ends[:] = given[:, 0] > 0.5
        return ends

    def _action(self, spec: ActionSpec, numbers: NDArray[np.float64]) -> NDArray[Any]:
        if not np.isfinite(numbers).all():
            raise DataError(f"{self._dataset.root}: action {spec.name}: expected finite numbers, found {numbers}")
        command = spec.command.from_message(numbers)
        found = spec.from_command(command)
        width = 1.0 if spec.discrete else np.asarray(spec.high) - np.asarray(spec.low)
        self.beyond_limits += bool((np.abs(spec.to_command(found) - command) > _SLACK * width).any())
        return found if spec.discrete else np.clip(found, -1.0, 1.0).astype(np.float32)
