"""Store -> LeRobotDataset v3. Vectors bit by bit, pictures too (PNG), or as videos with a loss that is measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.lerobot import layout
from robot_dreamer.data.lerobot.images import to_png, write_video
from robot_dreamer.data.lerobot.stats import Spread
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec

_LARGEST_FILE = 100 << 20  # bytes of rows in memory, from which on the next episode begins a file
_ARROW = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def export_lerobot(
    rows: Iterable[StepRecord],
    spec: RobotSpec,
    output: Path,
    *,
    video: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, int | str]:
    """Write rows, in the order of the store, into a new dataset (a folder); returns what it holds, in words.

    Args:
      video: cameras as H.264 instead of PNG.
      progress: called once per row.

    Raises:
      DataError: there are no rows, something is at `output` already, or the rate is no whole number.
    """
    if output.exists():
        raise DataError(f"{output} is there already; choose another name or delete it")
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by an export that was cut
    try:
        writer = _Writer(spec, part, video)
        for episode in _episodes(rows, progress):
            writer.add(episode)
        told = writer.finish()
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return told


def _episodes(rows: Iterable[StepRecord], progress: Callable[[], None]) -> Iterator[list[StepRecord]]:
    """Rows of one episode each; several robots may have written in turns, each of them one boot after the other."""
    running: dict[str, list[StepRecord]] = {}
    for row in rows:
        episode = running.get(row.robot)
        if episode and (episode[0].boot, episode[0].episode) != (row.boot, row.episode):
            yield running.pop(row.robot)
        running.setdefault(row.robot, []).append(row)
        progress()
    yield from running.values()


class _Writer:
    def __init__(self, spec: RobotSpec, root: Path, video: bool) -> None:
        self._spec, self._root, self._video = spec, root, video
        self._features = layout.features(spec, video)
        self._fps = layout.fps_of(spec)
        self._spreads: dict[str, Spread] = {key: Spread() for key in self._features}
        self._episodes: list[dict[str, Any]] = []
        self._frames = self._file = self._bytes = 0
        self._losses: dict[str, list[float]] = {}
        self._data: pq.ParquetWriter | None = None

    def add(self, rows: list[StepRecord]) -> None:
        columns = self._columns(rows)
        index = len(self._episodes)
        entry = {
            "episode_index": index,
            "tasks": [_task(self._spec)],
            "length": len(rows),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(rows),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            "robot_dreamer/robot": rows[0].robot,
            "robot_dreamer/boot": rows[0].boot,
            "robot_dreamer/episode": rows[0].episode,
            "robot_dreamer/drawn": json.dumps(rows[0].drawn),
        }
        arrays = {key: _array(self._features[key], values) for key, values in columns.items()}
        for key, name in layout.pictures(self._spec).items():
            frames = [row.observation[name] for row in rows]
            self._spreads[key].add(np.stack(frames))
            if self._video:
                path = self._root / layout.file_name(f"videos/{key}", index, "mp4")
                self._losses.setdefault(key, []).append(write_video(path, frames, self._fps))
                where = {"chunk_index": index // layout.CHUNK, "file_index": index % layout.CHUNK}
                times = {"from_timestamp": 0.0, "to_timestamp": len(rows) / self._fps}
                entry |= {f"videos/{key}/{name}": value for name, value in (where | times).items()}
            else:
                arrays[key] = pa.array([{"bytes": to_png(x), "path": None} for x in frames], _PICTURE)
        entry |= {"data/chunk_index": self._file // layout.CHUNK, "data/file_index": self._file % layout.CHUNK}
        self._write(pa.table({key: arrays[key] for key in self._features if key in arrays}))
        self._episodes.append(entry)
        self._frames += len(rows)

    def finish(self) -> dict[str, int | str]:
        if self._data is None:
            raise DataError("there is nothing to export: no row matches")
        self._data.close()
        meta = self._root / layout.EPISODES / "chunk-000"
        meta.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), meta / "file-000.parquet")
        pq.write_table(_tasks(_task(self._spec)), self._root / layout.TASKS)
        losses = {key: float(np.mean(found)) for key, found in self._losses.items()}
        stats = {
            key: spread.stats(self._features[key]["dtype"] in ("image", "video"))
            for key, spread in self._spreads.items()
        }
        content = {
            layout.STATS: json.dumps(stats, indent=1).encode(),
            layout.OURS: msgspec.json.encode(layout.Head(layout.FORMAT, self._spec, losses)),
            layout.INFO: json.dumps(
                layout.info(self._spec, self._features, len(self._episodes), self._frames), indent=1
            ).encode(),
        }
        for name, data in content.items():
            (self._root / name).write_bytes(data)
        told: dict[str, int | str] = {"episodes": len(self._episodes), "frames": self._frames}
        return told | {key: f"video, mean error of a pixel {loss:.2f} of 255" for key, loss in losses.items()}

    def _write(self, table: pa.Table) -> None:
        if self._data is None:
            path = self._root / layout.file_name("data", self._file, "parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, table.schema)
        self._data.write_table(table)
        self._bytes += table.nbytes
        if self._bytes > _LARGEST_FILE:
            self._data.close()
            self._data, self._bytes, self._file = None, 0, self._file + 1

    def _columns(self, rows: list[StepRecord]) -> dict[str, NDArray[Any]]:
        """Values by feature, [frames, size], but pictures."""
        spec, count = self._spec, len(rows)
        found: dict[str, NDArray[Any]] = {}
        if layout.STATE in self._features:
            names = [part.name for part in layout.vectors(spec)]
            found[layout.STATE] = np.stack([np.concatenate([row.observation[n] for n in names]) for row in rows])
        for key, kind in ((layout.ACTION, "action"), (layout.REQUESTED, "action_requested")):
            acted = [[np.ravel(getattr(row, kind)[a.name]) for a in spec.actions] for row in rows]
            found[key] = np.stack([np.concatenate(x) for x in acted]).astype(np.float32)
        for name in (
            "reward",
            "is_first",
            "is_last",
            "is_terminal",
            "sequence",
            "stamp_capture",
            "stamp_applied",
            "policy_version",
        ):
            found[name] = np.array([getattr(row, name) for row in rows])
        behind = rows[1:]
        found["next.reward"] = np.array([*(row.reward for row in behind), 0.0])
        found["next.done"] = np.array([*(row.is_last for row in behind), True])
        found["frame_index"] = np.arange(count)
        found["timestamp"] = found["frame_index"] / self._fps
        found["episode_index"] = np.full(count, len(self._episodes))
        found["index"] = self._frames + np.arange(count)
        found["task_index"] = np.zeros(count, np.int64)
        shaped = {key: values.reshape(count, -1).astype(self._features[key]["dtype"]) for key, values in found.items()}
        for key, values in shaped.items():
            self._spreads[key].add(values)
        return shaped


def _array(feature: dict[str, Any], values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.reshape(-1), _ARROW[feature["dtype"]])
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _task(spec: RobotSpec) -> str:
    return spec.description or spec.name


def _tasks(task: str) -> pa.Table:
    """Written as pandas writes a table whose index is the task, which is how LeRobot reads it."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in columns
    ]
    told = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task], pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(told)})
