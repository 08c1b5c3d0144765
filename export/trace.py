"""From a PolicyStep to an ONNX graph whose weights can be replaced by name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn

from export.ports import Ports
from export.weights import SPLIT_ABOVE

if TYPE_CHECKING:
    import onnx_ir

# Robots keep their runtimes for years; later versions are read by fewer of them, and the policy step gains nothing.
OPSET, IR_VERSION = 18, 8


class _Flat(nn.Module):
    """A PolicyStep as a function of a flat list of tensors: inputs, then parameters.

    With the parameters as inputs the exporter can neither fold them into constants nor merge two that happen to be
    equal (all biases are zero at the start), so each can be refreshed by name later.
    """

    def __init__(self, policy: nn.Module, ports: Ports, parameters: list[str]) -> None:
        super().__init__()
        self._policy = (policy,)  # in a tuple, so that it is not registered as a part
        self._ports, self._names = ports, parameters

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(self._ports.inputs)
        inputs = {port.name: tensor for port, tensor in zip(self._ports.inputs, tensors[:count], strict=True)}
        parameters = dict(zip(self._names, tensors[count:], strict=True))

        def policy(**arguments: object) -> object:
            return torch.func.functional_call(self._policy[0], parameters, (), arguments)

        outputs = self._ports.call(policy, inputs)  # type: ignore[arg-type]
        return tuple(outputs[port.name] for port in self._ports.outputs)


def trace(
    policy: nn.Module, ports: Ports, rewrite: bool = True, split_above: int | None = SPLIT_ABOVE
) -> onnx.ModelProto:
    """The graph of one step, batch 1, with the weights as they are; `fill` puts others in.

    Every tensor of `policy.state_dict()` becomes an initializer of that name. Takes seconds, whatever the size.

    Args:
      policy: a PolicyStep on the CPU.
      ports: its inputs and outputs.
      rewrite: False keeps torch's own graph, to measure against.
      split_above: bytes from which a block kernel is cut into matrices; None: never.
    """
    import onnx_ir  # here, with ONNX's other tools: who learns has made its first update by then

    from export.rewrite import lerp, optimise

    state = {name: tensor.detach() for name, tensor in policy.state_dict().items()}
    flat = _Flat(policy, ports, list(state))
    example = (*ports.zeros().values(), *state.values())
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            flat,
            example,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.lerp.Tensor: lerp} if rewrite else None,
            verbose=False,
        )
    assert program is not None  # with dynamo=True and no file it returns a program
    model = program.model
    _rename(model, [port.name for port in ports.inputs] + list(state), [port.name for port in ports.outputs])
    if rewrite:
        optimise(model, state.keys(), split_above)
    return _with_initializers(onnx_ir.to_proto(model), state)


def fill(model: onnx.ModelProto, state: dict[str, Tensor]) -> None:
    """Replace the values of all weights in place; `state` has the names, shapes and dtypes of the traced policy."""
    for initializer in model.graph.initializer:
        if initializer.name in state:
            initializer.raw_data = state[initializer.name].detach().cpu().contiguous().numpy().tobytes()


def _rename(model: onnx_ir.Model, inputs: list[str], outputs: list[str]) -> None:
    """Give the graph's interface the names of ports and parameters."""
    graph = model.graph
    if len(graph.inputs) != len(inputs) or len(graph.outputs) != len(outputs):
        raise RuntimeError(f"traced {len(graph.inputs)} inputs, expected {len(inputs)}; check the torch version")
    taken = {*inputs, *outputs}
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in taken:
                value.name = f"inner_{value.name}"
    for value in graph.initializers.values():
        if value.name in taken:
            raise RuntimeError(f"the traced graph has a constant with the name of a port or parameter: {value.name}")
    for value, name in zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True):
        value.name = name


def _with_initializers(model: onnx.ModelProto, state: dict[str, Tensor]) -> onnx.ModelProto:
    """Turn the inputs that are weights into initializers, and drop what describes the machine that traced."""
    ports = [item for item in model.graph.input if item.name not in state]
    weights = [item for item in model.graph.input if item.name in state]
    del model.graph.input[:]
    model.graph.input.extend(ports)
    for item in weights:
        kind = item.type.tensor_type
        shape = [dimension.dim_value for dimension in kind.shape.dim]
        model.graph.initializer.append(onnx.TensorProto(name=item.name, data_type=kind.elem_type, dims=shape))
    for thing in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        thing.ClearField("metadata_props")
        thing.ClearField("doc_string")
    del model.graph.value_info[:]
    model.producer_name, model.graph.name, model.ir_version = "robot_dreamer", "policy_step", IR_VERSION
    fill(model, state)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns about packages that are not installed and about its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
