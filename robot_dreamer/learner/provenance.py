"""With what a number was made: code and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

import robot_dreamer


def provenance() -> dict[str, str]:
    """`code` (version, and commit where the package is a git checkout), `torch`, `machine`."""
    commit = commit_of(Path(__file__))
    version = robot_dreamer.__version__
    return {
        "code": f"{version}, commit {commit}" if commit else version,
        "torch": torch.__version__,
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }


def commit_of(file: Path) -> str:
    """The commit of the git checkout that has a file; "" where none has. An environment that packages are installed in
    often lies inside of a project's checkout, whose commit says nothing of them.
    """
    if not _git(file, "ls-files", "--", file.name):
        return ""
    return _git(file, "describe", "--always", "--dirty", "--exclude", "*")


def _git(file: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", "-C", file.parent, *words], capture_output=True, text=True).stdout.strip()
    except OSError:  # no git here
        return ""


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
