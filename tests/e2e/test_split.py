"""The whole split with its three real processes: a robot learns, crashes are survived, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_link_faults import free_address

from robot_dreamer.cli import main
from robot_dreamer.spec import ROBOTS_DIRECTORY, load_spec
from tests.waiting import until

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

QUICK = ["device=cpu", "train_ratio=0.2", "publish_every=2", "checkpoint_every=6"]  # the last two in seconds


def robot_file(logdir: Path) -> Path:
    """The cart-pole with short episodes: they are evaluated and filmed."""
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
    (logdir / "robot.yaml").write_text(text.replace("max_steps: 250", "max_steps: 80"))
    return logdir / "robot.yaml"


def start(logdir: Path, *arguments: str) -> subprocess.Popen[str]:
    options = ["--robot", str(robot_file(logdir)), "--preset", "nano", *(x for pair in QUICK for x in ("--set", pair))]
    options += ["--bind", free_address(), "--logdir", str(logdir)]  # the usual port may be another suite's soon
    command = [sys.executable, "-m", "robot_dreamer.cli", "train", *options, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes_of(logdir: Path) -> dict[int, str]:
    """Command lines of a run's living processes: each one has the log directory in its variable ROS_LOG_DIR."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                ours = f"ROS_LOG_DIR={logdir}".encode() in (folder / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if ours and line:
                found[int(folder.name)] = line
    return found


def pid_of(logdir: Path, part: str) -> int:
    return next(pid for pid, line in processes_of(logdir).items() if part in line and "/bin/sh" not in line)


def status(logdir: Path) -> dict[str, Any]:
    path = logdir / "status.json"
    found: dict[str, Any] = (
        json.loads(path.read_text()) if path.exists() else {"updates": 0, "env_steps": 0, "robots": []}
    )
    return found


def wait_for(condition: Callable[[], Any], what: str, run: subprocess.Popen[str], seconds: float = 150.0) -> None:
    """As `until`, while the run goes on."""

    def found() -> Any:
        if run.poll() is not None:
            pytest.fail(f"the run ended while waiting for {what}:\n{run.stdout.read() if run.stdout else ''}")
        return condition()

    until(found, what, seconds, every=0.2)


def on_board(logdir: Path) -> int:
    robots = status(logdir)["robots"]
    return int(robots[0]["figures"].get("bundle_version", -1)) if robots else -1


def stored(logdir: Path) -> list[tuple[str, int]]:
    """(boot, sequence) of all rows, in the order in which they were stored."""
    from robot_dreamer.link.store import ExperienceStore

    store = ExperienceStore(logdir / "experience.sqlite", load_spec(robot_file(logdir)))
    try:
        return [(row.boot, row.sequence) for _, row in store.read(0, 1_000_000)]
    finally:
        store.close()


def assert_gapless(rows: list[tuple[str, int]]) -> None:
    assert len(set(rows)) == len(rows), "a row is stored twice"
    for boot in {boot for boot, _ in rows}:
        sequence = [number for name, number in rows if name == boot]
        assert sequence == list(range(len(sequence))), f"boot {boot} has holes"


def test_a_run_survives_kills_loses_nothing_resumes_and_is_evaluated(tmp_path: Path) -> None:
    run = start(tmp_path, "--speed", "2")  # faster, robot and node would take the processors from those who start
    try:
        wait_for(lambda: on_board(tmp_path) >= 1 and (tmp_path / "checkpoints").exists(), "bundle on board", run)
        for victim in ("robot_dreamer.cli learn", "ros_nodes.policy_node", "sim.node"):
            before = status(tmp_path)["env_steps"]
            os.kill(pid_of(tmp_path, victim), signal.SIGKILL)
            wait_for(lambda: status(tmp_path)["env_steps"] > before + 80, f"experience after killing {victim}", run)  # noqa: B023
        version = on_board(tmp_path)
        wait_for(lambda: on_board(tmp_path) > version, "newer bundle after the crashes", run)
        assert status(tmp_path)["robots"][0]["figures"]["swaps"] >= 1
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130, output
    assert "run the same command again" in output
    assert not processes_of(tmp_path)
    rows = stored(tmp_path)
    assert len({boot for boot, _ in rows}) == 2  # the policy node was killed once
    assert_gapless(rows)

    updates, steps = status(tmp_path)["updates"], len(rows) + 400
    again = start(tmp_path, "--speed", "4", "--steps", str(steps), "--evaluate", "2")
    try:
        output, _ = again.communicate(timeout=300)  # it pays the updates that the first run owed
    finally:
        again.kill()
    assert again.returncode == 0, output
    final = status(tmp_path)
    assert final["phase"] == "finished" and final["updates"] > updates > 0 and final["env_steps"] >= steps
    robot = final["robots"][0]
    assert robot["figures"]["bundle_version"] >= version and not robot["rejected"] and not robot["dropped"]
    assert_gapless(stored(tmp_path))  # a busy learner's late answer lets rows come twice; they are stored once
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(evaluation["evaluation"]["returns"]) == len(evaluation["random"]["returns"]) == 2
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "evaluation.json" in output and "learning_curve.png" in output
    assert not processes_of(tmp_path)


def test_an_unknown_robot_or_preset_starts_nothing_and_lists_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, known in ((["--robot", "catpole"], "known: a1, a1_stand"), (["--preset", "huge"], "cpu_small")):
        assert main(["train", *wrong, "--logdir", str(tmp_path)]) == 2
        assert known in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
