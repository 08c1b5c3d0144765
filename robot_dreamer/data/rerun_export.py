"""Store -> a recording that the Rerun viewer opens (.rrd): what the robot saw, did and earned, with time as a slider.

    ROBOT/observation/NAME/COMPONENT   a number in the unit of the spec; of a camera ROBOT/observation/NAME, a picture
    ROBOT/action/NAME/COMPONENT        as executed, in the unit of the spec
    ROBOT/reward, ROBOT/policy_version numbers
    ROBOT/episode                      a line of text where an episode begins and ends

Timelines: `row`, in the order of the store, and `capture`, the stamps, which begin anew with each simulated boot.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from robot_dreamer.data.errors import DataError
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ActionSpec, RobotSpec

try:
    import rerun
except ModuleNotFoundError as missing:
    raise DataError(f"a Rerun recording needs rerun-sdk ({missing}): pip install 'robot_dreamer[rerun]'") from missing


def export_rerun(
    rows: Iterable[StepRecord], spec: RobotSpec, output: Path, *, progress: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Write rows, in the order of the store, into a new recording; returns the entries per kind of entity.

    progress: called once per row. Raises DataError: there are no rows, or something is at `output` already.
    """
    if output.exists():
        raise DataError(f"{output} exists already: choose another name, or delete it")
    partial = output.with_name(f".{output.name}.partial")
    recording = rerun.RecordingStream(f"robot_dreamer-{spec.name}")
    counts: Counter[str] = Counter()
    try:
        recording.save(partial)
        for number, row in enumerate(rows):
            recording.set_time("row", sequence=number)
            recording.set_time("capture", timestamp=np.datetime64(row.stamp_capture, "ns"))
            counts.update(_log(recording, spec, row))
            progress()
        recording.flush()
        recording.disconnect()
        if not counts:
            raise DataError("there is nothing to export: no row matches")
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return dict(counts)


def _log(recording: rerun.RecordingStream, spec: RobotSpec, row: StepRecord) -> Counter[str]:
    """One row; returns what was logged of each kind."""
    root, counts = row.robot, Counter[str]()

    def numbers(kind: str, name: str, components: tuple[str, ...], values: np.ndarray) -> None:
        for component, value in zip(components, values.ravel(), strict=True):
            recording.log(f"{root}/{kind}/{name}/{component}", rerun.Scalars(float(value)))
            counts[kind] += 1

    for o in spec.observations:
        value = row.observation[o.name]
        if o.dtype == "uint8":
            picture = value[..., 0] if value.shape[-1] == 1 else value
            recording.log(f"{root}/observation/{o.name}", rerun.Image(picture))
            counts["picture"] += 1
        else:
            numbers("observation", o.name, o.components, value)
    if not row.is_last:
        for a in spec.actions:
            numbers("action", a.name, _components(a), np.asarray(a.to_command(row.action[a.name])))
    recording.log(f"{root}/reward", rerun.Scalars(float(row.reward)))
    recording.log(f"{root}/policy_version", rerun.Scalars(float(row.policy_version)))
    counts.update(("reward", "policy_version"))
    for flag, words in ((row.is_first, "begins"), (row.is_last, "ends, terminal" if row.is_terminal else "ends")):
        if flag:
            recording.log(f"{root}/episode", rerun.TextLog(f"episode {row.episode} of boot {row.boot} {words}"))
            counts["episode"] += 1
    return counts


def _components(action: ActionSpec) -> tuple[str, ...]:
    return tuple(action.command.names) or tuple(str(i) for i in range(action.size))
