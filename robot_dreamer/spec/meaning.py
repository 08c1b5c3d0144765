"""Which fields of a RobotSpec say what its numbers mean, and which merely tune how they come about.

The hash covers the first. A difference in one of the others is told, and refuses nothing: rows, networks and policies
are about the same numbers. `python -m robot_dreamer.spec.meaning` prints the table of docs/contract.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Verdict(NamedTuple):
    """`means`: part of the contract. `why`: the reason, for docs and people."""

    means: bool
    why: str


def _means(why: str) -> Verdict:
    return Verdict(True, why)


def _tunes(why: str) -> Verdict:
    return Verdict(False, why)


_SCALES = "numbers mean something else by it"
_WHEN = "decides whether a value comes in time, not what it says"
_WHERE = "a name in the graph; what comes from there is said by the other fields"

FIELDS: Mapping[str, Verdict] = {
    "RobotSpec.name": _means("a robot of another name is another machine"),
    "RobotSpec.rate": _means("how long an action lasts, and how far a row is from the next"),
    "RobotSpec.observations": _means("what the policy sees, in this order"),
    "RobotSpec.actions": _means("what the policy does, in this order"),
    "RobotSpec.reward": _means("what is learned"),
    "RobotSpec.episode": _tunes("a limit or a reset ends an episode and judges nothing: it is no terminal"),
    "RobotSpec.terminal": _means("which states end the task, so that nothing is hoped for behind them"),
    "RobotSpec.reward_range": _tunes("refuses rows; those within it say the same"),
    "RobotSpec.operator": _means("part of the reward"),
    "RobotSpec.watched": _means("as far as reward or terminal is computed from it; the rest is only told"),
    "RobotSpec.safety": _tunes("who tightens a limit must not lose what the robot has lived through"),
    "RobotSpec.description": _tunes("for people"),
    "RobotSpec.simulation": _tunes("how the robot is imitated, not what its numbers are"),
    "ObservationSpec.name": _means("networks and expressions know it by its name"),
    "ObservationSpec.shape": _means("what networks are built for"),
    "ObservationSpec.source": _means("which quantity it is"),
    "ObservationSpec.dtype": _means("what networks are built for"),
    "ObservationSpec.unit": _means(_SCALES),
    "ObservationSpec.encoding": _means(_SCALES),
    "ObservationSpec.scale": _means(_SCALES),
    "ObservationSpec.offset": _means(_SCALES),
    "ObservationSpec.range": _means("bounds what an expression is made of; of distances and depth the scale"),
    "ObservationSpec.history": _means("how many ticks it holds"),
    "ObservationSpec.picture": _means("which part of the camera's view it is"),
    "Picture.size": _means("what a crop is measured in"),
    "Picture.crop": _means("which part of the camera's view it is"),
    "Source.topic": _tunes(_WHERE),
    "Source.type": _means("says what the field holds"),
    "Source.field": _means("which quantity it is"),
    "Source.names": _means("which joints, in this order"),
    "Source.max_age": _tunes(_WHEN),
    "Source.beams": _means("which sector each number is of"),
    "Source.parts": _tunes("how joints of several messages come together, not what they are"),
    "Source.hold": _means("an old value stands for the present one"),
    "ActionSpec.name": _means("networks and expressions know it by its name"),
    "ActionSpec.command": _means("what the motors get"),
    "ActionSpec.unit": _means(_SCALES),
    "ActionSpec.low": _means("what -1 stands for"),
    "ActionSpec.high": _means("what 1 stands for"),
    "ActionSpec.neutral": _tunes("sent where the policy does not act; rows hold what was executed"),
    "ActionSpec.max_rate": _means("how a command follows an action"),
    "ActionSpec.filter": _means("how a command follows an action"),
    "ActionSpec.values": _means("what each class stands for"),
    "LowPassSpec.cutoff": _means("how a command follows an action"),
    "LowPassSpec.order": _means("how a command follows an action"),
    "Command.topic": _tunes(_WHERE),
    "Command.type": _means("which kind of controller acts on it"),
    "Command.names": _means("which joints, in this order"),
    "Command.field": _means("which quantity is commanded"),
    "Command.time_from_start": _means("how fast a joint follows its command"),
    "Command.scale": _means("what the motors get"),
    "Command.offset": _means("what the motors get"),
    "Command.frame": _tunes("a name in tf, before which each of two arms of a kind has a prefix"),
    "Signal.topic": _tunes(_WHERE),
    "Signal.type": _means("says what the field holds"),
    "Signal.field": _means("which quantity it is"),
    "Signal.names": _means("which scalar it is"),
    "Signal.max_age": _tunes(_WHEN),
    "Signal.expression": _means("what is computed"),
    "Operator.success": _means("part of the reward"),
    "Operator.failure": _means("part of the reward"),
}
"""By struct and field; a struct below a field that merely tunes is not looked into."""

_IN_YAML = {
    "RobotSpec": "{}",
    "ObservationSpec": "observations[].{}",
    "Picture": "observations[].picture.{}",
    "Source": "observations[].source.{}",
    "ActionSpec": "actions[].{}",
    "LowPassSpec": "actions[].filter.{}",
    "Command": "actions[].command.{}",
    "Signal": "reward.{}, terminal.{}",
    "Operator": "operator.{}",
}


def table() -> str:
    """The table of docs/contract.md, in Markdown."""
    lines = ["| field | in the hash | because |", "|---|---|---|"]
    for key, (means, why) in FIELDS.items():
        struct, _, field = key.partition(".")
        path = ", ".join(f"`{part}`" for part in _IN_YAML[struct].format(field, field).split(", "))
        lines.append(f"| {path} | {'yes' if means else 'told only'} | {why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
