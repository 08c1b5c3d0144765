"""Plausible inputs, and the recording that a robot replays before it trusts a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.ports import Ports
from robot_dreamer.onboard.manifest import NOISE_ROLES, Port
from robot_dreamer.record import Arrays

_SMOOTH = 0.9  # how much of an observation is left in the next one
_OUTLIER = 5.0  # observations in units such as rad/s are not of size 1


class RandomInputs:
    """A seeded stream of inputs: smooth random observations (images: random pixels), real noise, flags.

    Args:
      starts: steps at which an episode begins.
    """

    def __init__(self, ports: Ports, seed: int, starts: frozenset[int]) -> None:
        self._ports, self._starts = ports, starts
        self._random = np.random.default_rng(seed)
        self._step = 0
        self._smooth = {p.name: self._observation(p) for p in ports.inputs if p.role == "observation"}

    def next(self) -> Arrays:
        """Inputs of the next step by port name, batch dimension included, without states and previous actions."""
        inputs: Arrays = {}
        for port in self._ports.inputs:
            if port.role == "observation":
                inputs[port.name] = self._next_observation(port)
            elif port.role == "is_first":
                inputs[port.name] = np.full((1,), self._step in self._starts)
            elif port.role in NOISE_ROLES:
                shape = (1, *port.shape)
                noise = (
                    self._random.gumbel(size=shape) if port.unit == "gumbel" else self._random.standard_normal(shape)
                )
                inputs[port.name] = noise.astype(np.float32)
        self._step += 1
        return inputs

    def _next_observation(self, port: Port) -> NDArray[Any]:
        fresh = self._observation(port)
        if port.dtype == "uint8":
            return fresh
        mixed = _SMOOTH * self._smooth[port.name] + np.sqrt(1 - _SMOOTH**2) * fresh
        self._smooth[port.name] = mixed
        return np.asarray(mixed, np.float32)

    def _observation(self, port: Port) -> NDArray[Any]:
        shape = (1, *port.shape)
        if port.dtype == "uint8":
            return self._random.integers(0, 256, shape, np.uint8)
        return self._random.standard_normal(shape) * _OUTLIER


class RecordedInputs(RandomInputs):
    """The same with observations that the robot made, and its episodes' beginnings, over and over.

    With random observations a trained model may be chaotic, so that two equal programs part after some hundred steps by
    rounding alone; on what the robot sees it is not.

    Args:
      observations, actions: by name, (rows, *shape); the actions as executed after the observations.
      is_first: (rows).
    """

    def __init__(
        self, ports: Ports, seed: int, observations: Arrays, actions: Arrays, is_first: NDArray[np.bool_]
    ) -> None:
        super().__init__(ports, seed, starts=frozenset())
        self._observations, self._actions, self._is_first = observations, actions, is_first

    def next(self) -> Arrays:
        row = self._step % len(self._is_first)
        inputs = super().next()
        for port in self._ports.inputs:
            if port.role == "observation":
                inputs[port.name] = self._observations[port.key][row : row + 1].copy()
            elif port.role == "previous_action":
                inputs[port.name] = self._actions[port.key][row - 1][None].copy()
            elif port.role == "is_first":
                inputs[port.name] = self._is_first[row : row + 1] | (self._step == 1)
        return inputs


def step(policy: nn.Module, ports: Ports, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """One step of the torch policy on arrays."""
    with torch.inference_mode():
        outputs = ports.call(policy, {name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def with_margin(ports: Ports, noise: Mapping[str, NDArray[Any]], outputs: Arrays, margin: float) -> Arrays:
    """The noise, raised by `margin` at each class that won with it: the same classes win, and by at least that much."""
    raised = dict(noise)
    for name, drawn in ports.drawn.items():
        won = outputs[drawn]
        if won.dtype == np.int64:
            won = np.eye(noise[name].shape[-1])[won]
        raised[name] = (noise[name] + margin * won).astype(np.float32)
    return raised


def previous_actions(ports: Ports, outputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The previous actions of the step after the one with these outputs, by port name."""
    by_key = {p.key: outputs[p.name] for p in ports.outputs if p.role == "action"}
    return {p.name: by_key[p.key] for p in ports.inputs if p.role == "previous_action"}


def record(run: Callable[[Arrays], Arrays], ports: Ports, steps: int, seed: int, margin: float) -> Arrays:
    """A roll-out as recording.npz wants it: `input/<port>` and `output/<port>`, (T, *shape) each.

    `run` is one step, all inputs to all outputs. The noise leaves each drawn class a margin of `margin` nats, so that
    rounding on another machine cannot draw another class, after which nothing could be compared. Value and reward are
    not recorded: before a critic has learned much they are small differences of numbers as large as 1e8, and differ by
    rounding alone.
    """
    stream = RandomInputs(ports, seed, starts=frozenset({0, 2 * steps // 3}))
    fed = {p.name: p.zeros() for p in ports.inputs if p.role in ("state", "previous_action")}
    rows: list[Arrays] = []
    for _ in range(steps):
        fresh = stream.next()
        outputs = run(fresh | fed)
        inputs = with_margin(ports, fresh, outputs, margin) | fed
        row = {f"input/{p.name}": inputs[p.name][0] for p in ports.inputs if p.role != "state"}
        row |= {f"output/{p.name}": outputs[p.name][0] for p in ports.outputs if p.name not in ("value", "reward")}
        rows.append(row)
        fed = ports.next_states(outputs) | previous_actions(ports, outputs)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
