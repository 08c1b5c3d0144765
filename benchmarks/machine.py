"""What the numbers of a benchmark depend on: machine, its load, code, tools."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine(*tools: str) -> str:
    """One line: processor, cores, architecture; load of the last minute; commit; versions of `tools` (packages)."""
    names = (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x)
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    parts = [
        f"{next(names, '?')}, {os.cpu_count()} cores, {platform.machine()}",
        f"load {os.getloadavg()[0]:.1f}",
        f"commit {commit or 'unknown'}",
        *(f"{name} {version(name)}" for name in tools),
    ]
    return "; ".join(parts)
