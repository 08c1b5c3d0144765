"""What of a RobotSpec its hash covers, in one spelling: equal contracts have equal hashes, however written.

Version 2 covers what numbers mean (`meaning.py` has the table). Version 1 covered topics, ages and limits of episodes
too, and its forerunner the spelling. What they made carries its spec beside the hash: it is recognised by its own hash,
and judged by version 2 of that spec.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from robot_dreamer.spec.action import ActionSpec
from robot_dreamer.spec.meaning import FIELDS
from robot_dreamer.spec.observation import ObservationSpec

if TYPE_CHECKING:
    from robot_dreamer.spec.robot import RobotSpec

_NOT_IN_VERSION_1 = ("description", "simulation", "watched", "safety")


def contract(spec: RobotSpec) -> dict[str, Any]:
    """The hashed part as plain JSON types; numbers by their declared type, and what has no effect left out.

    A field that is as its default says is left out, so that a further optional field leaves the hash of older robots
    alone. A default must therefore never change. What is watched belongs to it as far as rewards are computed from it.
    """
    return _hashed(_typed(spec), _means)


def version_1(spec: RobotSpec) -> dict[str, Any]:
    """What hashes of version 1 covered."""
    return as_spelled(_typed(spec))


def as_spelled(spec: RobotSpec) -> dict[str, Any]:
    """What hashes before version 1 covered: the same as it is written."""
    return _hashed(spec, lambda struct, field: field not in _NOT_IN_VERSION_1)


def tuned(ours: RobotSpec, theirs: RobotSpec) -> list[str]:
    """One line for each field that merely tunes and in which two specs differ."""
    lines = differences(_without_defaults(_typed(ours)), _without_defaults(_typed(theirs)))
    refused = {line.partition(":")[0] for line in differences(contract(ours), contract(theirs))}
    return [line for line in lines if line.partition(":")[0] not in refused]


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


def _typed(spec: RobotSpec) -> RobotSpec:
    """With numbers of the declared types, what has no effect left out, and the neutral commands written out."""
    typed = msgspec.convert(msgspec.to_builtins(spec, enc_hook=_plain), type(spec))
    return msgspec.structs.replace(
        typed,
        observations=tuple(map(_observation, typed.observations)),
        watched=tuple(map(_observation, typed.watched)),
        actions=tuple(map(_action, typed.actions)),
    )


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


def _means(struct: msgspec.Struct, field: str) -> bool:
    return FIELDS[f"{type(struct).__name__}.{field}"].means


def _hashed(spec: RobotSpec, counts: Callable[[msgspec.Struct, str], bool]) -> dict[str, Any]:
    plain = {name: value for name, value in _without_defaults(spec, counts).items() if name != "watched"}
    judged = spec.recorded[len(spec.observations) :]
    return plain | {"watched": _without_defaults(judged, counts)} if judged else plain


def _any(struct: msgspec.Struct, field: str) -> bool:
    return True


def _without_defaults(value: Any, counts: Callable[[msgspec.Struct, str], bool] = _any) -> Any:
    """Plain JSON types; of structs the fields that count and are not as their default says."""
    if isinstance(value, msgspec.Struct):
        given = {f.name: (getattr(value, f.name), f.default) for f in msgspec.structs.fields(value)}
        return {
            name: _without_defaults(found, counts)
            for name, (found, default) in given.items()
            if found != default and counts(value, name)
        }
    return [_without_defaults(x, counts) for x in value] if isinstance(value, tuple) else value


def _show(value: Any) -> str:
    return "not given" if value is None else json.dumps(value)
