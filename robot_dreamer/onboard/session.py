"""One policy step in ONNX Runtime with all buffers allocated and bound once; a step allocates and looks up nothing.

The state has two buffers. A step reads one and writes the other; `accept` swaps their roles. So a step that went wrong
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robot_dreamer.onboard.manifest import Port
from robot_dreamer.onboard.provider import open_session

RecurrentState = dict[str, NDArray[Any]]


class Tensor:
    """A buffer of ONNX Runtime and its image in numpy: the same memory on the CPU, a copy of it on a GPU."""

    def __init__(self, port: Port, device: str, shared: bool) -> None:
        self.host = port.zeros()
        self._shared = shared
        if shared:
            self.value = onnxruntime.OrtValue.ortvalue_from_numpy(self.host)
        else:
            self.value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(self.host.shape, self.host.dtype, device, 0)
            self.push()

    def push(self) -> None:
        """numpy to device."""
        if not self._shared:
            self.value.update_inplace(self.host)

    def pull(self) -> None:
        """Device to numpy."""
        if not self._shared:
            np.copyto(self.host, self.value.numpy())


class StepSession:
    """See the module.

    Args:
      model: policy.onnx.
      inputs, outputs: as in the manifest.
      weights: as in the manifest.
      threads: of ONNX Runtime within one step; they sleep between steps.
      provider: see `open_session`.
      shared: whether numpy and ONNX Runtime share memory; default: on the CPU.

    Attributes:
      inputs: by port name, batch dimension included, without the states: fill them in before `run`.
      outputs: likewise, without the states; the next `run` overwrites them.
      runs_on: how it runs, for people.
      fallback: why not on the provider asked for; empty if it does.

    Raises:
      ValueError: the model's inputs and outputs are not those of the manifest.
      Exception: ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: bytes | memoryview,
        inputs: tuple[Port, ...],
        outputs: tuple[Port, ...],
        weights: str,
        threads: int = 1,
        provider: str = "cpu",
        shared: bool | None = None,
    ) -> None:
        self._session, way, self.fallback = open_session(model, weights, threads, provider)
        self.runs_on = way.name
        _check_table("input", inputs, self._session.get_inputs())
        _check_table("output", outputs, self._session.get_outputs())
        if shared is None:
            shared = way.device == "cpu"

        def tensors(ports: Iterable[Port]) -> dict[str, Tensor]:
            return {p.name: Tensor(p, way.device, shared) for p in ports}

        self._inputs = tensors(p for p in inputs if p.role != "state")
        self._outputs = tensors(p for p in outputs if p.role != "state")
        self.inputs = {name: x.host for name, x in self._inputs.items()}
        self.outputs = {name: x.host for name, x in self._outputs.items()}
        given = {p.key: p for p in inputs if p.role == "state"}
        self._states = tuple({key: Tensor(p, way.device, shared) for key, p in given.items()} for _ in range(2))
        self._hosts = tuple({key: x.host for key, x in states.items()} for states in self._states)
        self._turn = 0
        self._bindings = []
        self._options = []
        for turn in range(2):
            binding = self._session.io_binding()
            for name, x in self._inputs.items():
                binding.bind_ortvalue_input(name, x.value)
            for name, x in self._outputs.items():
                binding.bind_ortvalue_output(name, x.value)
            for key, p in given.items():
                binding.bind_ortvalue_input(p.name, self._states[turn][key].value)
            for p in outputs:
                if p.role == "state":
                    binding.bind_ortvalue_output(p.name, self._states[1 - turn][p.key].value)
            self._bindings.append(binding)
            options = None
            if way.captured:  # a graph is captured for fixed addresses: one for each turn
                options = onnxruntime.RunOptions()
                options.add_run_config_entry("gpu_graph_id", str(turn))
            self._options.append(options)

    def run(self) -> None:
        """One step from the present state: `inputs` to `outputs` and `next_state`."""
        for x in self._inputs.values():
            x.push()
        self._session.run_with_iobinding(self._bindings[self._turn], self._options[self._turn])
        for x in self._outputs.values():
            x.pull()
        for x in self._states[1 - self._turn].values():
            x.pull()

    def accept(self) -> None:
        """The next state of the last `run` becomes the present one."""
        self._turn = 1 - self._turn

    @property
    def next_state(self) -> RecurrentState:
        """Of the last `run`; the buffers themselves."""
        return self._hosts[1 - self._turn]

    @property
    def state(self) -> RecurrentState:
        """A copy of the present state by key, batch dimension included."""
        return {key: host.copy() for key, host in self._hosts[self._turn].items()}

    @state.setter
    def state(self, state: RecurrentState) -> None:
        for key, x in self._states[self._turn].items():
            np.copyto(x.host, state[key])
            x.push()

    def reset(self) -> None:
        """State to zeros."""
        for x in self._states[self._turn].values():
            x.host.fill(0)
            x.push()


_ONNX_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)", "bool": "tensor(bool)"}


def _check_table(kind: str, ports: tuple[Port, ...], found: Iterable[Any]) -> None:
    nodes = {node.name: node for node in found}
    if nodes.keys() != {p.name for p in ports}:
        raise ValueError(f"{kind}s: the manifest says {sorted(p.name for p in ports)}, the model has {sorted(nodes)}")
    for port in ports:
        node, shape = nodes[port.name], (1, *port.shape)
        fixed = [dim if isinstance(dim, int) else want for dim, want in zip(node.shape, shape, strict=False)]
        if node.type != _ONNX_TYPES[port.dtype] or len(node.shape) != len(shape) or tuple(fixed) != shape:
            said, found_here = f"{port.dtype}{list(shape)}", f"{node.type}{node.shape}"
            raise ValueError(f"{kind} {port.name}: the manifest says {said}, the model has {found_here}")
