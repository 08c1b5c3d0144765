"""Policies on board: a bundle's ONNX model, and the random policy that acts before the first bundle.

A policy turns (observation, previous action, is_first, noise) into an action and monitors. Its state is inside it and
opaque to everyone else. Randomness is an argument: the same `NoiseSource` gives the same actions, none the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.bundle import Bundle, BundleError
from robot_dreamer.onboard.manifest import NOISE_ROLES
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.session import RecurrentState, StepSession
from robot_dreamer.record import RANDOM_POLICY, Arrays
from robot_dreamer.spec import RobotSpec


class PolicyFault(RuntimeError):
    """A policy gave no usable action (NaN, or the runtime failed); its state is as before the step."""


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """One step's output. Monitors that the policy does not have are NaN.

    Attributes:
      action: normalised, by name, shape and dtype as in the spec; not clipped.
      surprise: KL from prior to posterior, nats: how unexpected the observation was.
      value: predicted return from here.
      reward: predicted reward of this step.
    """

    action: dict[str, NDArray[Any]]
    surprise: float = math.nan
    value: float = math.nan
    reward: float = math.nan


class ActingPolicy(Protocol):
    """What the controller needs of a policy."""

    version: int
    lineage: str
    state: RecurrentState

    def reset(self) -> None: ...

    def step(
        self, observation: Arrays, previous_action: Arrays, is_first: bool, noise: NoiseSource | None
    ) -> PolicyOutput: ...


class OnnxPolicy:
    """A bundle's model in ONNX Runtime.

    Args:
      bundle: as `read_bundle` gives it; its model is not kept.
      threads: of ONNX Runtime within one step; they sleep between steps.
      provider: "cpu", "cuda" or "tensorrt"; where it cannot be had the CPU takes its place, see `fallback`.

    Attributes:
      version, lineage, algorithm: of the bundle.
      source: file name of the bundle.
      created: when the bundle was.
      runs_on: where the model runs, for people.
      fallback: why it does not run on `provider`; empty if it does.

    Raises:
      BundleError: the model cannot be loaded, or its inputs and outputs are not those of the manifest.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, provider: str = "cpu") -> None:
        manifest = bundle.manifest
        self.version, self.lineage, self.created = manifest.version, manifest.lineage, _parse_time(bundle)
        self.algorithm = manifest.algorithm
        self.source, self._recording, self._tolerance = bundle.source, bundle.recording, manifest.tolerance
        try:
            self._session = StepSession(
                bundle.model, manifest.inputs, manifest.outputs, manifest.weights, threads, provider
            )
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise BundleError(f"bundle {bundle.source}: ONNX Runtime cannot load its model: {error}") from error
        self.runs_on, self.fallback = self._session.runs_on, self._session.fallback
        classes = {a.name: len(a.values) for a in bundle.spec.actions}  # 0: continuous
        inputs, outputs = self._session.inputs, self._session.outputs
        self._observations = [(p.key, inputs[p.name]) for p in manifest.inputs if p.role == "observation"]
        self._previous = [(p.key, inputs[p.name]) for p in manifest.inputs if p.role == "previous_action"]
        self._firsts = [inputs[p.name] for p in manifest.inputs if p.role == "is_first"]
        noises = [p for p in manifest.inputs if p.role in NOISE_ROLES]
        self._noises = [(p, classes.get(p.key, 0) > 0, inputs[p.name]) for p in noises]
        self._actions = [(p.key, classes[p.key], outputs[p.name]) for p in manifest.outputs if p.role == "action"]
        self._monitors = [(p.key, outputs[p.name]) for p in manifest.outputs if p.role == "monitor"]
        self._states = {p.key: p for p in manifest.inputs if p.role == "state"}
        self._state_names = {p.key: p.name for p in manifest.outputs if p.role == "state"}

    @property
    def state(self) -> RecurrentState:
        """A copy of the recurrent state by key, batch dimension included."""
        return self._session.state

    @state.setter
    def state(self, state: RecurrentState) -> None:
        problem = self.state_mismatch(state)
        if problem:
            raise ValueError(problem)
        self._session.state = state

    def state_mismatch(self, state: RecurrentState) -> str:
        """Why another policy's state does not fit this one; empty if it does."""
        ours = {key: (p.dtype, (1, *p.shape)) for key, p in self._states.items()}
        theirs = {key: (x.dtype.name, x.shape) for key, x in state.items()}
        return "" if ours == theirs else f"state layout: expected {ours}, found {theirs}"

    def reset(self) -> None:
        """State to zeros."""
        self._session.reset()

    def step(
        self, observation: Arrays, previous_action: Arrays, is_first: bool, noise: NoiseSource | None
    ) -> PolicyOutput:
        """One policy step; the state moves on.

        Args:
          observation: by name, shape and dtype as in the spec.
          previous_action: the executed one, normalised, by name; ignored by the model when is_first.
          is_first: forget the state.
          noise: None means all noise zero: argmax and mean everywhere.

        Raises:
          PolicyFault: an action or state is not finite, or the runtime failed; the state stays.
        """
        for key, array in self._observations:
            array[0] = observation[key]
        for key, array in self._previous:
            array[0] = previous_action[key]
        for array in self._firsts:
            array[0] = is_first
        for port, discrete, array in self._noises:
            if noise is None:
                array.fill(0.0)
            else:
                noise.fill(port, discrete, array)
        return self._run()

    def verify(self) -> None:
        """Replay the bundle's recording from zero state and compare. The state is reset before and after.

        Raises:
          BundleError: an output is off by more than the manifest's tolerance (port, step, both values), or not finite.
        """
        recording = self._recording
        inputs = {name.removeprefix("input/"): x for name, x in recording.items() if name.startswith("input/")}
        expected = {name.removeprefix("output/"): x for name, x in recording.items() if name.startswith("output/")}
        self.reset()
        try:
            for step in range(len(next(iter(recording.values())))):
                for name, array in inputs.items():
                    self._session.inputs[name][0] = array[step]
                self._run()
                state = self._session.state
                found = self._session.outputs | {self._state_names[key]: x for key, x in state.items()}
                for name, array in expected.items():
                    self._compare(name, step, array[step], found[name][0])
        except PolicyFault as error:
            raise BundleError(f"bundle {self.source}: verification failed: {error}") from error
        finally:
            self.reset()

    def _run(self) -> PolicyOutput:
        session = self._session
        try:
            session.run()
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise PolicyFault(f"policy {self.version}: ONNX Runtime failed: {error}") from error
        for key, classes, array in self._actions:
            if not np.isfinite(array).all():
                raise PolicyFault(f"policy {self.version}: action {key} is not finite: {array[0]}")
            if classes and not 0 <= int(array[0]) < classes:
                found = f"expected a class in 0..{classes - 1}, found {array[0]}"
                raise PolicyFault(f"policy {self.version}: action {key}: {found}")
        for key, array in session.next_state.items():
            if not np.isfinite(array).all():
                raise PolicyFault(f"policy {self.version}: state {key} is not finite")
        session.accept()
        action = {key: array[0].copy() for key, _, array in self._actions}  # whoever gets it keeps it
        return PolicyOutput(action, **{key: float(array[0]) for key, array in self._monitors})

    def _compare(self, name: str, step: int, expected: NDArray[Any], found: NDArray[Any]) -> None:
        wide, tolerance = np.asarray(expected, np.float64), self._tolerance
        error = np.abs(np.asarray(found, np.float64) - wide) / (1.0 + np.abs(wide))
        if not (error <= tolerance).all():
            raise BundleError(
                f"bundle {self.source}: verification failed: output {name}, step {step}: "
                f"expected {expected}, found {found}, relative error {error.max():.3g} above {tolerance:.3g}"
            )


class RandomPolicy:
    """What a robot does before its first bundle: uniform actions, no state. Ignores `noise`; it has its own seed."""

    version = RANDOM_POLICY
    lineage = ""

    def __init__(self, spec: RobotSpec, seed: int) -> None:
        self.state: RecurrentState = {}
        self._spec = spec
        self._generator = np.random.default_rng(seed)

    def reset(self) -> None:
        """Nothing to reset."""

    def step(
        self, observation: Arrays, previous_action: Arrays, is_first: bool, noise: NoiseSource | None
    ) -> PolicyOutput:
        """Uniform in [-1, 1], or a uniform class."""
        action: dict[str, NDArray[Any]] = {}
        for spec in self._spec.actions:
            if spec.discrete:
                action[spec.name] = np.asarray(self._generator.integers(len(spec.values)), np.int64)
            else:
                action[spec.name] = self._generator.uniform(-1.0, 1.0, spec.size).astype(np.float32)
        return PolicyOutput(action)


def _parse_time(bundle: Bundle) -> datetime:
    try:
        time = datetime.fromisoformat(bundle.manifest.created.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError as error:
        found = f"expected ISO 8601, found {bundle.manifest.created!r}"
        raise BundleError(f"bundle {bundle.source}: created: {found}") from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
