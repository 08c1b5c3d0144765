"""Small bundles written by hand with onnx.helper: a leaky integrator as filter, tanh or argmax as actor."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from robot_dreamer.onboard.bundle import Manifest, Port, write_bundle
from robot_dreamer.spec import RobotSpec, parse_spec

STEPS = 20
TOY = """
name: toy
rate: 50.0
observations:
  - {name: angle, shape: [2], encoding: cos_sin,
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}
  - {name: speed, shape: [1],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: velocity, names: [hinge]}}
actions:
  - {name: torque, unit: Nm, low: [-2.0, 0.0], high: [2.0, 1.0], command: {topic: motor/commands}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
terminal: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [terminal]}
episode: {max_steps: 5, reset_service: reset, reset_timeout: 10}
"""
DISCRETE_ACTION = "{name: gear, values: [[0.0], [1.0], [5.0]], command: {topic: motor/commands}}"


def toy_spec(**changes: str) -> RobotSpec:
    """The toy robot; `changes` replace whole lines that begin with the key, such as rate="100.0"."""
    lines = []
    for line in TOY.strip().splitlines():
        key = line.split(":")[0].strip()
        lines.append(f"{key}: {changes.pop(key)}" if key in changes else line)
    assert not changes, f"no such lines: {changes}"
    return parse_spec("\n".join(lines))


def discrete_spec() -> RobotSpec:
    """The toy robot with three gears instead of a torque."""
    torque = next(line for line in TOY.splitlines() if "torque" in line)
    return parse_spec(TOY.replace(torque, f"  - {DISCRETE_ACTION}"))


def toy_model(
    spec: RobotSpec, hidden: int = 3, nan_above: float = 1e6, gain: float = 1.0
) -> tuple[bytes, list[Port], list[Port]]:
    """A policy step for `spec`: model bytes, inputs, outputs.

    hidden' = (0.5 hidden + sum of previous action) * (1 - is_first) + sum of observations + 0.01 latent noise
    action = tanh(gain mean(hidden') + noise), or argmax; NaN when the sum of observations exceeds `nan_above`.
    """
    inputs = [Port(f"obs_{o.name}", "observation", o.name, o.shape, o.dtype, o.unit) for o in spec.observations]
    inputs += [Port(f"prev_{a.name}", "previous_action", a.name, a.shape, np.dtype(a.dtype).name) for a in spec.actions]
    inputs += [Port("hidden", "state", "hidden", (hidden,)), Port("is_first", "is_first", "is_first", (), "bool")]
    inputs += [Port("latent_noise", "latent_noise", "latent", (hidden,), "float32", "gumbel")]
    for a in spec.actions:
        inputs.append(Port(f"noise_{a.name}", "action_noise", a.name, (len(a.values),) if a.discrete else a.shape))
    outputs = [Port("hidden_next", "state", "hidden", (hidden,)), Port("surprise", "monitor", "surprise", ())]
    nodes = [
        helper.make_node("Concat", [p.name for p in inputs if p.role == "observation"], ["observations"], axis=1),
        helper.make_node("ReduceSum", ["observations", "axis"], ["seen"], keepdims=1),
        helper.make_node("Cast", ["is_first"], ["first"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "first"], ["keep_flat"]),
        helper.make_node("Unsqueeze", ["keep_flat", "axis"], ["keep"]),
        helper.make_node("Mul", ["half", "hidden"], ["leaked"]),
    ]
    total = "leaked"
    for a in spec.actions:
        nodes.append(helper.make_node("Cast", [f"prev_{a.name}"], [f"cast_{a.name}"], to=TensorProto.FLOAT))
        if a.discrete:
            nodes.append(helper.make_node("Unsqueeze", [f"cast_{a.name}", "axis"], [f"sum_{a.name}"]))
        else:
            nodes.append(helper.make_node("ReduceSum", [f"cast_{a.name}", "axis"], [f"sum_{a.name}"], keepdims=1))
        nodes.append(helper.make_node("Add", [total, f"sum_{a.name}"], [f"with_{a.name}"]))
        total = f"with_{a.name}"
    nodes += [
        helper.make_node("Mul", [total, "keep"], ["kept"]),
        helper.make_node("Add", ["kept", "seen"], ["updated"]),
        helper.make_node("Mul", ["latent_noise", "small"], ["jitter"]),
        helper.make_node("Add", ["updated", "jitter"], ["hidden_next"]),
        helper.make_node("ReduceMean", ["hidden_next"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Squeeze", ["mean", "axis"], ["surprise"]),
        helper.make_node("Sub", ["limit", "seen"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),  # NaN above the limit
        helper.make_node("Mul", ["root", "zero"], ["nothing"]),
        helper.make_node("Mul", ["mean", "gain"], ["gained"]),
        helper.make_node("Add", ["gained", "nothing"], ["drive"]),
    ]
    constants = {"one": [1.0], "half": [0.5], "small": [0.01], "zero": [0.0], "limit": [nan_above], "gain": [gain]}
    for a in spec.actions:
        outputs.append(Port(f"action_{a.name}", "action", a.name, a.shape, np.dtype(a.dtype).name, a.unit))
        if a.discrete:
            constants[f"ramp_{a.name}"] = [float(i) for i in range(len(a.values))]
            nodes.append(helper.make_node("Mul", ["drive", f"ramp_{a.name}"], [f"scores_{a.name}"]))
            nodes.append(helper.make_node("Add", [f"scores_{a.name}", f"noise_{a.name}"], [f"logits_{a.name}"]))
            nodes.append(helper.make_node("ArgMax", [f"logits_{a.name}"], [f"action_{a.name}"], axis=1, keepdims=0))
        else:
            nodes.append(helper.make_node("Add", ["drive", f"noise_{a.name}"], [f"raw_{a.name}"]))
            nodes.append(helper.make_node("Tanh", [f"raw_{a.name}"], [f"action_{a.name}"]))
    tensors = [helper.make_tensor(k, TensorProto.FLOAT, [len(v)], v) for k, v in constants.items()]
    tensors.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    graph = helper.make_graph(nodes, "toy", _infos(inputs), _infos(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString(), inputs, outputs


def endless(model: bytes) -> bytes:
    """The toy model with a loop of 10^15 turns on the way to its action."""
    proto = onnx.load_from_string(model)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["x"], ["x_next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_next", TensorProto.FLOAT, None),
        ],
    )
    at = next(i for i, node in enumerate(proto.graph.node) if "drive" in node.output)
    proto.graph.node[at].output[0] = "undriven"
    proto.graph.node.insert(at + 1, helper.make_node("Loop", ["turns", "", "undriven"], ["drive"], body=body))
    proto.graph.initializer.append(helper.make_tensor("turns", TensorProto.INT64, [], [10**15]))
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def make_foreign_bundle(path: Path, spec: RobotSpec, spoil: Callable[[bytes], bytes], version: int = 1) -> Path:
    """The toy bundle with another model: its recording is good, its hashes are right, what it does is not."""
    content, inputs, outputs = toy_model(spec)
    write_bundle(path, spoil(content), toy_manifest(spec, inputs, outputs, version), record(content, inputs, outputs))
    return path


def _infos(ports: list[Port]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(p.name, helper.np_dtype_to_tensor_dtype(np.dtype(p.dtype)), (1, *p.shape))
        for p in ports
    ]


def record(model: bytes, inputs: list[Port], outputs: list[Port]) -> dict[str, NDArray[Any]]:
    """A recording of STEPS steps from zero state, straight through ONNX Runtime."""
    generator = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    recording: dict[str, NDArray[Any]] = {}
    for p in inputs:
        if p.role == "is_first":
            recording[f"input/{p.name}"] = np.arange(STEPS) == 0
        elif p.dtype == "int64":
            recording[f"input/{p.name}"] = generator.integers(0, 2, (STEPS, *p.shape))
        elif p.role != "state":
            recording[f"input/{p.name}"] = generator.standard_normal((STEPS, *p.shape)).astype(p.dtype)
    state = {p.key: p.zeros() for p in inputs if p.role == "state"}
    rows: list[list[NDArray[Any]]] = []
    for t in range(STEPS):
        feed = {p.name: state[p.key] if p.role == "state" else recording[f"input/{p.name}"][t][None] for p in inputs}
        rows.append(session.run([p.name for p in outputs], feed))
        state = {p.key: x for p, x in zip(outputs, rows[-1], strict=True) if p.role == "state"}
    for i, p in enumerate(outputs):
        recording[f"output/{p.name}"] = np.stack([row[i][0] for row in rows])
    return recording


def toy_manifest(
    spec: RobotSpec,
    inputs: list[Port],
    outputs: list[Port],
    version: int = 1,
    lineage: str = "",
    algorithm: str = "toy",
) -> Manifest:
    """A manifest that fits."""
    return Manifest(
        version=version,
        training_step=10 * version,
        algorithm=algorithm,
        spec=spec.to_json(),
        spec_hash=spec.hash,
        rate=spec.rate,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        tolerance=1e-4,
        tools={"onnx": onnx.__version__},
        created="2026-01-01T00:00:00Z",
        lineage=lineage,
    )


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> None:
    """Change the files inside an archive, without repairing hashes."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def edit_manifest(path: Path, **fields: object) -> None:
    """Change fields of the manifest inside an archive."""

    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = msgspec.json.encode(msgspec.json.decode(files["manifest.json"]) | fields)

    rewrite(path, change)


def make_bundle(
    path: Path, spec: RobotSpec, version: int = 1, lineage: str = "", algorithm: str = "toy", **model: Any
) -> Path:
    """Write a good bundle; further arguments as in `toy_model`."""
    content, inputs, outputs = toy_model(spec, **model)
    write_bundle(
        path,
        content,
        toy_manifest(spec, inputs, outputs, version, lineage, algorithm),
        record(content, inputs, outputs),
    )
    return path
