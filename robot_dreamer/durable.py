"""Files: what must survive a power cut, and whether they are what they were."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from glob import escape
from pathlib import Path
from typing import BinaryIO

_ABANDONED = 60.0  # seconds since the last byte


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of entries (new files, renames), is on disk. Raises OSError.

    Some file systems cannot do that for a folder, such as the mounted shares of Windows machines and of virtual ones:
    what is renamed there lasts as soon as they see to it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path, lasting: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """An open file that takes the place of `path` at the end: whoever reads meets the old content or the new one.

    Args:
      lasting: also after a crash of the machine, and then it stays the new one; it waits for the disk.
      mode: who may do what with it, as far as the umask lets them; from its first byte on.

    Raises OSError; the old file is untouched then, as it is by whatever is raised inside.
    """
    _remove_unfinished(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb", opener=partial(os.open, mode=mode)) as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if lasting:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes, lasting: bool = True, mode: int = 0o666) -> None:
    """Write a file at once, as `replacing` does."""
    with replacing(path, lasting, mode) as file:
        file.write(content)


def unfinished(folder: Path, pattern: str) -> Iterator[Path]:
    """What was to replace the files whose names match, and has not: being written, or left by a killed process."""
    return folder.glob(f".{pattern}.*.tmp")


def _remove_unfinished(path: Path) -> None:
    """What a process that was killed has left of its own attempts to replace a file."""
    for leftover in unfinished(path.parent, escape(path.name)):
        with suppress(FileNotFoundError):  # it has become the file meanwhile
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                leftover.unlink()


def sha256_of(path: Path) -> str:
    """Of a file, hex. Raises OSError."""
    with path.open("rb") as file:
        return sha256_of_rest(file)


def sha256_of_rest(file: BinaryIO) -> str:
    """Of an open file from its position on, hex. Raises OSError."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
