"""Trials: a bundle's episodes under the conditions, spread over processes; how many changes no number."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from robot_dreamer.onboard.bundle import read_bundle, spec_for
from robot_dreamer.onboard.policy import ActingPolicy, OnnxPolicy, RandomPolicy
from robot_dreamer.servant import bind
from sim.episode import Episode, EpisodeStopped, Watch, run_episode
from sim.gate.conditions import RANDOM, Condition
from sim.robot import SimRobot

Trial = tuple[int, Condition]  # number of the bundle, condition


class Bench:
    """A robot and the bundles that are tried on it, in one process.

    Args:
      robot: name or file of the RobotSpec; empty: that of the first bundle.
      bundles: proven ones.
      seeds: of the episodes of each trial.
    """

    def __init__(self, robot: str, bundles: Sequence[Path], seeds: Sequence[int]) -> None:
        self._spec = spec_for(robot, bundles[0])
        self._policies = [OnnxPolicy(read_bundle(path, self._spec)) for path in bundles]
        self._seeds = seeds

    def run(self, trial: Trial) -> list[Episode]:
        """All episodes of a trial."""
        robot = self._robot(trial)
        return [self._episode(trial, robot, seed) for seed in self._seeds]

    def show(self, trial: Trial, seed: int, watch: Callable[[SimRobot, ActingPolicy], Watch]) -> Episode:
        """One episode of a trial again, for those who look on."""
        robot = self._robot(trial)
        return self._episode(trial, robot, seed, watch(robot, self._policy(trial, seed)))

    def _robot(self, trial: Trial) -> SimRobot:
        _, condition = trial
        return SimRobot(condition.robot(self._spec), self._seeds[0], condition.control_steps)

    def _policy(self, trial: Trial, seed: int) -> ActingPolicy:
        number, condition = trial
        return RandomPolicy(self._spec, seed) if condition.group == RANDOM else self._policies[number]

    def _episode(self, trial: Trial, robot: SimRobot, seed: int, watch: Watch = lambda *_: None) -> Episode:
        try:
            return run_episode(robot, self._policy(trial, seed), seed, True, watch)
        except EpisodeStopped as stopped:
            return stopped.episode


def run_trials(
    robot: str,
    bundles: Sequence[Path],
    seeds: Sequence[int],
    trials: Sequence[Trial],
    jobs: int,
    progress: Callable[[], object] = lambda: None,
) -> list[list[Episode]]:
    """The episodes of each trial; see `Bench`.

    Args:
      jobs: processes at a time; 1: this one.
      progress: called after each trial.
    """
    if jobs == 1:
        bench = Bench(robot, bundles, seeds)
        found = []
        for trial in trials:
            found.append(bench.run(trial))
            progress()
        return found
    episodes: list[list[Episode]] = [[] for _ in trials]
    spawn = multiprocessing.get_context("spawn")  # MuJoCo, OpenGL and ONNX Runtime do not outlive a fork
    with ProcessPoolExecutor(jobs, spawn, _begin, (os.getpid(), robot, bundles, seeds)) as pool:
        futures = {pool.submit(_run, trial): number for number, trial in enumerate(trials)}
        try:
            for future in as_completed(futures):
                episodes[futures[future]] = future.result()
                progress()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return episodes


_bench: Bench | None = None  # of a process of the pool


def _begin(master: int, robot: str, bundles: Sequence[Path], seeds: Sequence[int]) -> None:
    global _bench
    if not bind(master):  # a pool's process waits for its next task for ever
        os._exit(1)
    _bench = Bench(robot, bundles, seeds)


def _run(trial: Trial) -> list[Episode]:
    assert _bench is not None
    return _bench.run(trial)
