"""What policy.onnx says about itself in `metadata_props`, for runtimes that know nothing of bundles.

Names as others write them where these mean the same (mjlab: joint_names, action_scale, default_joint_pos,
observation_names; exploy: update_rate), lists of those joined by commas; the rest is JSON. It holds what robot and
graph are, not when or how well the weights were trained: equal policies have equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import onnx

from export.ports import Ports
from robot_dreamer.onboard.manifest import NOISE_ROLES
from robot_dreamer.spec import ActionSpec, ObservationSpec, RobotSpec
from robot_dreamer.spec.units import measure

FORMAT = "robot_dreamer 1"
_POSITIONS = ("angle", "length")


def describe(model: onnx.ModelProto, spec: RobotSpec, ports: Ports, algorithm: str) -> None:
    """Write the metadata into a model, in place; what was there is replaced."""
    del model.metadata_props[:]
    for key, value in metadata(spec, ports, algorithm).items():
        model.metadata_props.add(key=key, value=value)


def metadata(spec: RobotSpec, ports: Ports, algorithm: str) -> dict[str, str]:
    """Key -> text; docs/export.md lists them.

    Args:
      spec: the robot.
      ports: of the graph.
      algorithm: as in the manifest.
    """
    by_key = {(p.role, p.key): p.name for p in (*ports.inputs, *ports.outputs) if p.role not in NOISE_ROLES}
    actions = [_action(a) for a in spec.actions]
    flat: dict[str, Iterable[object]] = {"observation_names": [o.name for o in spec.observations]}
    if all(a.command.names and not a.discrete for a in spec.actions):
        flat["joint_names"] = [name for a in spec.actions for name in a.command.names]
        flat["action_scale"] = [x for a in actions for x in a["action_scale"]]
        if all(measure(a.unit) in _POSITIONS for a in spec.actions):
            flat["default_joint_pos"] = [x for a in actions for x in a["action_offset"]]
    entries = {
        "observations": [{"input": by_key["observation", o.name], **_observation(o)} for o in spec.observations],
        "actions": [
            {"output": by_key["action", a["name"]], "executed_input": by_key["previous_action", a["name"]], **a}
            for a in actions
        ],
        "states": _states(ports),
        "noise": {p.name: {"role": p.role, "distribution": p.unit} for p in ports.inputs if p.role in NOISE_ROLES},
    }
    return {
        "format": FORMAT,
        "robot": spec.name,
        "spec_hash": spec.hash,
        "algorithm": algorithm,
        "update_rate": repr(spec.rate),
        **{key: ",".join(map(str, values)) for key, values in flat.items()},
        **{key: json.dumps(value, separators=(",", ":")) for key, value in entries.items()},
    }


def _states(ports: Ports) -> dict[str, str]:
    given = {p.key: p.name for p in ports.outputs if p.role == "state"}
    return {p.name: given[p.key] for p in ports.inputs if p.role == "state"}


def _observation(spec: ObservationSpec) -> dict[str, Any]:
    """Numbers of a message, times `scale` plus `offset`, then encoded, are the input."""
    source, picture = spec.source, spec.picture
    count = len(source.elements)
    return {
        "name": spec.name,
        "components": spec.components,
        "unit": spec.unit,
        "topic": source.topic,
        "type": source.type,
        "field": source.field,
        "names": source.elements,
        "scale": spec.scale or (1.0,) * count,
        "offset": spec.offset or (0.0,) * count,
        "encoding": spec.encoding,
        "history": spec.history,
        "range": spec.range,
        "picture": None if picture is None else {"size": picture.size, "crop": picture.crop},
        "max_age": None if source.hold else source.max_age,
    }


def _action(spec: ActionSpec) -> dict[str, Any]:
    """Of a continuous one: command = action_offset + action_scale * action, the action within [-1, 1]."""
    command = spec.command
    limits = list(zip(spec.low, spec.high, strict=True))
    return {
        "name": spec.name,
        "names": command.names,
        "unit": spec.unit,
        "action_scale": [(high - low) / 2 for low, high in limits],
        "action_offset": [(high + low) / 2 for low, high in limits],
        "values": spec.values,
        "low": spec.low,
        "high": spec.high,
        "neutral": spec.neutral_command().tolist(),
        "max_rate": spec.max_rate,
        "low_pass": None if spec.filter is None else {"cutoff": spec.filter.cutoff, "order": spec.filter.order},
        "topic": command.topic,
        "type": command.type,
        "frame": command.frame,
        "message_scale": command.scale or (1.0,) * spec.size,
        "message_offset": command.offset or (0.0,) * spec.size,
    }
