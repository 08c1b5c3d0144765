"""A LeRobotDataset v3 of whoever wrote it: its features, and its episodes one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.lerobot import layout
from robot_dreamer.data.lerobot.images import Pixels, from_picture, read_video
from robot_dreamer.durable import sha256_of

_NUMBERS = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")


class Feature(msgspec.Struct, frozen=True):
    """One of info.json. `names`: of its numbers, where they have any."""

    dtype: str
    shape: tuple[int, ...]
    names: Any = None

    @property
    def elements(self) -> tuple[str, ...]:
        """What each number is called; empty if that is not said."""
        names = next(iter(self.names.values()), None) if isinstance(self.names, dict) else self.names
        return tuple(map(str, names)) if isinstance(names, list) else ()


class Info(msgspec.Struct, frozen=True):
    """What is read of info.json."""

    codebase_version: str
    fps: float
    features: dict[str, Feature]
    total_frames: int = 0


@dataclass(frozen=True)
class Frames:
    """The frames of one episode. `number`: its episode_index; `entry`: its line in meta/episodes."""

    number: int
    entry: dict[str, Any]
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)


class Dataset:
    """An open dataset. Raises DataError if it is none, or of another version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with _explained(root / layout.INFO):
            self.info = msgspec.json.decode((root / layout.INFO).read_bytes(), type=Info)
        if not self.info.codebase_version.startswith("v3."):
            text = "LeRobot converts older ones (lerobot.datasets.v30)"
            raise DataError(f"{root}: expected version {layout.VERSION}, found {self.info.codebase_version}; {text}")
        self._episodes = {}
        for path in self._files(layout.EPISODES):
            with _explained(path):
                wanted = [c for c in pq.read_schema(path).names if not c.startswith("stats/")]
                entries = pq.read_table(path, columns=wanted).to_pylist()
            self._episodes.update({int(x["episode_index"]): x for x in entries if "episode_index" in x})

    @property
    def fingerprint(self) -> str:
        """Of all frames, but not of videos; hex."""
        digest = hashlib.sha256()
        for path in self._files("data"):
            digest.update(sha256_of(path).encode())
        return digest.hexdigest()

    def head(self) -> layout.Head | None:
        """What `data export` has written beside it; None for a dataset of others."""
        path = self.root / layout.OURS
        if not path.exists():
            return None
        with _explained(path):
            head = msgspec.json.decode(path.read_bytes(), type=layout.Head)
        if head.format != layout.FORMAT:
            raise DataError(f"{path} is of format {head.format}, this program reads format {layout.FORMAT}")
        return head

    def episodes(self) -> Iterator[Frames]:
        """All of them, in the order of the files."""
        for path in self._files("data"):
            with _explained(path):
                table = pq.read_table(path)
                numbers = table.column("episode_index").to_numpy()
            borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(numbers)]
            for start, stop in zip(borders[:-1], borders[1:], strict=True):
                if stop > start:
                    number = int(numbers[start])
                    yield Frames(number, self._episodes.get(number, {}), table.slice(start, stop - start))

    def feature(self, key: str) -> Feature:
        """Raises DataError that lists what there is."""
        found = self.info.features.get(key)
        if found is None:
            raise DataError(f"{self.root} has no feature {key!r}; it has: {', '.join(self.info.features)}")
        return found

    def values(self, frames: Frames, key: str) -> NDArray[Any]:
        """Numbers of a feature, [frames, size], in the dtype in which they stand there. Raises DataError."""
        feature = self.feature(key)
        if feature.dtype not in _NUMBERS:
            raise DataError(f"{self.root}: feature {key!r} is of {feature.dtype}, expected numbers")
        with _explained(self.root / "data"):
            column = frames.table.column(key)
            while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
                column = pc.list_flatten(column)
            found: NDArray[Any] = column.to_numpy().reshape(len(frames), -1)
        size = int(np.prod(feature.shape, dtype=np.int64))
        if found.shape[1] != size:
            raise DataError(f"{self.root}: feature {key!r}: info.json says {size} numbers, found {found.shape[1]}")
        return found

    def pictures(self, frames: Frames, key: str) -> Iterator[Pixels]:
        """Of a camera, frame by frame, uint8 [height, width, channels]. Raises DataError."""
        feature = self.feature(key)
        if feature.dtype == "image":
            with _explained(self.root / "data"):
                found = frames.table.column(key).to_pylist()
            for entry in found:
                if not isinstance(entry, dict) or not entry.get("bytes"):
                    raise DataError(f"{self.root}: feature {key!r}: a picture is not in the file")
                yield from_picture(entry["bytes"])
        elif feature.dtype == "video":
            entry = frames.entry
            try:
                number = int(entry[f"videos/{key}/chunk_index"]), int(entry[f"videos/{key}/file_index"])
                begin = float(entry[f"videos/{key}/from_timestamp"])
            except (KeyError, TypeError) as error:
                raise DataError(f"{self.root}: meta/episodes does not say where the video of {key!r} is") from error
            path = self.root / f"videos/{key}/chunk-{number[0]:03d}/file-{number[1]:03d}.mp4"
            grey = feature.shape and feature.shape[-1] == 1
            yield from read_video(path, begin, len(frames), self.info.fps, 1 if grey else 3)
        else:
            raise DataError(f"{self.root}: feature {key!r} is of {feature.dtype}, expected image or video")

    def _files(self, folder: str) -> list[Path]:
        found = sorted((self.root / folder).glob("chunk-*/file-*.parquet"))
        if not found:
            raise DataError(f"{self.root / folder} has no chunk-*/file-*.parquet: the dataset is not whole")
        return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What parsers of foreign bytes raise names the file."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
