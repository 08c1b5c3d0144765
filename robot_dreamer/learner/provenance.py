"""With what a number was made: code and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

import robot_dreamer


def provenance() -> dict[str, str]:
    """`code` (version, and commit where the package lies in a git checkout), `torch`, `machine`."""
    where = Path(__file__).parent
    git = ["git", "-C", str(where), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        commit = ""
    version = robot_dreamer.__version__
    return {
        "code": f"{version}, commit {commit}" if commit else version,
        "torch": torch.__version__,
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
