"""Files: what must survive a power cut, and whether they are what they were."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of entries (new files, renames), is on disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file all or nothing: whoever reads meets the old content or the new one, also after a crash.

    Raises OSError; the old file is untouched then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
