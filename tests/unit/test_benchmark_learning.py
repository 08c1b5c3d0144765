"""benchmarks/learning.py: scores at a step, the settings that differ, the table and the picture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import learning
from benchmarks.normalised import normalised, over_tasks
from robot_dreamer.config import load_config

ROOT = Path(__file__).parents[2]
OFFICIAL = """method,task,step,mean,std,n_seeds
ppo,dmc_walk,10000,1.0,1.0,5
dreamerv3,dmc_walk,10000,60.0,7.0,5
dreamerv3,dmc_walk,20000,90.0,9.0,5
"""


def write_run(
    logdir: Path, task: str, seed: int, level: float, every: int = 1_000, preset: str = "dreamer_v3:1m:dmc_proprio"
) -> None:
    """Episodes until 10000 steps whose return is `level` until 7500 steps and 10 more afterwards."""
    logdir.mkdir(parents=True)
    lines = [f"ours,{task},{seed},{step},{level + 10 * (step > 7_500)}" for step in range(every, 10_001, every)]
    (logdir / "scores.csv").write_text("\n".join(["method,task,seed,step,score", *lines]) + "\n")
    config = load_config(preset, ["train_ratio=512", f"seed={seed}"]).to_dict()
    about = {"environment": "dmc:walk", "config": config, "code": "0.0, commit abc", "torch": "2", "machine": "a CPU"}
    (logdir / "run.json").write_text(json.dumps(about))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The program, called here."""

    def called(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["learning.py", *arguments])
        learning.main()

    return called


def test_ours_stand_beside_the_published_scores(tmp_path: Path) -> None:
    write_run(tmp_path / "runs/a", "dmc_walk", 0, 40.0)
    write_run(tmp_path / "runs/b", "dmc_walk", 1, 60.0)
    write_run(tmp_path / "runs/c", "dmc_run", 0, 5.0, every=1_002)
    (tmp_path / "official.csv").write_text(OFFICIAL)
    picture = tmp_path / "learning.png"
    command = [sys.executable, str(ROOT / "benchmarks/learning.py"), str(tmp_path / "runs"), "--output", str(picture)]
    command += ["--official", str(tmp_path / "official.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (
        "| dmc_walk | 10000 | 60 ± 10 | 2 | 60 ± 7 | 5 | 0.060, 0.060 |" in done.stdout
    )  # only episodes from 7500 steps on
    assert "| dmc_walk | 20000" not in done.stdout
    assert "| dmc_run | 10000" in done.stdout  # its next episode would have ended later
    assert "model.deter: ours 512, published 2048" in done.stdout
    assert "action_repeat: ours 1, published 2" in done.stdout
    assert "train_ratio: ours" not in done.stdout
    # 0.050, 0.070 and 0.015: the middle half of three is the middle one
    assert "interquartile mean at 10000 steps: 0.0" in done.stdout
    assert "(a task of one seed, so no interval; 2 tasks, 3 runs)" in done.stdout
    assert done.stdout.count("settings that differ") == 1  # told once for all seeds and tasks
    assert "commit abc" in done.stdout and "a CPU" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_folders_without_scores_are_named(
    tmp_path: Path, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(str(tmp_path))
    assert "no run: give log directories" in capsys.readouterr().err
    (tmp_path / "scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"scores\.csv: expected columns .*missing"):
        run(str(tmp_path))


def test_scores_are_normalised_as_the_papers_do() -> None:
    assert normalised("atari_pong", 14.6) == 1.0 and normalised("atari_pong", -20.7) == 0.0
    assert normalised("dmc_walker_walk", 500.0) == 0.5 and normalised("gym_cartpole", 5.0) is None
    middle, interval = over_tasks({"a": [0.0, 0.2], "b": [0.8, 1.0]})
    assert middle == 0.5 and interval and 0.0 <= interval[0] < 0.5 < interval[1] <= 1.0
    assert over_tasks({"a": [0.3, 0.4], "b": [0.5]}) == (pytest.approx(0.4), None)  # how far two seeds of b are apart?


def test_runs_of_several_settings_are_no_seeds_of_one(
    tmp_path: Path, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs/a", "dmc_walk", 0, 40.0)
    write_run(tmp_path / "runs/b", "dmc_walk", 0, 60.0, preset="cpu_small")
    run(str(tmp_path / "runs"), "--output", str(tmp_path / "learning.png"))
    shown = capsys.readouterr().out
    for name, mean in (("cpu_small train_ratio=512", 70), ("dreamer_v3:1m:dmc_proprio train_ratio=512", 50)):
        assert f"| dmc_walk, {name} | 10000 | {mean} | 1 |" in shown
    assert shown.count("1 tasks, 1 runs") == 2
    write_run(tmp_path / "runs/c", "dmc_walk", 0, 60.0)
    with pytest.raises(ValueError, match="dmc_walk: 2 runs of dreamer_v3:1m:dmc_proprio train_ratio=512 have seed 0"):
        run(str(tmp_path / "runs"), "--output", str(tmp_path / "learning.png"))


def test_an_interrupt_lets_the_run_save(tmp_path: Path) -> None:
    """subprocess.run would kill it a quarter of a second later."""
    holds = "import signal, sys, time; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); print(flush=True)"
    saves = "signal.sigwait({signal.SIGINT}); time.sleep(1); open(sys.argv[1], 'w')"  # however early it is sent
    command = [sys.executable, "-c", f"{holds}; {saves}", str(tmp_path / "saved")]
    hears = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"  # behind `&` too
    starter = f"{hears}; sys.path.insert(0, {str(ROOT)!r}); from benchmarks.learning import train; train({command})"
    program = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, start_new_session=True)
    assert program.stdout and program.stdout.readline()  # it listens
    os.killpg(program.pid, signal.SIGINT)  # to all programs of a terminal
    assert program.wait(60) != 0 and (tmp_path / "saved").exists()
