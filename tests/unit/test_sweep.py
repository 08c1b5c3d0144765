"""Several seeds by one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_dreamer.cli import main
from robot_dreamer.commands import sweep
from robot_dreamer.commands.cluster import Cluster
from robot_dreamer.commands.sweep import Outcome, summary


def outcomes(*values: float | None) -> list[Outcome]:
    return [Outcome(i, Path(f"seed-{i}"), int(value is None), value, "evaluation") for i, value in enumerate(values)]


def test_the_seeds_have_an_interquartile_mean_with_its_interval() -> None:
    told = summary(outcomes(*[float(x) for x in range(8)]))
    assert told["interquartile_mean"] == 3.5 and (told["least"], told["most"], told["mean"]) == (0.0, 7.0, 3.5)
    low, high = told["interval"]
    assert 0.5 < low < 2.5 and 4.5 < high < 6.5
    assert summary(outcomes(5.0, 5.0, 5.0))["interval"] == [5.0, 5.0]


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    assert summary(outcomes(5.0))["interval"] is None
    told = summary(outcomes(None, None))
    assert told["interquartile_mean"] is None and told["failed"] == [0, 1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected a training command"),
        (["evaluate"], "expected a training command"),
        (["train", "--minutes", "1", "--seed", "3"], "--seed is set for each seed"),
        (["train", "--minutes", "1", "--logdir=x"], "--logdir is set for each seed"),
        (["train", "--env", "dmc:walker_walk"], "without --minutes or --steps never ends"),
        (["train", "--minutes", "1", "--preset", "cpu_smal"], "unknown preset 'cpu_smal'"),
        (["train", "--env", "x", "--steps", "9", "--evaluate", "0"], "--evaluate: only with --robot"),
    ],
)
def test_what_is_no_training_command_is_named(words: list[str], expected: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["sweep", *words]) == 2
    assert expected in capsys.readouterr().err


def test_an_abbreviation_is_no_way_round(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", "train", "--minutes", "1", "--see", "9"])
    assert "unrecognized arguments: --see" in capsys.readouterr().err


def test_seeds_run_in_folders_of_their_own_and_a_failed_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    program = tmp_path / "python"
    program.write_text(f"""#!{sys.executable}
import json, sys
from pathlib import Path
words = sys.argv[1:]
assert words[:8] == ["-m", "robot_dreamer.cli", "train", "--env", "x", "--steps", "9", "--seed"], words
seed, logdir = int(words[8]), Path(words[10])
print("seed", seed)
if seed == 4:
    raise SystemExit(2)
if seed == 3:
    (logdir / "evaluation.json").write_text(json.dumps({{"evaluation": {{"mean": 30.0}}}}))
entry = dict(env_step=1, robot="r", length=1, policy_version=0, time=0.0)
(logdir / "episodes.jsonl").write_text("".join(json.dumps(entry | {{"return": float(i)}}) + "\\n" for i in range(12)))
""")
    program.chmod(0o755)
    monkeypatch.setattr(sweep.sys, "executable", str(program))
    place = tmp_path / "sweep"
    words = ["--seeds", "3", "--first", "2", "--logdir", str(place), "train", "--env", "x", "--steps", "9"]
    assert main(["sweep", "--jobs", "2", *words]) == 1
    told = json.loads((place / "sweep.json").read_text())
    assert told["values"] == {"2": 6.5, "3": 30.0, "4": None} and told["failed"] == [4]
    shown = capsys.readouterr().out
    assert "failed with status 2" in shown and "interquartile mean 18.25" in shown
    assert (place / "seed-2/output.log").read_text() == "seed 2\n"
    more = ["--seeds", "1", "--first", "5", *words[4:]]
    assert main(["sweep", *more]) == 0  # all of this one went well
    told = json.loads((place / "sweep.json").read_text())
    assert told["values"] == {"2": 6.5, "3": 30.0, "4": None, "5": 6.5} and told["failed"] == [4]
    assert "an earlier sweep" in capsys.readouterr().out
    assert main(["sweep", *more, "--minutes", "1"]) == 1  # the program knows no --minutes: 5 fails
    assert json.loads((place / "sweep.json").read_text())["values"] == {"5": None}
    (place / "sweep.json").write_text("{")
    assert main(["sweep", *more]) == 2 and "sweep.json cannot be read" in capsys.readouterr().err


def test_a_folder_keeps_the_runs_of_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sweep.sys, "executable", "/bin/true")
    words = ["sweep", "--seeds", "1", "--logdir", str(tmp_path), "train", "--env", "x", "--steps"]
    assert main([*words, "9"]) == 0 and main([*words, "90", "--minutes", "5"]) == 0
    assert main([*words, "90", "--set", "batch_size=4"]) == 2
    told = capsys.readouterr().err
    assert "has the runs of another command: train --env x --steps 90 --minutes 5; choose another --logdir" in told
    assert "no more than --minutes, --steps, --evaluate" in told


RUN = """#!{python}
import signal, sys, time
from pathlib import Path

place = Path(sys.argv[-1])

def hear(number, _):
    with (place / "heard").open("a") as file:
        print(signal.Signals(number).name, file=file)
    time.sleep(0.5)  # it saves, and hears whatever else comes
    sys.exit(0)

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, hear)
(place / "ready").touch()
time.sleep(60)
"""
SWEEP = """
import signal, sys
signal.signal(signal.SIGINT, {interrupt})
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
from robot_dreamer.cli import main
sys.executable = {program!r}
sys.exit(main(["sweep", "--seeds", "1", "--logdir", {place!r}, "train", "--env", "x", "--steps", "9"]))
"""


@pytest.mark.parametrize(
    ("interrupt", "number"),
    [
        ("signal.default_int_handler", signal.SIGINT),
        ("signal.default_int_handler", signal.SIGHUP),
        ("signal.SIG_IGN", signal.SIGTERM),  # as behind `&` in a script
    ],
)
def test_a_stopped_sweep_ends_its_runs_with_one_signal(tmp_path: Path, interrupt: str, number: int) -> None:
    program, place = tmp_path / "python", tmp_path / "sweep"
    program.write_text(RUN.format(python=sys.executable))
    program.chmod(0o755)
    script = SWEEP.format(interrupt=interrupt, program=str(program), place=str(place))
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    deadline = time.monotonic() + 60
    while not (place / "seed-0/ready").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)  # to all programs of a terminal
    assert process.wait(30) != 0
    assert (place / "seed-0/heard").read_text() == "SIGTERM\n"


def test_a_run_as_a_job_of_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    cluster = Cluster(["timeout_min=1"], tmp_path / "slurm", kind="local")
    command = [sys.executable, "-c", "import sys; print('in a job'); sys.exit(3)"]
    job = cluster.start(command, tmp_path / "output.log")
    deadline = time.monotonic() + 60
    while job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job.returncode == 3 and (tmp_path / "output.log").read_text() == "in a job\n"
    ended = cluster.start([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "output.log")
    ended.terminate()
    while ended.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended.returncode == 1
    for wrong in ("timeout", "wall_clock=3"):
        with pytest.raises(ValueError, match="--slurm"):
            Cluster([wrong], tmp_path / "slurm", kind="local")


def test_jobs_are_not_for_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["--logdir", str(tmp_path / "sweep"), "train", "--env", "x", "--steps", "9"]
    assert main(["sweep", "--slurm", "timeout_min=1", "--jobs", "1", *words]) == 2
    assert "--jobs 1: not with --slurm" in capsys.readouterr().err


def test_a_machine_without_slurm_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    words = ["sweep", "--slurm", "timeout_min=1", "--logdir", str(tmp_path), "train", "--env", "x", "--steps", "9"]
    assert main(words) == 2 and "there is no sbatch here" in capsys.readouterr().err
