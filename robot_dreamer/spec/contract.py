"""What of a RobotSpec its hash covers, in one spelling: equal contracts have equal hashes, however written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

from robot_dreamer.spec.action import ActionSpec
from robot_dreamer.spec.observation import ObservationSpec

if TYPE_CHECKING:
    from robot_dreamer.spec.robot import RobotSpec

_NOT_CONTRACT = ("description", "simulation", "watched", "safety")


def contract(spec: RobotSpec) -> dict[str, Any]:
    """The hashed part as plain JSON types; numbers by their declared type, what has no effect left out, and the neutral
    command of each action written out.

    A field that is as its default says is left out, so that a further optional field leaves the hash of older robots
    alone. A default must therefore never change. What is watched belongs to it as far as rewards are computed from it.
    """
    typed = msgspec.convert(msgspec.to_builtins(spec, enc_hook=_plain), type(spec))
    return as_spelled(
        msgspec.structs.replace(
            typed,
            observations=tuple(map(_observation, typed.observations)),
            watched=tuple(map(_observation, typed.watched)),
            actions=tuple(map(_action, typed.actions)),
        )
    )


def as_spelled(spec: RobotSpec) -> dict[str, Any]:
    """The same as it is written, which is what hashes covered until version 0.2."""
    plain = {k: v for k, v in _without_defaults(spec).items() if k not in _NOT_CONTRACT}
    judged = spec.recorded[len(spec.observations) :]
    return plain | {"watched": _without_defaults(judged)} if judged else plain


def digest(plain: dict[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """One line for each field in which two contracts differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = list(dict.fromkeys([*ours, *theirs]))
        return [x for k in keys for x in differences(ours.get(k), theirs.get(k), f"{path}.{k}".lstrip("."))]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [x for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for x in differences(a, b, f"{path}[{i}]")]
    return [] if ours == theirs else [f"{path}: ours {_show(ours)}, theirs {_show(theirs)}"]


def _plain(number: Any) -> Any:
    return number.item()  # numbers and arrays of numpy, from Python callers


def _observation(entry: ObservationSpec) -> ObservationSpec:
    return msgspec.structs.replace(entry, **_effective(entry))


def _action(entry: ActionSpec) -> ActionSpec:
    command = msgspec.structs.replace(entry.command, **_effective(entry.command))
    return msgspec.structs.replace(entry, command=command, neutral=tuple(entry.neutral_command().tolist()))


def _effective(scaled: Any) -> dict[str, tuple[float, ...]]:
    """Scale and offset, left out where they change nothing."""
    scale = scaled.scale if any(x != 1 for x in scaled.scale) else ()
    return {"scale": scale, "offset": scaled.offset if any(scaled.offset) else ()}


def _without_defaults(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        given = {f.name: (getattr(value, f.name), f.default) for f in msgspec.structs.fields(value)}
        return {name: _without_defaults(found) for name, (found, default) in given.items() if found != default}
    return [_without_defaults(x) for x in value] if isinstance(value, tuple) else value


def _show(value: Any) -> str:
    return "not given" if value is None else json.dumps(value)
