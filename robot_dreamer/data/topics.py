"""Rows -> the messages that the robot's drivers and the policy node would have sent, on the topics of the spec.

They are for people and tools (Foxglove, rqt, other learners). A round trip goes through the archive, because angles
behind a cosine and a sine, and numbers in float32, do not come back bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.bags import message_type, new_message
from robot_dreamer.data.headers import header
from robot_dreamer.data.sensor_messages import sensor_message
from robot_dreamer.onboard.command_codec import make_writer
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source
from robot_dreamer.spec.source import JOINT_STATE

_FIELDS = ("position", "velocity", "effort")


class Message(NamedTuple):
    """A message to write. `stamp`: ns, when it was sent."""

    topic: str
    kind: str
    stamp: int
    message: Any


class TopicWriter:
    """Makes the messages of rows of one spec."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._sensors: dict[str, list[ObservationSpec]] = {}
        for observation in spec.observations:
            self._sensors.setdefault(observation.source.topic, []).append(observation)
        self._judges: dict[str, list[tuple[str, Source]]] = {}
        for name, source in spec.signals.items():
            field = "is_terminal" if name == "terminal" else name
            self._judges.setdefault(source.topic, []).append((field, source))

    def messages(self, row: StepRecord) -> Iterator[Message]:
        """Sensors, reward and terminal at the row's capture stamp, commands at its applied stamp."""
        stamp = row.stamp_capture
        for topic, observations in self._sensors.items():
            kind = observations[0].source.type
            yield Message(topic, kind, stamp, self._sensor(kind, observations, row, stamp))
        for topic, judges in self._judges.items():
            known = {(source.names[0], source.field): float(getattr(row, name)) for name, source in judges}
            yield Message(topic, JOINT_STATE, stamp, _joint_state(known, stamp))
        if not row.is_last:
            for action in self._spec.actions:
                command, sent = action.command, row.stamp_applied
                writer = make_writer(command, action.size, self._spec.period, new_message)
                writer.fill(command.to_message(action.to_command(row.action[action.name])), 0, sent)
                for topic, message in zip(command.topics, writer.messages, strict=True):
                    yield Message(topic, command.type, sent, message)

    def _sensor(self, kind: str, observations: list[ObservationSpec], row: StepRecord, stamp: int) -> Any:
        values = [(o, _source_values(o, row.observation[o.name])) for o in observations]
        if kind != JOINT_STATE:
            values.sort(key=lambda entry: entry[0].source.beams)  # of two that divide one scan the finer is written
            return sensor_message(kind, {o.source.field: (o, numbers) for o, numbers in values}, stamp)
        known: dict[tuple[str, str], float] = {}
        for o, numbers in values:
            known |= {(name, o.source.field): float(x) for name, x in zip(o.source.names, numbers, strict=True)}
        return _joint_state(known, stamp)


def _source_values(spec: ObservationSpec, values: NDArray[Any]) -> NDArray[Any]:
    """Undo `encode_observation`, as far as that can be: of a direction of gravity without its heading."""
    if spec.history > 1:
        values = values[-spec.reading_shape[0] :]
    if spec.encoding == "cos_sin":
        pairs = values.astype(np.float64).reshape(-1, 2)
        values = np.arctan2(pairs[:, 1], pairs[:, 0])
    if spec.encoding == "projected_gravity":
        x, y, z = values.astype(np.float64)
        turned = np.array([-y, x, 0.0, 1.0 - z])  # the shortest way from it to (0, 0, -1)
        norm = np.linalg.norm(turned)
        values = turned / norm if norm > 1e-6 else np.array([1.0, 0.0, 0.0, 0.0])  # upside down
    return spec.to_message(values)


def _joint_state(known: dict[tuple[str, str], float], stamp: int) -> Any:
    """From (joint, field) -> number. A field that only some joints have is NaN for the others."""
    names = list(dict.fromkeys(name for name, _ in known))
    arrays = {
        field: np.array(
            [known.get((name, field), math.nan) for name in names] if any(f == field for _, f in known) else [],
            np.float64,
        )
        for field in _FIELDS
    }
    return message_type(JOINT_STATE)(header=header(stamp), name=names, **arrays)
