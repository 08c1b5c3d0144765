"""The inputs and outputs of one policy step, by name, and how a PolicyStep is called with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_dreamer.config import Config
from robot_dreamer.onboard.manifest import Port
from robot_dreamer.spec import RobotSpec

Dtype = Literal["float32", "int64"]


@dataclass(frozen=True)
class Ports:
    """The table of policy.onnx, in the order of its inputs and outputs. Tensors have a batch of 1 in front."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @staticmethod
    def of(spec: RobotSpec, config: Config) -> Ports:
        """The ports of a policy for robot `spec`, built from `config`."""
        model = config.model
        latent = (model.stoch, model.classes)
        states = {"deter": (model.deter,), "stoch": latent}
        observations = [
            Port(f"observation_{o.name}", "observation", o.name, o.shape, o.dtype, o.unit) for o in spec.observations
        ]
        previous, noises, actions = [], [], []
        for a in spec.actions:
            dtype: Dtype
            dtype, unit = ("int64", "class") if a.discrete else ("float32", "normalised, -1 to 1")
            previous.append(Port(f"previous_action_{a.name}", "previous_action", a.name, a.shape, dtype, unit))
            actions.append(Port(f"action_{a.name}", "action", a.name, a.shape, dtype, unit))
            shape, kind = ((len(a.values),), "gumbel") if a.discrete else (a.shape, "normal")
            noises.append(Port(f"action_noise_{a.name}", "action_noise", a.name, shape, "float32", kind))
        inputs = (
            *observations,
            *previous,
            *(Port(name, "state", name, shape) for name, shape in states.items()),
            Port("is_first", "is_first", "is_first", (), "bool"),
            Port("latent_noise", "latent_noise", "latent_noise", latent, "float32", "gumbel"),
            *noises,
        )
        outputs = (
            *actions,
            *(Port(f"next_{name}", "state", name, shape) for name, shape in states.items()),
            Port("surprise", "monitor", "surprise", (), "float32", "nats"),
            Port("value", "monitor", "value", (), "float32", "discounted reward"),
            Port("reward", "monitor", "reward", (), "float32", "reward"),
        )
        return Ports(inputs, outputs)

    def zeros(self) -> dict[str, Tensor]:
        """All inputs as zeros, by port name."""
        return {port.name: torch.from_numpy(port.zeros()) for port in self.inputs}

    def call(self, policy: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of a PolicyStep: inputs by port name, outputs by port name."""

        def group(role: str) -> dict[str, Tensor]:
            return {port.key: inputs[port.name] for port in self.inputs if port.role == role}

        action, deter, stoch, surprise, value, reward = policy(
            observation=group("observation"),
            previous_action=group("previous_action"),
            **group("state"),
            **group("is_first"),
            **group("latent_noise"),
            action_noise=group("action_noise"),
        )
        by_key = {"deter": deter, "stoch": stoch, "surprise": surprise, "value": value, "reward": reward}
        return {p.name: action[p.key] if p.role == "action" else by_key[p.key] for p in self.outputs}

    def next_states(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The state inputs, by port name, of the step after the one with these outputs."""
        by_key = {port.key: outputs[port.name] for port in self.outputs if port.role == "state"}
        return {port.name: by_key[port.key] for port in self.inputs if port.role == "state"}
