"""Starts the programs of the process table, watches them, and ends them all, whatever happens.

Each program is the leader of a process group and writes to a log file of its own. One that dies is started again, a few
times; one that refuses its arguments is not. If the supervisor itself is killed, the orphan guard ends the programs.
POSIX only.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from robot_dreamer.endings import ended_by
from robot_dreamer.processes import orphan_guard
from robot_dreamer.processes.table import Process

_log = logging.getLogger(__name__)
USAGE_ERROR = 2  # exit status of a program that can't work with its arguments
_POLL = 0.1  # s between two looks at the programs
_LAST_WAIT = 10.0  # s after SIGKILL
_TAIL_LINES = 15
# A shell announces itself to the orphan guard before it becomes the program: there is no moment in which a killed
# supervisor leaves a program that the guard does not know.
_ANNOUNCE = 'echo $$ >&0; exec "$@" </dev/null'


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
      state: finished: the program that ends the run did so with status 0; interrupted: by a signal or stop();
        failed: a program can't be kept running.
      message: for people; of a failure with the program's last lines.
      restarts: how often each program was started again.
    """

    state: Literal["finished", "interrupted", "failed"]
    message: str
    restarts: Mapping[str, int]


@dataclass(frozen=True)
class Patience:
    """How patient the supervisor is; all in seconds but `restarts`."""

    restarts: int = 5  # of one program within `window`, or without progress; one more death ends the run
    window: float = 120.0
    pause: float = 1.0  # before a program is started again
    grace: float = 20.0  # after SIGINT, for checkpoints and spools
    mercy: float = 5.0  # after SIGTERM
    saving: float = 600.0  # after SIGINT at most, where a program says that it is saving


@dataclass
class _Running:
    process: Process
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    due: float = 0.0  # when to start it (again), monotonic s
    deaths: deque[float] = field(default_factory=deque)
    done: object = None  # of the program that ends the run, when it died last
    in_vain: int = 0  # deaths since it has done anything
    restarts: int = 0


class Supervisor:
    """Runs a process table.

    Args:
      table: the programs, started in this order; asked again when one is started again, whose seed is another by then.
      logdir: log files are written to logdir/logs/<name>.log, after what is in them.
      environment: variables for the programs, beside this process's own.
      limits: patience.
      saving: whether the program that ends the run says that it is saving: it is waited for.
      progress: what the program that ends the run has done so far, told by something that changes with it. One that
        dies again and again without any is given up, however long each time takes; default: there always is some.
    """

    def __init__(
        self,
        table: Callable[[], Sequence[Process]],
        logdir: Path,
        environment: Mapping[str, str] | None = None,
        limits: Patience | None = None,
        saving: Callable[[], bool] = lambda: False,
        progress: Callable[[], object] = object,
    ) -> None:
        logs = logdir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._table = table
        self._programs = [_Running(p, logs / f"{p.name}.log") for p in table()]
        # ROS 2 keeps a log of its own; unbuffered, so that a crash does not swallow the last lines.
        ours = {"PYTHONUNBUFFERED": "1", "ROS_LOG_DIR": str(logs / "ros"), "RCUTILS_COLORIZED_OUTPUT": "0"}
        self._environment = {**os.environ, **ours, **(environment or {})}
        self._limits = limits or Patience()
        self._saving, self._progress = saving, progress
        self._stop = threading.Event()
        self._hurry = False

    def stop(self) -> None:
        """Ask for the end; from any thread or signal handler. The second time is more urgent."""
        self._hurry = self._stop.is_set()
        self._stop.set()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run."""
        return {p.process.name: p.popen.pid for p in self._programs if p.popen is not None}

    def run(self) -> Result:
        """Run until the end; no program is left afterwards. In the main thread SIGINT and SIGTERM mean stop()."""
        with ended_by(lambda *_: self.stop()):
            self._guard = _Guard(self._limits)
            try:
                state, message = self._watch()
            finally:
                self._end_all()
                self._guard.close()
        return Result(state, message, {p.process.name: p.restarts for p in self._programs})

    def _watch(self) -> tuple[Literal["finished", "interrupted", "failed"], str]:
        while not self._stop.is_set():
            if self._guard.dead:
                _log.warning("the orphan guard died; starting another")
                self._guard.close()
                self._guard = _Guard(self._limits, self.pids.values())
            for program in self._programs:
                if program.popen is None:
                    if time.monotonic() >= program.due:
                        self._start(program)
                    continue
                status = program.popen.poll()
                if status is None:
                    continue
                self._forget(program)
                if program.process.finishes and status == 0:
                    return "finished", f"{program.process.name} has finished"
                verdict = self._judge(program, status)
                if verdict:
                    return "failed", verdict
            self._stop.wait(_POLL)
        return "interrupted", "stopped on request"

    def _start(self, program: _Running) -> None:
        command = program.process.command()
        with program.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            program.popen = subprocess.Popen(
                ["/bin/sh", "-c", _ANNOUNCE, program.process.name, *command],
                stdin=self._guard.pipe,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        _log.info("started %s (process %d, log %s)", program.process.name, program.popen.pid, program.log)

    def _forget(self, program: _Running) -> None:
        """After the end of a program: end what it may have started itself, and tell the guard."""
        assert program.popen is not None
        orphan_guard.signal_group(program.popen.pid, signal.SIGKILL)
        self._guard.tell(-program.popen.pid)
        program.popen = None

    def _judge(self, program: _Running, status: int) -> str:
        """A program died unexpectedly: plan its restart, or return why the run must end."""
        name, now, limits = program.process.name, time.monotonic(), self._limits
        how = (
            f"{name} was ended by {_signal_name(-status)}" if status < 0 else f"{name} ended with exit status {status}"
        )
        details = f"its last lines ({program.log}):\n{_tail(program.log)}"
        if status == USAGE_ERROR:
            return f"{how}: it can't work with what it was told; {details}"
        program.deaths.append(now)
        while now - program.deaths[0] > limits.window:
            program.deaths.popleft()
        if len(program.deaths) > limits.restarts:
            return f"{how}: giving up after {len(program.deaths)} times within {limits.window:g} s; {details}"
        if program.process.finishes:
            done, before = self._progress(), program.done
            program.done, program.in_vain = done, program.in_vain + 1 if done == before else 1
            if program.in_vain > limits.restarts:
                return f"{how}: giving up after {program.in_vain} times without progress in between; {details}"
        program.restarts += 1
        program.process = next(process for process in self._table() if process.name == name)
        program.due = now + limits.pause
        _log.warning("%s; starting it again in %g s; %s", how, limits.pause, details)
        return ""

    def _end_all(self) -> None:
        """SIGINT, later SIGTERM, then SIGKILL; a second request to stop skips the waiting."""
        running = [p for p in self._programs if p.popen is not None]
        stages = (
            (signal.SIGINT, self._limits.grace),
            (signal.SIGTERM, self._limits.mercy),
            (signal.SIGKILL, _LAST_WAIT),
        )
        for number, patience in stages:
            if running and number != signal.SIGINT:
                names = ", ".join(p.process.name for p in running)
                _log.warning("still running: %s; sending %s", names, number.name)
            for program in running:
                assert program.popen is not None
                orphan_guard.signal_group(program.popen.pid, number)
            began, deadline, told = time.monotonic(), time.monotonic() + patience, False
            while running:
                for program in list(running):
                    if program.popen is not None and program.popen.poll() is not None:
                        self._forget(program)
                        running.remove(program)
                now = time.monotonic()
                if number == signal.SIGINT and now - began < self._limits.saving and self._saves(running):
                    deadline = now + patience
                    if not told:
                        _log.info("waiting for what a program saves; a second request to stop does not")
                    told = True
                if now > deadline or (self._hurry and number != signal.SIGKILL):
                    self._hurry = False
                    break
                time.sleep(_POLL / 5)
        for program in running:
            _log.error("%s does not die even of SIGKILL: the kernel holds it", program.process.name)

    def _saves(self, running: Sequence[_Running]) -> bool:
        return any(program.process.finishes for program in running) and self._saving()


class _Guard:
    """The orphan guard: a process that holds the other end of a pipe; see orphan_guard.py.

    Args:
      limits: patience.
      groups: process groups that run already.
    """

    def __init__(self, limits: Patience, groups: Iterable[int] = ()) -> None:
        reader, self.pipe = os.pipe()
        # -I -S: it needs nothing that is installed, and starts at once.
        command = [sys.executable, "-I", "-S", orphan_guard.__file__, str(limits.grace), str(limits.mercy)]
        self._popen = subprocess.Popen(command, stdin=reader, stdout=subprocess.DEVNULL, start_new_session=True)
        os.close(reader)
        for group in groups:
            self.tell(group)

    @property
    def dead(self) -> bool:
        return self._popen.poll() is not None

    def tell(self, line: int) -> None:
        """N: a group began; -N: it has ended. To a dead guard it is said again by the next one."""
        with suppress(BrokenPipeError):
            os.write(self.pipe, f"{line}\n".encode())

    def close(self) -> None:
        os.close(self.pipe)
        self._popen.wait(timeout=60)  # at once, unless programs are left for it to end


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path) -> str:
    """The last lines of a log file, indented."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(f"  | {line}" for line in lines)
