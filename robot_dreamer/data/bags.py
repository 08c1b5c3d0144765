"""Bags through the library rosbags, which needs no ROS: rosbag2 folders and single MCAP files, read and written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robot_dreamer.data.errors import DataError

try:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Nodetype
    from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
    from rosbags.rosbag2.enums import CompressionFormat
    from rosbags.typesys import Stores, get_typestore
except ModuleNotFoundError as missing:
    raise DataError(f"bags need the package rosbags ({missing}): pip install 'robot_dreamer[data]'") from missing

Format = Literal["mcap", "rosbag2"]
TYPES = get_typestore(Stores.ROS2_HUMBLE)  # the common messages have not changed since


def message_type(name: str) -> Any:
    """Class of a ROS 2 message such as "sensor_msgs/msg/Imu"."""
    return TYPES.types[name]


def new_message(name: str) -> Any:
    """An empty message of a type: 0, "" and nothing everywhere, as ROS 2's own classes begin."""
    return message_type(name)(**{field: _empty(*kind) for field, kind in TYPES.fielddefs[name][1]})


def _empty(node: Nodetype, detail: Any) -> Any:
    if node is Nodetype.NAME:
        return new_message(detail)
    if node is Nodetype.BASE:
        return {"string": "", "bool": False}.get(detail[0], 0)
    (kind, (name, *_)), length = detail  # of the elements; an ARRAY always has them all
    if kind is Nodetype.BASE and name != "string":
        return np.zeros(length if node is Nodetype.ARRAY else 0, name)
    return []


class BagWriter:
    """Writes messages into an open bag; see `new_bag`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def write(self, topic: str, kind: str, time: int, message: Any) -> None:
        """Add a message of type `kind` to a topic. time: ns, not negative."""
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connections[topic] = self._writer.add_connection(topic, kind, typestore=TYPES)
        self._writer.write(connection, time, TYPES.serialize_cdr(message, kind))
        self.counts[topic] = self.counts.get(topic, 0) + 1


@contextmanager
def new_bag(output: Path, form: Format) -> Iterator[BagWriter]:
    """A bag at `output`: "mcap" is one file, "rosbag2" a folder as `ros2 bag` makes it, with SQLite storage.

    It appears under its name only when it is whole. Raises DataError if something is there already.
    """
    if output.exists():
        raise DataError(f"{output} is there already; choose another name or delete it")
    if form == "rosbag2":
        _require_plain(output)
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by an export that was cut
    part.mkdir(parents=True)
    plugin = StoragePlugin.MCAP if form == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(part / output.stem, version=8, storage_plugin=plugin)
    if form == "mcap":
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    try:
        with writer:
            yield BagWriter(writer)
        made = part / output.stem
        (made / f"{output.stem}.mcap" if form == "mcap" else made).rename(output)
    finally:
        shutil.rmtree(part)


def _require_plain(path: Path) -> None:
    """Raise DataError for a path that the rosbags library would take for another: it makes an address of it."""
    if odd := sorted(set("#?%") & set(str(path.absolute()))):
        raise DataError(
            f"{path}: a bag in SQLite cannot lie where a name has {' or '.join(odd)}; choose another, or mcap"
        )


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Open a rosbag2 folder, or one .mcap or .db3 file. Raises DataError if it cannot be read."""
    if not path.exists():
        raise DataError(f"{path} is not there")
    if path.suffix == ".db3" or any(path.glob("*.db3")):
        _require_plain(path)
    with _explained(path):
        reader = AnyReader([path], default_typestore=TYPES)
        reader.open()
    try:
        yield reader
    finally:
        reader.close()


def messages(reader: AnyReader, connections: list[Any]) -> Iterator[tuple[str, int, bytes, str]]:
    """(topic, receive time in ns, CDR bytes, type) in order of time. Raises DataError for a damaged bag."""
    found = reader.messages(connections) if connections else iter(())
    while True:
        with _explained(Path(str(reader.paths[0]))):
            entry = next(found, None)
        if entry is None:
            return
        connection, time, data = entry
        yield connection.topic, time, data, connection.msgtype


def decode(reader: AnyReader, topic: str, data: bytes, kind: str) -> Any:
    """A message object with the attributes that ROS 2 gives it. Raises DataError."""
    try:
        return reader.deserialize(data, kind)
    except Exception as error:  # of bytes from elsewhere: see `_explained`
        raise DataError(f"{reader.paths[0]}: a message on {topic} is not a {kind}: {_told(error)}") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever a parser of foreign bytes raises, such as MemoryError for a length that it believed, names the file."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        advice = "a recording that was killed is mended by `ros2 bag reindex` (folder) or `mcap recover` (file)"
        raise DataError(f"{path} cannot be read as a bag: {_told(error)} ({advice})") from error


def _told(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it claims a length that does not fit into the memory"
    return str(error) or type(error).__name__
