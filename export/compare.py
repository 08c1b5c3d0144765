"""PyTorch against ONNX Runtime: how far apart their outputs are over a long roll-out, and how long a step takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.hooks import RemovableHandle

from export.ports import Ports
from export.rollout import RandomInputs, previous_actions, step, with_margin
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.onboard.bundle import Bundle
from robot_dreamer.onboard.manifest import Port
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.record import Arrays
from robot_dreamer.world_model.distributions import TwoHot

SHAKE = 3e-7  # relative change of the states after each step, about float32's rounding
SLACK = 10.0  # how much faster than shaken torch the drift may grow
SAME_DRAWS = 1.0  # nats by which torch's classes lead when ONNX Runtime feeds back its own state
PRECISION = 1e-6  # to which two float32 programs agree on a probability, relative; measured 5e-7
TIMED_STEPS, _WARM_UP = 200, 20


class GivenNoise(NoiseSource):
    """Noise that somebody else has drawn, by port name, batch dimension included."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__(seed=0)
        self._arrays = arrays

    def fill(self, port: Port, discrete: bool, out: NDArray[np.float32]) -> None:
        """Copy the noise of one port into `out`."""
        out[...] = self._arrays[port.name]


class OnnxSide:
    """`OnnxPolicy`, the code on board, called as `rollout.step` is: all inputs in, all outputs out."""

    def __init__(self, bundle: Bundle, ports: Ports) -> None:
        self._policy, self._ports = OnnxPolicy(bundle, threads=1), ports

    def __call__(self, inputs: Arrays) -> Arrays:
        """One step; state in and out by port name, batch dimension included."""

        def group(role: str) -> Arrays:
            return {p.key: inputs[p.name] for p in self._ports.inputs if p.role == role}

        self._policy.state = group("state")
        output = self._policy.step(
            {key: array[0] for key, array in group("observation").items()},
            {key: array[0] for key, array in group("previous_action").items()},
            bool(next(iter(group("is_first").values()))[0]),
            GivenNoise(inputs),
        )
        found: Arrays = {}
        for port in self._ports.outputs:
            if port.role == "action":
                found[port.name] = output.action[port.key][None]
            elif port.role == "state":
                found[port.name] = self._policy.state[port.key]
            else:
                found[port.name] = np.asarray([getattr(output, port.key)], np.float32)
        return found


@dataclass(frozen=True)
class Comparison:
    """What a roll-out showed.

    Attributes:
      injected: per output, the drift of each step when ONNX Runtime gets torch's state: the error of one step.
      own: the same when each side feeds back its own state and actions and both draw the same classes: the error that
        builds up. (Which class wins a near tie is chance; after that two trajectories have nothing in common.)
      shaken: drift of torch from itself when its states are changed by SHAKE after each step. A recurrent model may be
        chaotic; then equal programs part, and from there on only `injected` tells anything.
      resolution: per output, the drift of each step that float32 cannot avoid; zero but for value and reward.
      draws: the outputs that are drawn classes: fed back they fall from one class to another at once, so there only
        `injected` judges them; the others tell how near two roll-outs are.
      flips: steps at which a draw fell on another class; they were repeated with `margin` more noise at torch's.

    Drift is |found - expected| / (1 + |expected|), the largest over the entries of an output.
    """

    injected: dict[str, NDArray[np.float64]]
    own: dict[str, NDArray[np.float64]]
    shaken: dict[str, NDArray[np.float64]]
    resolution: dict[str, NDArray[np.float64]]
    draws: frozenset[str]
    flips: int

    def above(self, tolerance: float, exact: bool = True) -> list[str]:
        """The outputs whose drift is larger than `tolerance` beyond their resolution, or not a number.

        exact=False judges single steps only: with int8 weights two trajectories part, as those of two policies do.
        """
        bad = []
        for name, resolution in self.resolution.items():
            allowed = tolerance + resolution
            growing = SLACK * np.maximum.accumulate(self.shaken[name])
            judged = exact and name not in self.draws
            fed_back = self.own[name] <= allowed + growing if judged else np.isfinite(self.own[name])
            if not ((self.injected[name] <= allowed) & fed_back).all():
                bad.append(name)
        return bad


def compare(
    policy: PolicyStep, ports: Ports, bundle: Bundle, steps: int, stream: RandomInputs, margin: float = 1e-3
) -> Comparison:
    """Roll out `steps` steps on both sides, with the observations and noise of `stream`.

    Two classes closer than `margin` nats may swap places without being an error.
    """
    theirs = OnnxSide(bundle, ports)
    fed = own_fed = shaken_fed = _zeros(ports)
    random = np.random.default_rng(0)
    rows: list[tuple[dict[str, float], ...]] = []
    flips = 0
    for _ in range(steps):
        fresh = stream.next()
        with _watched(policy) as coarseness:
            expected = step(policy, ports, fed | fresh)
        injected = theirs(fed | fresh)
        if _drew_differently(ports, expected, injected):
            # If it was only rounding, a little more noise at torch's classes draws them here too; if not, it shows.
            flips += 1
            injected = theirs(fed | with_margin(ports, fresh, expected, margin))
        same = with_margin(ports, fresh, expected, SAME_DRAWS)
        own, shaken = theirs(own_fed | same), step(policy, ports, shaken_fed | same)
        drifts = (_drift(expected, found) for found in (injected, own, shaken))
        rows.append((*drifts, _resolution(expected, coarseness)))
        fed = ports.next_states(expected) | previous_actions(ports, expected)
        own_fed = ports.next_states(own) | previous_actions(ports, own)
        shaken_fed = _shake(ports.next_states(shaken), random) | previous_actions(ports, shaken)
    columns = [{name: np.asarray([row[i][name] for row in rows]) for name in rows[0][i]} for i in range(4)]
    return Comparison(columns[0], columns[1], columns[2], columns[3], frozenset(ports.drawn.values()), flips)


def _shake(states: Arrays, random: np.random.Generator) -> Arrays:
    def shake(array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(array * (1 + SHAKE * random.choice([-1.0, 1.0], array.shape)), array.dtype)

    return {name: shake(array) for name, array in states.items()}


def latency(run: Callable[[Arrays], Arrays], ports: Ports, steps: int = TIMED_STEPS) -> NDArray[np.float64]:
    """Milliseconds of each of `steps` steps of one side alone, everything included that it does to its arrays."""
    stream = RandomInputs(ports, 0, starts=frozenset({0}))
    fed = _zeros(ports)
    times = []
    for _ in range(_WARM_UP + steps):
        inputs = stream.next() | fed
        start = time.perf_counter()
        outputs = run(inputs)
        times.append(time.perf_counter() - start)
        fed = ports.next_states(outputs) | previous_actions(ports, outputs)
    return 1e3 * np.asarray(times[_WARM_UP:])


def _zeros(ports: Ports) -> Arrays:
    return {p.name: p.zeros() for p in ports.inputs if p.role in ("state", "previous_action")}


def _drew_differently(ports: Ports, expected: Arrays, found: Arrays) -> bool:
    """Whether a one-hot latent or a discrete action differs."""
    return any(np.abs(expected[name] - found[name]).max() > 0.5 for name in ports.drawn.values())


@contextmanager
def _watched(policy: PolicyStep) -> Iterator[dict[str, float]]:
    """By output, how coarse the two-hot predictions of the step inside are: PRECISION times the sum of p |bin|.

    Bins are as large as 5e8. As long as a head has not learned that such rewards do not occur, its prediction is a
    small difference of huge numbers.
    """
    coarseness: dict[str, float] = {}

    def watch(name: str, head: nn.Module) -> RemovableHandle:
        def keep(module: nn.Module, arguments: Any, prediction: object) -> None:
            if not isinstance(prediction, TwoHot):
                return
            size = (prediction.log_probs.exp() * prediction.bins.abs()).sum()
            coarseness[name] = PRECISION * float(size)

        return head.register_forward_hook(keep)

    handles = [watch(name, head) for name, head in policy.monitors.items()]
    try:
        yield coarseness
    finally:
        for handle in handles:
            handle.remove()


def _resolution(expected: Arrays, coarseness: dict[str, float]) -> dict[str, float]:
    return {name: coarseness.get(name, 0.0) / (1 + float(np.abs(array).max())) for name, array in expected.items()}


def _drift(expected: Arrays, found: Arrays) -> dict[str, float]:
    drift = {}
    for name, array in expected.items():
        wide = array.astype(np.float64)
        drift[name] = float((np.abs(found[name].astype(np.float64) - wide) / (1 + np.abs(wide))).max())
    return drift
