"""Policies on board: a bundle's ONNX model, and the random policy that acts before the first bundle.

A policy turns (observation, previous action, is_first, noise) into an action and monitors. Its state is inside it and
opaque to everyone else. Randomness is an argument: the same `Noise` gives the same actions, no noise gives the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robot_dreamer.onboard.bundle import Bundle, BundleError, Port
from robot_dreamer.onboard.noise import Noise
from robot_dreamer.record import RANDOM_POLICY
from robot_dreamer.spec import RobotSpec

_ONNX_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)", "bool": "tensor(bool)"}

State = dict[str, NDArray[Any]]


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


class Policy(Protocol):
    """What the controller needs of a policy."""

    version: int
    lineage: str
    state: State

    def reset(self) -> None: ...

    def step(
        self,
        observation: Mapping[str, NDArray[Any]],
        previous_action: Mapping[str, NDArray[Any]],
        is_first: bool,
        noise: Noise | None,
    ) -> PolicyOutput: ...


class OnnxPolicy:
    """A bundle's model in ONNX Runtime.

    Args:
      bundle: as `read_bundle` gives it.
      threads: of ONNX Runtime within one step; they sleep between steps.
      providers: execution providers in order of preference.

    Raises:
      BundleError: the model cannot be loaded, or its inputs and outputs are not those of the manifest.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self.version = bundle.manifest.version
        self.lineage = bundle.manifest.lineage
        self.created = _parse_time(bundle)
        self._bundle = bundle
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a robot has other work to do
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(bundle.model, options, providers=list(providers))
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise BundleError(f"bundle {bundle.source}: ONNX Runtime cannot load its model: {error}") from error
        manifest = bundle.manifest
        self._check_table("input", manifest.inputs, self._session.get_inputs())
        self._check_table("output", manifest.outputs, self._session.get_outputs())
        classes = {a.name: len(a.values) for a in bundle.spec.actions}  # 0: continuous
        self._feed = {p.name: p.zeros() for p in manifest.inputs}
        self._observations = [(p.name, p.key) for p in manifest.inputs if p.role == "observation"]
        self._previous = [(p.name, p.key) for p in manifest.inputs if p.role == "previous_action"]
        self._firsts = [p.name for p in manifest.inputs if p.role == "is_first"]
        self._noises = [(p, classes.get(p.key, 0) > 0) for p in manifest.inputs if p.role.endswith("_noise")]
        self._states = {p.key: p for p in manifest.inputs if p.role == "state"}
        self._output_names = [p.name for p in manifest.outputs]
        self._actions = [(i, p.key, classes[p.key]) for i, p in enumerate(manifest.outputs) if p.role == "action"]
        given = [(i, p) for i, p in enumerate(manifest.outputs) if p.role == "state"]
        self._next_states = [(i, p.name, self._states[p.key].name) for i, p in given]
        self._monitors = [(i, p.key) for i, p in enumerate(manifest.outputs) if p.role == "monitor"]

    @property
    def state(self) -> State:
        """The recurrent state by key, batch dimension included. Never changed in place, so keeping it is safe."""
        return {key: self._feed[port.name] for key, port in self._states.items()}

    @state.setter
    def state(self, state: State) -> None:
        problem = self.state_mismatch(state)
        if problem:
            raise ValueError(problem)
        for key, port in self._states.items():
            self._feed[port.name] = state[key]

    def state_mismatch(self, state: State) -> str:
        """Why another policy's state does not fit this one; empty if it does."""
        ours = {key: (p.dtype, (1, *p.shape)) for key, p in self._states.items()}
        theirs = {key: (x.dtype.name, x.shape) for key, x in state.items()}
        return "" if ours == theirs else f"state layout: expected {ours}, found {theirs}"

    def reset(self) -> None:
        """State to zeros."""
        for port in self._states.values():
            self._feed[port.name] = port.zeros()

    def step(
        self,
        observation: Mapping[str, NDArray[Any]],
        previous_action: Mapping[str, NDArray[Any]],
        is_first: bool,
        noise: Noise | None,
    ) -> PolicyOutput:
        """One policy step; the state moves on.

        Args:
          observation: by name, shape and dtype as in the spec.
          previous_action: the executed one, normalised, by name; ignored by the model when is_first.
          noise: None means all noise zero: argmax and mean everywhere.

        Raises:
          PolicyFault: an action or state is not finite, or the runtime failed; the state stays.
        """
        feed = self._feed
        for name, key in self._observations:
            feed[name][0] = observation[key]
        for name, key in self._previous:
            feed[name][0] = previous_action[key]
        for name in self._firsts:
            feed[name][0] = is_first
        for port, discrete in self._noises:
            if noise is None:
                feed[port.name].fill(0.0)
            else:
                noise.fill(port, discrete, feed[port.name])
        return self._finish(self._run())

    def verify(self) -> None:
        """Replay the bundle's recording from zero state and compare. The state is reset before and after.

        Raises:
          BundleError: an output is off by more than the manifest's tolerance (port, step, both values), or not finite.
        """
        recording, tolerance = self._bundle.recording, self._bundle.manifest.tolerance
        inputs = {name.removeprefix("input/"): x for name, x in recording.items() if name.startswith("input/")}
        expected = {name.removeprefix("output/"): x for name, x in recording.items() if name.startswith("output/")}
        self.reset()
        try:
            for step in range(len(next(iter(recording.values())))):
                for name, array in inputs.items():
                    self._feed[name][0] = array[step]
                outputs = self._run()
                self._finish(outputs)
                for name, found in zip(self._output_names, outputs, strict=True):
                    if name in expected:
                        self._compare(name, step, expected[name][step], found[0], tolerance)
        except PolicyFault as error:
            raise BundleError(f"bundle {self._bundle.source}: verification failed: {error}") from error
        finally:
            self.reset()

    def _run(self) -> list[NDArray[Any]]:
        try:
            return self._session.run(self._output_names, self._feed)  # type: ignore[no-any-return]
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise PolicyFault(f"policy {self.version}: ONNX Runtime failed: {error}") from error

    def _finish(self, outputs: list[NDArray[Any]]) -> PolicyOutput:
        action = {key: np.asarray(outputs[i][0]) for i, key, _ in self._actions}
        for _, key, classes in self._actions:
            if not np.isfinite(action[key]).all():
                raise PolicyFault(f"policy {self.version}: action {key} is not finite: {action[key]}")
            if classes and not 0 <= int(action[key]) < classes:
                found = f"expected a class in 0..{classes - 1}, found {action[key]}"
                raise PolicyFault(f"policy {self.version}: action {key}: {found}")
        for i, name, _ in self._next_states:
            if not np.isfinite(outputs[i]).all():
                raise PolicyFault(f"policy {self.version}: state {name} is not finite")
        for i, _, fed in self._next_states:
            self._feed[fed] = outputs[i]
        return PolicyOutput(action, **{key: float(outputs[i][0]) for i, key in self._monitors})

    def _compare(self, name: str, step: int, expected: NDArray[Any], found: NDArray[Any], tolerance: float) -> None:
        wide = np.asarray(expected, np.float64)
        error = np.abs(np.asarray(found, np.float64) - wide) / (1.0 + np.abs(wide))
        if not (error <= tolerance).all():
            raise BundleError(
                f"bundle {self._bundle.source}: verification failed: output {name}, step {step}: "
                f"expected {expected}, found {found}, relative error {error.max():.3g} above {tolerance:.3g}"
            )

    def _check_table(self, kind: str, ports: tuple[Port, ...], found: Sequence[Any]) -> None:
        nodes = {node.name: node for node in found}
        if nodes.keys() != {p.name for p in ports}:
            raise BundleError(
                f"bundle {self._bundle.source}: {kind}s: the manifest says {sorted(p.name for p in ports)}, "
                f"the model has {sorted(nodes)}"
            )
        for port in ports:
            node, shape = nodes[port.name], (1, *port.shape)
            fixed = [dim if isinstance(dim, int) else want for dim, want in zip(node.shape, shape, strict=False)]
            if node.type != _ONNX_TYPES[port.dtype] or len(node.shape) != len(shape) or tuple(fixed) != shape:
                raise BundleError(
                    f"bundle {self._bundle.source}: {kind} {port.name}: the manifest says {port.dtype}{list(shape)}, "
                    f"the model has {node.type}{node.shape}"
                )


class RandomPolicy:
    """What a robot does before its first bundle: uniform actions, no state. Ignores `noise`; it has its own seed."""

    version = RANDOM_POLICY
    lineage = ""

    def __init__(self, spec: RobotSpec, seed: int) -> None:
        self.state: State = {}
        self._spec = spec
        self._generator = np.random.default_rng(seed)

    def reset(self) -> None:
        """Nothing to reset."""

    def step(
        self,
        observation: Mapping[str, NDArray[Any]],
        previous_action: Mapping[str, NDArray[Any]],
        is_first: bool,
        noise: Noise | None,
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
