"""The supervisor with small programs: order of ends, restarts, signals, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robot_dreamer.processes import Process
from robot_dreamer.processes.supervisor import Patience, Result, Supervisor
from tests.waiting import until

QUICK = Patience(restarts=2, window=60.0, pause=0.05, grace=10.0, mercy=10.0)
ROOT = str(Path(__file__).resolve().parents[2])

PROGRAMS = {
    "waits": """
        import os, pathlib, signal, sys, time
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
        while True: time.sleep(0.02)
    """,
    "stubborn": """
        import os, pathlib, signal, sys, time
        signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        pathlib.Path(sys.argv[1] + (".child" if child == 0 else "")).write_text(str(os.getpid()))
        while True: time.sleep(0.02)
    """,
    "saves": """
        import os, pathlib, signal, sys, time
        path = pathlib.Path(sys.argv[1])
        def save(*_):
            time.sleep(1.0)
            path.with_name("saved").touch()
            path.with_name("saving").unlink()
            sys.exit(0)
        signal.signal(signal.SIGINT, save)
        path.with_name("saving").touch()
        path.write_text(str(os.getpid()))
        while True: time.sleep(0.02)
    """,
    "ends": """
        import sys, time
        time.sleep(0.2)
        print("my last words", flush=True)
        sys.exit(int(sys.argv[1]))
    """,
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Supervisor]:
    for name, code in PROGRAMS.items():
        lines = [line[8:] for line in code.splitlines()]
        (tmp_path / f"{name}_program.py").write_text("\n".join(lines))

    def build(*rows: tuple[str, str], limits: Patience = QUICK, finishes: str = "", **more: Any) -> Supervisor:
        table = [
            Process(f"{kind}{i}", kind, (f"{kind}_program",), (argument,), finishes=kind == finishes)
            for i, (kind, argument) in enumerate(rows)
        ]
        return Supervisor(lambda: table, tmp_path, {"PYTHONPATH": str(tmp_path)}, limits, **more)

    return build


def run_in_thread(supervisor: Supervisor) -> tuple[threading.Thread, list[Result]]:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(supervisor.run()), daemon=True)  # so a failed test ends
    thread.start()
    return thread, results


def read_pid(path: Path) -> int:
    """The process id that a program writes when it is ready."""
    until(lambda: path.exists() and path.read_text() != "", f"{path.name}, which the program writes when it starts")
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but unreaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_death(pid: int) -> None:
    until(lambda: not is_alive(pid), f"the end of process {pid}, an orphan")


def test_end_of_the_finishing_program_ends_the_rest(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    result = make(("waits", str(tmp_path / "pid")), ("ends", "0"), finishes="ends").run()
    assert result.state == "finished"
    assert result.restarts == {"waits0": 0, "ends1": 0}
    written = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""  # it may end before it has written
    assert not written or not is_alive(int(written))


def test_stop_interrupts(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(("waits", str(tmp_path / "pid")))
    thread, results = run_in_thread(supervisor)
    pid = read_pid(tmp_path / "pid")
    until(lambda: supervisor.pids == {"waits0": pid}, "pids")  # the program may be quicker than its starter
    supervisor.stop()
    thread.join(30)
    assert results[0].state == "interrupted"
    assert not is_alive(pid)


def test_a_killed_program_is_started_again(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(("waits", str(tmp_path / "pid")))
    thread, results = run_in_thread(supervisor)
    first = read_pid(tmp_path / "pid")
    (tmp_path / "pid").unlink()
    os.kill(first, signal.SIGKILL)
    second = read_pid(tmp_path / "pid")
    assert second != first
    supervisor.stop()
    thread.join(30)
    assert results[0].restarts == {"waits0": 1}
    assert not is_alive(second)


def test_a_program_that_is_started_again_is_told_what_holds_by_then(make: object, tmp_path: Path) -> None:
    told = iter([tmp_path / "first", tmp_path / "second"])

    def table() -> list[Process]:
        return [Process("waits", "waits", ("waits_program",), (str(next(told)),))]

    supervisor = Supervisor(table, tmp_path, {"PYTHONPATH": str(tmp_path)}, QUICK)
    thread, results = run_in_thread(supervisor)
    os.kill(read_pid(tmp_path / "first"), signal.SIGKILL)
    read_pid(tmp_path / "second")
    supervisor.stop()
    thread.join(30)
    assert results[0].restarts == {"waits": 1}


def test_gives_up_with_the_last_words(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    result = make(("waits", str(tmp_path / "pid")), ("ends", "7")).run()
    assert result.state == "failed"
    assert "ends1 ended with exit status 7: giving up after 3 times" in result.message
    assert "| my last words" in result.message
    assert result.restarts["ends1"] == 2
    assert (tmp_path / "logs" / "ends1.log").read_text().count("my last words") == 3


def test_who_dies_again_and_again_without_progress_is_given_up(make: Callable[..., Supervisor]) -> None:
    done = iter((1, 1, 2, 2, 2))
    limits = Patience(restarts=2, window=0.001, pause=0.05)
    result = make(("ends", "7"), limits=limits, finishes="ends", progress=lambda: next(done)).run()
    assert result.state == "failed" and result.restarts == {"ends0": 4}
    assert "giving up after 3 times without progress in between" in result.message
    assert "| my last words" in result.message


def test_exit_zero_of_a_program_that_should_go_on_is_a_death(make: Callable[..., Supervisor]) -> None:
    result = make(("ends", "0")).run()
    assert result.state == "failed"
    assert result.restarts == {"ends0": 2}


def test_refused_arguments_are_not_tried_again(make: Callable[..., Supervisor]) -> None:
    result = make(("ends", "2"), finishes="ends").run()
    assert result.state == "failed"
    assert "can't work with what it was told" in result.message
    assert "my last words" in result.message
    assert result.restarts == {"ends0": 0}


def test_stubborn_programs_and_their_children_are_killed(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    path = tmp_path / "pid"
    supervisor = make(("stubborn", str(path)), limits=Patience(grace=0.2, mercy=0.2))
    thread, results = run_in_thread(supervisor)
    parent, child = read_pid(path), read_pid(tmp_path / "pid.child")
    supervisor.stop()
    thread.join(30)
    assert results[0].state == "interrupted"
    await_death(parent)
    await_death(child)


def test_second_request_does_not_wait(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    path = tmp_path / "pid"
    supervisor = make(("stubborn", str(path)), limits=Patience(grace=1000.0, mercy=0.2))
    thread, results = run_in_thread(supervisor)
    read_pid(path)
    supervisor.stop()
    supervisor.stop()
    thread.join(30)
    assert results and results[0].state == "interrupted"


@pytest.mark.parametrize(("said", "most", "saved"), [(True, 60.0, True), (True, 0.1, False), (False, 60.0, False)])
def test_who_says_that_it_saves_is_waited_for_to_a_limit(
    make: Callable[..., Supervisor], tmp_path: Path, said: bool, most: float, saved: bool
) -> None:
    limits = Patience(grace=0.3, mercy=0.1, saving=most)
    saving = (tmp_path / "saving").exists if said else lambda: False
    supervisor = make(("saves", str(tmp_path / "pid")), limits=limits, finishes="saves", saving=saving)
    thread, results = run_in_thread(supervisor)
    pid = read_pid(tmp_path / "pid")
    supervisor.stop()
    thread.join(30)
    assert results[0].state == "interrupted" and not is_alive(pid)
    assert (tmp_path / "saved").exists() is saved


SCRIPT = """
import sys
from pathlib import Path
from robot_dreamer.processes import Process
from robot_dreamer.processes.supervisor import Patience, Supervisor
folder = Path(sys.argv[1])
table = [
    Process("waits", "", ("waits_program",), (str(folder / "pid"),)),
    Process(sys.argv[2], "", (sys.argv[2] + "_program",), (str(folder / "other"),)),
]
result = Supervisor(lambda: table, folder, {"PYTHONPATH": str(folder)}, Patience(grace=1.0, mercy=0.5)).run()
sys.exit({"finished": 0, "interrupted": 130, "failed": 1}[result.state])
"""


def start_script(folder: Path, other: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(folder), other]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_programs(make: object, tmp_path: Path, number: signal.Signals) -> None:
    script = start_script(tmp_path, "waits")
    pids = [read_pid(tmp_path / "pid"), read_pid(tmp_path / "other")]
    script.send_signal(number)
    assert script.wait(30) == 130
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_kill_9_of_the_supervisor_leaves_no_orphan(make: object, tmp_path: Path) -> None:
    """Not even programs that ignore SIGINT and SIGTERM, or their children; the others may end in their own way."""
    script = start_script(tmp_path, "stubborn")
    pids = [read_pid(tmp_path / name) for name in ("pid", "other", "other.child")]
    script.kill()
    script.wait(30)
    for pid in pids:
        await_death(pid)


def test_a_killed_guard_is_replaced(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(("waits", str(tmp_path / "pid")))
    thread, results = run_in_thread(supervisor)
    read_pid(tmp_path / "pid")
    guard = supervisor._guard
    guard._popen.kill()
    until(lambda: supervisor._guard is not guard, "another guard")
    assert not supervisor._guard.dead
    supervisor.stop()
    thread.join(30)
    assert results[0].restarts == {"waits0": 0}
