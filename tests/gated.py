"""A mass on a rail, and linear policies for it: good, with the sign flipped, late."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from robot_dreamer.onboard.bundle import write_bundle
from robot_dreamer.onboard.manifest import Port
from robot_dreamer.spec import load_spec
from tests.onboard_models import record, toy_manifest

MODEL = """<mujoco><option timestep="0.01"/><worldbody>
  <body name="mass"><joint name="rail" type="slide" axis="1 0 0" damping="0.5"/><geom size=".1" mass="1"/></body>
</worldbody><actuator><motor name="rail" joint="rail" gear="20"/></actuator></mujoco>
"""
ROBOT = """
name: mass
rate: 20.0
observations:
  - {name: place, shape: [1], unit: m, source: &joint {topic: joint_states, type: sensor_msgs/msg/JointState,
     field: position, names: [rail]}}
  - {name: speed, shape: [1], unit: m/s, source: {<<: *joint, field: velocity}}
actions:
  - {name: force, unit: 20 N, low: [-1.0], high: [1.0], neutral: [0.0], command: {topic: commands}}
reward: {expression: "exp(-10 * norm(place))"}
episode: {max_steps: 60, reset_service: reset}
simulation:
  model: mjcf:mass.xml
  start: {rail: 0.5}
"""
GAINS = (-1.25, -0.7)  # of place and speed; crosses over at 14 rad/s, so that 0.1 s are too late for it


def mass_robot(folder: Path, simulation: str = "") -> Path:
    """The robot's file; simulation: further lines of that section, without indentation."""
    (folder / "mass.xml").write_text(MODEL)
    lines = "".join(f"  {line}\n" for line in simulation.strip().splitlines())
    (folder / "mass.yaml").write_text(ROBOT + lines)
    return folder / "mass.yaml"


def linear_bundle(path: Path, robot: Path, sign: float = 1.0, lag: int = 0) -> Path:
    """A bundle of `force = sign * GAINS (place, speed)`, `lag` ticks late."""
    spec, kept = load_spec(robot), max(lag, 1)
    inputs = [Port(f"obs_{o.name}", "observation", o.name, o.shape, o.dtype, o.unit) for o in spec.observations]
    inputs += [Port("prev_force", "previous_action", "force", (1,)), Port("queue", "state", "queue", (kept,))]
    inputs += [Port("is_first", "is_first", "is_first", (), "bool")]
    outputs = [Port("queue_next", "state", "queue", (kept,)), Port("action", "action", "force", (1,), unit="20 N")]
    nodes = [
        helper.make_node("Concat", ["obs_place", "obs_speed"], ["seen"], axis=1),
        helper.make_node("MatMul", ["seen", "gains"], ["wanted"]),
        helper.make_node("Concat", ["wanted", "queue"], ["line"], axis=1),
        helper.make_node("Slice", ["line", "zero", "kept", "axis"], ["queue_next"]),
        helper.make_node("Slice", ["line", "lag", "after", "axis"], ["action"]),
    ]
    numbers = {"zero": 0, "kept": kept, "lag": lag, "after": lag + 1, "axis": 1}
    tensors = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers.items()]
    tensors.append(helper.make_tensor("gains", TensorProto.FLOAT, [2, 1], [sign * gain for gain in GAINS]))
    infos = [
        [
            helper.make_tensor_value_info(p.name, helper.np_dtype_to_tensor_dtype(p.zeros().dtype), (1, *p.shape))
            for p in x
        ]
        for x in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "linear", *infos, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    write_bundle(path, content, toy_manifest(spec, inputs, outputs), record(content, inputs, outputs))
    return path
