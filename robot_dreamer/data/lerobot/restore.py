"""LeRobotDataset -> rows, for datasets that `data export` made: every row under its old identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.lerobot import layout
from robot_dreamer.data.lerobot.reader import Dataset, Frames
from robot_dreamer.draws import MAX_DRAWS, Draws, read_draws
from robot_dreamer.link.keys import require_robot_id
from robot_dreamer.record import Arrays, StepRecord
from robot_dreamer.spec import RobotSpec

_WIDEST = 4  # JSON with escapes beside the MessagePack that a row may carry


def restored_rows(
    dataset: Dataset, spec: RobotSpec, progress: Callable[[], None] = lambda: None
) -> Iterator[StepRecord]:
    """All rows. Raises DataError for a feature that is missing or does not fit the spec."""
    for frames in dataset.episodes():
        try:
            names = [frames.entry[f"robot_dreamer/{what}"] for what in ("robot", "boot", "episode")]
        except KeyError as error:
            raise DataError(f"{dataset.root}: meta/episodes has no {error} for episode {frames.number}") from error
        require_robot_id(names[0])
        for row in _rows(dataset, spec, frames, _drawn(dataset, frames), *names):
            progress()
            yield row


def _rows(
    dataset: Dataset, spec: RobotSpec, frames: Frames, drawn: Draws, robot: str, boot: str, episode: int
) -> Iterator[StepRecord]:
    vectors, acted = layout.vectors(spec), layout.actions(spec)
    state = dataset.values(frames, layout.STATE) if vectors else np.empty((len(frames), 0), np.float32)
    actions, requested = dataset.values(frames, layout.ACTION), dataset.values(frames, layout.REQUESTED)
    scalars = {name: dataset.values(frames, name)[:, 0] for name in ("reward", *layout.FLAGS, *layout.COUNTS)}
    cameras = {name: dataset.pictures(frames, key) for key, name in layout.pictures(spec).items()}
    _require_size(dataset, layout.STATE, state.shape[1], vectors)
    for key, values in ((layout.ACTION, actions), (layout.REQUESTED, requested)):
        _require_size(dataset, key, values.shape[1], acted)
    for t in range(len(frames)):
        observation = {p.name: np.array(state[t, p.start : p.stop]) for p in vectors}
        observation |= {name: next(pixels) for name, pixels in cameras.items()}
        yield StepRecord(
            robot=robot,
            boot=boot,
            episode=int(episode),
            observation=observation,
            action=_actions(spec, acted, actions[t]),
            action_requested=_actions(spec, acted, requested[t]),
            reward=float(scalars["reward"][t]),
            is_first=bool(scalars["is_first"][t]),
            is_last=bool(scalars["is_last"][t]),
            is_terminal=bool(scalars["is_terminal"][t]),
            sequence=int(scalars["sequence"][t]),
            stamp_capture=int(scalars["stamp_capture"][t]),
            stamp_applied=int(scalars["stamp_applied"][t]),
            policy_version=int(scalars["policy_version"][t]),
            drawn={} if t else drawn,
        )


def _drawn(dataset: Dataset, frames: Frames) -> Draws:
    """Of an episode; an older export does not say."""
    try:
        return read_draws(str(frames.entry.get("robot_dreamer/drawn") or "{}"), _WIDEST * MAX_DRAWS)
    except ValueError as error:
        where = f"{dataset.root}: meta/episodes, robot_dreamer/drawn of episode {frames.number}"
        raise DataError(f"{where}: {error}") from error


def _actions(spec: RobotSpec, parts: list[layout.Part], numbers: np.ndarray) -> Arrays:
    shaped = zip(spec.actions, parts, strict=True)
    return {a.name: numbers[p.start : p.stop].reshape(a.shape).astype(a.dtype) for a, p in shaped}


def _require_size(dataset: Dataset, key: str, found: int, parts: list[layout.Part]) -> None:
    expected = parts[-1].stop if parts else 0
    if found != expected:
        raise DataError(f"{dataset.root}: feature {key!r}: expected {expected} numbers as in the spec, found {found}")
