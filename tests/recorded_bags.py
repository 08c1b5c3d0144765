"""Bags of what a robot lived, as its topics would have been recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.bags import new_bag
from robot_dreamer.data.source import rows_of
from robot_dreamer.data.topics import Message, TopicWriter
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source, load_spec
from robot_dreamer.spec.action import Command

SPEC = load_spec("cartpole")
QUADRUPED = load_spec("quadruped")
PERIOD = 40_000_000  # ns
START = 1_700_000_000_000_000_000  # ns
COMMANDS = "effort_controller/commands"


def with_command(**fields: object) -> RobotSpec:
    action = msgspec.structs.replace(QUADRUPED.actions[0], command=Command(**fields))
    return msgspec.structs.replace(QUADRUPED, actions=(action,))


JOINTS = QUADRUPED.actions[0].command.names
TRAJECTORY = with_command(topic="trajectory", type="trajectory_msgs/msg/JointTrajectory", names=JOINTS)
_FEET = Source("feet", "std_msgs/msg/Float64MultiArray", "data", ("left", "right"))
_ODOMETRY = [Source("odom", "nav_msgs/msg/Odometry", field) for field in ("position", "orientation", "linear_velocity")]
OTHERS = msgspec.structs.replace(
    SPEC,
    observations=(
        *SPEC.observations,
        ObservationSpec("feet", (2,), _FEET, scale=(2.0, 1.0)),
        *(ObservationSpec(s.field, (4 if s.field == "orientation" else 3,), s) for s in _ODOMETRY),
    ),
)


def lived(spec: RobotSpec, count: int, start: int = START) -> list[StepRecord]:
    rows = []
    for n in range(count):
        row = synthetic_row(spec, "r", "b", n, episode_steps=spec.episode.max_steps)
        stamp = start + n * PERIOD
        rows.append(_restamped(row, stamp))
    return rows


def _restamped(row: StepRecord, stamp: int) -> StepRecord:
    return dataclasses.replace(row, stamp_capture=stamp, stamp_applied=0 if row.is_last else stamp + 3_000_000)


def sent(spec: RobotSpec, rows: Iterable[StepRecord]) -> list[tuple[int, Message]]:
    """(time in the bag, message) as robot and policy node would have sent them."""
    writer = TopicWriter(spec)
    return [(message.stamp, message) for row in rows for message in writer.messages(row)]


def write(path: Path, messages: Iterable[tuple[int, Message]], prefix: str = "/") -> Path:
    with new_bag(path, "mcap" if path.suffix == ".mcap" else "rosbag2") as bag:
        for time, message in messages:
            bag.write(prefix + message.topic, message.kind, time, message.message)
    return path


def spec_file(folder: Path, spec: RobotSpec) -> str:
    (folder / "spec.yaml").write_text(spec.to_json())
    return str(folder / "spec.yaml")


def load(bag: Path, spec: RobotSpec, *options: str) -> tuple[int, list[StepRecord]]:
    folder = bag.parent
    status = main(
        ["data", "import", str(bag), "--spec", spec_file(folder, spec), "--store", str(folder / "new.sqlite"), *options]
    )
    if status == 2:
        return status, []
    store = ExperienceStore(folder / "new.sqlite", spec)
    try:
        return status, list(rows_of(store))
    finally:
        store.close()
