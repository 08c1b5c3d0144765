"""One trace for all policies of one structure: it takes seconds, and most tests are about something else."""

from __future__ import annotations

import copy

import onnx

from export.ports import Ports
from export.trace import fill, trace
from robot_dreamer.behavior.policy_step import PolicyStep

_traces: dict[str, onnx.ModelProto] = {}


def traced(policy: PolicyStep, ports: Ports, split_above: int | None) -> onnx.ModelProto:
    """As `export.trace.trace`; the weights are this policy's, the graph may be that of another one of its structure."""
    state = policy.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    structure = f"{policy} {shapes} {ports.inputs} {ports.outputs} {split_above}"
    if structure not in _traces:
        _traces[structure] = trace(policy, ports, split_above=split_above)
    model = copy.deepcopy(_traces[structure])
    fill(model, state)
    return model
