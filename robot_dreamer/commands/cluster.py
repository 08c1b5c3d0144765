"""Runs on a Slurm cluster, by the library submitit: each is a job of its own.

Untried on a real cluster; the tests run the same jobs by submitit's executor for this machine.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ClusterRun:
    """A job, with what `sweep` asks of a process."""

    def __init__(self, job: Any) -> None:
        self.returncode: int | None = None
        self._job = job

    def poll(self) -> int | None:
        """Exit status of the command; 1 where the job itself failed; None while it waits or runs."""
        if self.returncode is None and self._job.done():
            self.returncode = 1 if self._job.exception() is not None else int(self._job.result())
        return self.returncode

    def terminate(self) -> None:
        """Cancel the job; the cluster ends it when it can."""
        self._job.cancel()

    def wait(self) -> None:
        """Nothing waits for a job that was cancelled."""


class Cluster:
    """Submits commands as jobs.

    Args:
      parameters: of submitit, KEY=VALUE: timeout_min=600, cpus_per_task=2, slurm_partition=gpu.
      folder: for submitit's own files; both this machine and the cluster's must see it.
      kind: slurm, or local: processes of this machine.

    Raises:
      ValueError: there is no Slurm here, or a parameter is none.
    """

    def __init__(self, parameters: Sequence[str], folder: Path, kind: str = "slurm") -> None:
        import submitit

        if kind == "slurm" and shutil.which("sbatch") is None:
            raise ValueError("--slurm: there is no sbatch here; run it where jobs are submitted from")
        self._executor = submitit.AutoExecutor(folder, cluster=kind)
        try:
            self._executor.update_parameters(**dict(map(_parsed, parameters)))
        except (NameError, AssertionError) as error:
            raise ValueError(f"--slurm: {error}") from error

    def start(self, command: Sequence[str], output: Path) -> ClusterRun:
        """Submit a command, whose output is appended to a file."""
        return ClusterRun(self._executor.submit(run_command, list(command), output))


def run_command(command: list[str], output: Path) -> int:
    """Run a command to its end, in the job; returns its exit status."""
    with output.open("ab") as log:
        return subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode


def _parsed(text: str) -> tuple[str, int | str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"--slurm {text}: expected KEY=VALUE, such as timeout_min=600")
    return name, int(value) if value.isdecimal() else value
