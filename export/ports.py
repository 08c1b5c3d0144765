"""The inputs and outputs of one policy step, by name, and how a PolicyStep is called with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_dreamer.behavior.policy_step import Acted, StepLayout
from robot_dreamer.onboard.manifest import NOISE_ROLES, Port
from robot_dreamer.spec import RobotSpec

Dtype = Literal["float32", "int64"]


@dataclass(frozen=True)
class Ports:
    """The table of policy.onnx, in the order of its inputs and outputs. Tensors have a batch of 1 in front."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    drawn: dict[str, str]
    """Outputs that are drawn classes, by the noise input that draws them."""

    @staticmethod
    def of(spec: RobotSpec, layout: StepLayout) -> Ports:
        """The ports of a policy step with this layout for robot `spec`."""
        observations = [
            Port(f"observation_{o.name}", "observation", o.name, o.shape, o.dtype, o.unit) for o in spec.observations
        ]
        previous, actions = [], []
        for a in spec.actions:
            dtype: Dtype
            dtype, unit = ("int64", "class") if a.discrete else ("float32", "normalised, -1 to 1")
            previous.append(Port(f"previous_action_{a.name}", "previous_action", a.name, a.shape, dtype, unit))
            actions.append(Port(f"action_{a.name}", "action", a.name, a.shape, dtype, unit))
        inputs = (
            *observations,
            *previous,
            *(Port(name, "state", name, shape) for name, shape in layout.states.items()),
            Port("is_first", "is_first", "is_first", (), "bool"),
            *(Port(n.name, n.role, n.key, n.shape, "float32", n.distribution) for n in layout.noise),
        )
        outputs = (
            *actions,
            *(Port(f"next_{name}", "state", name, shape) for name, shape in layout.states.items()),
            *(Port(name, "monitor", name, (), "float32", unit) for name, unit in layout.monitors.items()),
        )
        drawing = {n.draws: n.name for n in layout.noise if n.distribution == "gumbel" and n.draws}
        drawn = {drawing[p.key]: p.name for p in outputs if p.role in ("action", "state") and p.key in drawing}
        return Ports(inputs, outputs, drawn)

    def zeros(self) -> dict[str, Tensor]:
        """All inputs as zeros, by port name."""
        return {port.name: torch.from_numpy(port.zeros()) for port in self.inputs}

    def call(self, policy: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of a PolicyStep: inputs by port name, outputs by port name."""

        def group(role: str) -> dict[str, Tensor]:
            return {port.key: inputs[port.name] for port in self.inputs if port.role == role}

        acted: Acted = policy(
            observation=group("observation"),
            previous_action=group("previous_action"),
            state=group("state"),
            **group("is_first"),
            noise={port.name: inputs[port.name] for port in self.inputs if port.role in NOISE_ROLES},
        )
        by_role = {"action": acted.action, "state": acted.state, "monitor": acted.monitors}
        return {port.name: by_role[port.role][port.key] for port in self.outputs}

    def next_states(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The state inputs, by port name, of the step after the one with these outputs."""
        by_key = {port.key: outputs[port.name] for port in self.outputs if port.role == "state"}
        return {port.name: by_key[port.key] for port in self.inputs if port.role == "state"}
