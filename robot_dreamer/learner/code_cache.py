"""Where compiled code is kept between runs: a folder for each machine and version, so that none runs another's."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path

import torch

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # PyTorch's own; a folder that it names is the user's, and is left alone
_IDENTITY = "identity"  # a file of a random token
_log = logging.getLogger(__name__)


@cache
def code_cache() -> Path:
    """The folder, told to PyTorch by its environment variable; of this user alone, because what lies there is executed.

    PyTorch itself tells one code from another by its graph, shapes and settings. Where the folder cannot be written
    one that lasts as long as this process takes its place, which is said.
    """
    if given := os.environ.get(_VARIABLE):
        return Path(given)
    folder = _home() / machine_key()
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        folder = Path(_until_the_end().name)
        _log.warning("compiled code cannot be kept (%s): it is made anew at each start", error)
    os.environ[_VARIABLE] = str(folder)
    return folder


def is_own(folder: Path) -> bool:
    """Whether the folder is one that `code_cache` chose, and may be deleted."""
    return folder.parent == _home()


def identity(folder: Path) -> str:
    """Tells what is there from what `begin_anew` puts in its place; empty as long as it never did."""
    file = folder / _IDENTITY
    return file.read_text() if file.is_file() else ""


def begin_anew(folder: Path) -> None:
    """Delete what is there: it may be damaged. Who began with it finds another `identity`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(0o700, parents=True, exist_ok=True)
    (folder / _IDENTITY).write_text(uuid.uuid4().hex)


def machine_key() -> str:
    """What code that was compiled for this machine depends on, as 16 hexadecimal digits."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.is_file() else [platform.processor()]
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    text = "\n".join([torch.__version__, platform.python_version(), platform.machine(), *kind])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _home() -> Path:
    return Path.home() / ".cache" / "robot_dreamer" / "compiled"


@cache
def _until_the_end() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="robot_dreamer-compiled-")
