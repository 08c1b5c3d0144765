"""`robot-dreamer sim`: a simulated robot alone, to look at: does it stand, does it move as its model should, how fast.

robot-dreamer sim --robot my_robot.yaml --random --video out.mp4
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

from robot_dreamer.onboard.bundle import read_bundle, spec_for
from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import ActingPolicy, PolicyOutput, RandomPolicy
from robot_dreamer.onboard.proof import prove
from robot_dreamer.onboard.session import RecurrentState
from robot_dreamer.record import RANDOM_POLICY, Arrays
from robot_dreamer.settings.play import PlaySettings
from robot_dreamer.settings.setting import add_options
from robot_dreamer.spec import RobotSpec
from sim.episode import Watch, run_episode
from sim.film import Film
from sim.robot import SimRobot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, PlaySettings)


def run(args: argparse.Namespace) -> int:
    """Simulate and print what came of it; 0."""
    settings = PlaySettings(**{entry.name: getattr(args, entry.name) for entry in fields(PlaySettings)})
    spec = spec_for(settings.robot, settings.bundle)
    robot = SimRobot(spec, settings.seed)
    choose = _chooser(settings, spec)
    left = max(1, round(settings.seconds * spec.rate)) if settings.seconds else None
    ticks, started = 0, time.perf_counter()
    with ExitStack() as stack, contextlib.suppress(WindowClosed):
        watchers: list[Watch] = [stack.enter_context(Viewer(robot)).watch] if settings.view else []
        film = None if settings.video is None else stack.enter_context(Film(settings.video, spec))
        for seed in range(settings.seed, settings.seed + settings.episodes):
            policy = choose(seed)
            filming = [film.watch(robot, policy)] if film is not None and seed == settings.seed else []
            episode = run_episode(robot, policy, seed, True, _together([*watchers, *filming]), left)
            ticks += episode.length
            end = ", where the simulation lost itself" if episode.lost else ""
            duration = f"{episode.length} actions ({episode.length * spec.period:g} s)"
            print(f"seed {seed}: return {episode.score:.6g}, {duration}{end}", flush=True)
            if left is not None:
                left -= episode.length
                if left <= 0:
                    break
    simulated, taken = ticks * spec.period, time.perf_counter() - started
    print(f"real-time factor {simulated / taken:.3g}: {simulated:g} s simulated in {taken:.3g} s")
    if settings.video is not None:
        print(f"written: {settings.video}")
    return 0


class NeutralPolicy:
    """Gives each action's neutral command: what the robot does when nobody wants anything of it."""

    version = RANDOM_POLICY
    lineage = ""

    def __init__(self, spec: RobotSpec) -> None:
        self.state: RecurrentState = {}
        self._action = {a.name: a.from_command(a.neutral_command()) for a in spec.actions}

    def reset(self) -> None:
        """Nothing to reset."""

    def step(
        self, observation: Arrays, previous_action: Arrays, is_first: bool, noise: NoiseSource | None
    ) -> PolicyOutput:
        """The same at each step."""
        return PolicyOutput({name: action.copy() for name, action in self._action.items()})


class WindowClosed(Exception):
    """A person has closed the viewer."""


class Viewer:
    """MuJoCo's viewer on a robot's world, in real time; use as a context manager.

    Raises ValueError where there is no screen.
    """

    def __init__(self, robot: SimRobot) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("--view: there is no screen (DISPLAY is not set); --video out.mp4 films it instead")
        viewer = importlib.import_module("mujoco.viewer")  # opens windows, which a machine without a screen cannot
        self._handle = viewer.launch_passive(*robot.physics)
        self._period, self._due = robot.spec.period, time.monotonic()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def watch(self, sample: Sample, controller: Controller) -> None:
        """Show the present state, and wait until the next one is due. Raises WindowClosed."""
        if not self._handle.is_running():
            raise WindowClosed
        self._handle.sync()
        self._due = max(self._due + self._period, time.monotonic() - self._period)  # a slow machine does not catch up
        time.sleep(max(0.0, self._due - time.monotonic()))


def _chooser(settings: PlaySettings, spec: RobotSpec) -> Callable[[int], ActingPolicy]:
    """Who acts in the episode with a seed."""
    if settings.bundle is not None:
        policy = prove(settings.bundle, read_bundle(settings.bundle, spec))
        return lambda seed: policy
    return (lambda seed: RandomPolicy(spec, seed)) if settings.random else (lambda seed: NeutralPolicy(spec))


def _together(watchers: list[Watch]) -> Watch:
    def watch(*seen: Any) -> None:
        for one in watchers:
            one(*seen)

    return watch
