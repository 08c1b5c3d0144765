"""Memory: keeping freed blocks, and saying what to lower where it runs out."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from robot_dreamer.allocator import MMAP_THRESHOLD, TRIM_THRESHOLD, mallopt
from robot_dreamer.config import Config

_log = logging.getLogger(__name__)


def keep_freed_memory() -> bool:
    """Tell the C library of this process to reuse large blocks; call it once, early, in a process that trains on a CPU.

    By default glibc maps blocks above 128 KiB freshly from the kernel, which then clears each page again: intermediate
    results of an update are of that size, and an update becomes about a quarter faster without it. Memory of the
    process stays at its peak afterwards. Returns False where the C library has no such option; nothing changes then.
    """
    if not sys.platform.startswith("linux"):
        return False
    return mallopt(MMAP_THRESHOLD, 1 << 30) and mallopt(TRIM_THRESHOLD, 2**31 - 1)


def machine_memory() -> int:
    """Bytes of physical memory of this machine, or of this container if it is limited."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(text)) if text.isdecimal() else physical


def affordable_rows(rows: int, each: int) -> int:
    """Capacity of the replay in rows of `each` bytes: as given if that is at most 90 % of the machine's memory, else
    80 % of it."""
    there = machine_memory()
    if rows * each > 0.9 * there:
        text = "a replay of %d rows would take %.1f GB and this machine has %.1f GB: older rows leave earlier"
        _log.warning(text, rows, rows * each / 1e9, there / 1e9)
        rows = int(0.8 * there / each)
        rows -= rows % 10 ** max(0, len(str(rows)) - 2)  # the same again if the memory is a little less tomorrow
    _log.info("replay: at most %d rows, %.1f GB when full", rows, rows * each / 1e9)
    return rows


class OutOfMemory(RuntimeError):
    """Memory ran out; the message says for what, and which setting to lower."""


@contextmanager
def fitting(advice: str) -> Iterator[None]:
    """Raise OutOfMemory with this advice where memory runs out inside, on a GPU or the machine itself."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise OutOfMemory(f"out of memory {advice} ({first_line or type(error).__name__})") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    # Only the GPU's allocator has an exception class of its own; the CPU's and the libraries' say it in words.
    words = ("can't allocate memory", "out of memory", "alloc_failed", "storage size calculation overflowed")
    known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    return known or any(text in str(error).lower() for text in words)


def update_advice(config: Config, parameters: int, device: torch.device) -> str:
    """What to lower if an update does not fit: the model if it fills half of the memory, the batch otherwise."""
    cuda = device.type == "cuda"
    there = torch.cuda.get_device_properties(device).total_memory if cuda else machine_memory()
    fixed = 16 * parameters  # parameters, gradient and two moments in float32
    rows = f"of batch_size {config.batch_size} x batch_length {config.batch_length} rows"
    text = f"in an update {rows} on {device} with a model of {parameters / 1e6:.1f} M parameters "
    if fixed > there / 2:
        return text + f"that alone take {fixed / 1e9:.1f} of {there / 1e9:.1f} GB: choose a smaller model size"
    if config.batch_size > 1:
        return text + f"(memory: {there / 1e9:.1f} GB): lower batch_size, for example to {config.batch_size // 2}"
    return text + f"(memory: {there / 1e9:.1f} GB): lower batch_length, or choose a smaller model size"
