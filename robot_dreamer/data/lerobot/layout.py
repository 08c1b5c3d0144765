"""What a LeRobotDataset v3 of a robot's rows holds: its files, its features, and which of them is what of a row.

    meta/info.json                              version, fps, features
    meta/stats.json                             least, most, mean and spread of each feature
    meta/tasks.parquet                          words for what is done
    meta/episodes/chunk-000/file-000.parquet    a line per episode: where its frames are
    meta/robot_dreamer.json                     ours: the spec, and what videos have lost
    data/chunk-000/file-000.parquet             a line per frame
    videos/KEY/chunk-000/file-000.mp4           a file per episode and camera

A frame is a row. `next.reward` and `next.done` are what LeRobot's readers know: reward and end of the row behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.data.errors import DataError
from robot_dreamer.spec import RobotSpec

VERSION = "v3.0"
FORMAT = 1  # of meta/robot_dreamer.json
INFO, STATS, TASKS, OURS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/robot_dreamer.json"
EPISODES = "meta/episodes"
CHUNK = 1000  # files in a folder
STATE, ACTION, REQUESTED = "observation.state", "action", "requested_action"
PICTURES = "observation.images."
FLAGS = ("is_first", "is_last", "is_terminal")
COUNTS = ("sequence", "stamp_capture", "stamp_applied", "policy_version")
_DEFAULTS = {"timestamp": "float32"} | dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")


@dataclass(frozen=True)
class Part:
    """Numbers of a feature that are one observation or action: `name` [start:stop] of the flat vector."""

    name: str
    start: int
    stop: int


class Head(msgspec.Struct, frozen=True):
    """Content of meta/robot_dreamer.json. `video_loss`: mean error of a pixel, of 255, by feature."""

    format: int
    spec: RobotSpec
    video_loss: dict[str, float] = {}


def file_name(kind: str, number: int, ending: str) -> str:
    """Such as data/chunk-000/file-000.parquet."""
    return f"{kind}/chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.{ending}"


def vectors(spec: RobotSpec) -> list[Part]:
    """Where each observation that is no picture stands in `observation.state`."""
    return list(_parts((o.name, o.shape[0]) for o in spec.observations if o.dtype != "uint8"))


def actions(spec: RobotSpec) -> list[Part]:
    """Where each action stands in `action`; a discrete one is its class."""
    return list(_parts((a.name, 1 if a.discrete else a.size) for a in spec.actions))


def pictures(spec: RobotSpec) -> dict[str, str]:
    """Feature -> observation, of cameras."""
    return {PICTURES + o.name: o.name for o in spec.observations if o.dtype == "uint8"}


def features(spec: RobotSpec, video: bool) -> dict[str, dict[str, Any]]:
    """As info.json has them, in the order of the columns."""
    state = [f"{o.name}.{c}" for o in spec.observations if o.dtype != "uint8" for c in o.components]
    names = [f"{a.name}.{c}" for a in spec.actions for c in (["class"] if a.discrete else _components(a))]
    found = {STATE: _vector(state)} if state else {}
    for key, name in pictures(spec).items():
        shape = next(o.shape for o in spec.observations if o.name == name)
        kind = "video" if video else "image"
        found[key] = {"dtype": kind, "shape": list(shape), "names": ["height", "width", "channels"]}
        if video:
            found[key]["info"] = _video_info(shape, spec.rate)
    found |= {ACTION: _vector(names), REQUESTED: _vector(names)}
    scalars = {"reward": "float64", "next.reward": "float32"} | dict.fromkeys((*FLAGS, "next.done"), "bool")
    scalars |= dict.fromkeys(COUNTS, "int64") | _DEFAULTS
    return found | {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in scalars.items()}


def info(spec: RobotSpec, columns: dict[str, dict[str, Any]], episodes: int, frames: int) -> dict[str, Any]:
    """Content of info.json."""
    video = any(feature["dtype"] == "video" for feature in columns.values())
    return {
        "codebase_version": VERSION,
        "robot_type": spec.name,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps_of(spec),
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if video else None,
        "features": columns,
    }


def fps_of(spec: RobotSpec) -> int:
    """Frames per second. Raises DataError for a rate that is no whole number, which LeRobot does not know."""
    if spec.rate != int(spec.rate):
        raise DataError(f"a LeRobotDataset has whole frames per second, the robot's rate is {spec.rate:g} Hz")
    return int(spec.rate)


def is_dataset(path: Path) -> bool:
    """Whether a folder looks like a LeRobotDataset."""
    return (path / INFO).is_file()


def _components(action: Any) -> list[str]:
    return list(action.command.names) or [str(i) for i in range(action.size)]


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": names}


def _parts(sizes: Iterator[tuple[str, int]]) -> Iterator[Part]:
    start = 0
    for name, size in sizes:
        yield Part(name, start, start + size)
        start += size


def _video_info(shape: tuple[int, ...], rate: float) -> dict[str, Any]:
    return {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.channels": 3,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": int(rate),
        "has_audio": False,
    }
