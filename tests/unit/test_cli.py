"""The command line: what users get for wrong options."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.commands.options import preset_for
from robot_dreamer.config import load_config
from robot_dreamer.link.status import RobotStatus
from robot_dreamer.run_status import STATUS_FILE
from tests.unit.test_report import status as run_status


def test_unknown_preset_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--preset", "huge", "--logdir", str(tmp_path)]) == 2
    assert "unknown preset 'huge'" in (error := capsys.readouterr().err) and "cpu_small" in error


def test_unknown_robot_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--robot", "catpole", "--logdir", str(tmp_path)]) == 2
    assert "unknown robot 'catpole'; known: a1, a1_stand" in capsys.readouterr().err


def test_a_wrong_override_names_the_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--preset", "nano", "--set", "model.deter=wide", "--logdir", str(tmp_path)]) == 2
    assert "model.deter: expected a whole number, found 'wide'" in capsys.readouterr().err


def test_a_port_in_use_is_named_with_the_flag_that_changes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        assert main(["learn", "--preset", "nano", "--bind", address, "--logdir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert address in error and "--bind" in error


def test_an_open_address_without_keys_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--preset", "nano", "--bind", "tcp://0.0.0.0:5999", "--logdir", str(tmp_path)]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_link_status_without_a_learner_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link-status", "--logdir", str(tmp_path)]) == 2
    assert "no learner has run" in capsys.readouterr().err


def test_list_shows_robots_and_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    assert "cartpole" in output and "dreamer_v3" in output
    assert "planet                   PlaNet (Hafner et al. 2019) with the constants of its published code" in output
    assert "batch_size=16 " in output and "Sequences per update" in output and "planner.iterations" not in output


def test_list_shows_the_fields_of_a_preset_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "fields", "--preset", "planet:cpu"]) == 0
    output = capsys.readouterr().out
    assert "planner.candidates=200 " in output and "loss_scales.policy" not in output and "cartpole" not in output
    assert all(len(line.split(maxsplit=1)) == 2 for line in output.splitlines()), "a field without a word about it"


def test_an_error_that_no_user_made_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("robot_dreamer.commands.list.load_spec", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["list"])


def test_link_status_shows_each_robot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = RobotStatus(
        robot="arm1",
        boot="b",
        connected=True,
        last_seen=0.2,
        received=1234,
        duplicates=5,
        rejected={"shape": 2},
        missing=0,
        acknowledged=1236,
        spooled=7,
        round_trip=0.0042,
        dropped={},
        bad_messages={},
        fetched_version=9,
        bundle_version=8,
        figures={"bundle_age_s": 3.0, "state": "fault", "fault": "tilt: it fell"},
        refused="",
    )
    robots = [msgspec.to_builtins(status)]
    troubles = {"spec": {"text": "another rate", "age": 1.0}, "store_failed": {"text": "disk full", "age": 2.0}}
    link = {"refusals": {"spec": 3}, "bad_messages": {"store_failed": 2}, "troubles": troubles}

    def write(monotonic: float) -> None:
        now = run_status(monotonic=monotonic, env_steps=10, bundle_version=9, robots=robots, link=link)
        (tmp_path / STATUS_FILE).write_bytes(msgspec.json.encode(now))

    write(time.monotonic())
    assert main(["link-status", "--logdir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "spec: 3; the last, 1 s ago: another rate\nstore_failed: 2; the last, 2 s ago: disk full\n" in output
    for shown in ("arm1", "1234", "shape 2", "4.2 ms", "8, 3 s old", "tilt: it fell"):
        assert shown in output
    write(time.monotonic() - 60)
    assert main(["link-status", "--logdir", str(tmp_path)]) == 1
    assert "not running" in capsys.readouterr().out
    robots = [robots[0] | {"robot": f"warehouse-{i}", "received": 1_000_000_000 + i} for i in range(12)]
    write(time.monotonic())
    assert main(["link-status", "--logdir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert all(f"warehouse-{i}" in output and str(1_000_000_000 + i) in output for i in range(12))


@pytest.mark.parametrize(
    ("environment", "preset", "overrides", "expected"),
    [
        ("dmc:walker_walk", None, [], "dreamer_v3:dmc_proprio"),
        ("dmc:walker_walk", None, ["pixels=true"], "dreamer_v3:dmc_vision"),
        ("dmc:walker_walk", "dreamer_v3", [], "dreamer_v3:dmc_proprio"),
        ("dmc:walker_walk", "dreamer_v3:12m", [], "dreamer_v3:dmc_proprio:12m"),
        ("dmc:walker_walk", "dreamer_v3:12m:dmc_vision", [], "dreamer_v3:12m:dmc_vision"),
        ("dmc:walker_walk", "cpu_small", [], "cpu_small"),
        ("atari:pong", None, [], "dreamer_v3:atari100k"),
        ("atari:pong", "dreamer_v3:1m", [], "dreamer_v3:atari100k:1m"),
        ("crafter:reward", None, [], "dreamer_v3:crafter"),
        ("gym:CartPole-v1", None, [], "cpu_small"),
        ("robot:cartpole", "dreamer_v3:12m", [], "dreamer_v3:12m"),
    ],
)
def test_an_environment_gets_the_settings_of_its_domain(
    environment: str, preset: str | None, overrides: list[str], expected: str
) -> None:
    assert preset_for(environment, preset, overrides) == expected
    load_config(expected)


def test_a_size_that_was_asked_for_wins_over_that_of_the_domain() -> None:
    config = load_config(preset_for("dmc:walker_walk", "dreamer_v3:12m", []))
    assert (config.model.deter, config.train_ratio) == (2048, 1024)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--threads", "0"], "argument --threads: expected a whole number from 1 to 1024, found '0'"),
        (["--steps", "-5"], "argument --steps: expected a whole number of at least 0, found '-5'"),
        (["--minutes", "nan"], "argument --minutes: expected a number of at least 0, found 'nan'"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 to 2147483647, found '-1'"),
        (["--seed", str(2**70)], f"expected a whole number from 0 to 2147483647, found '{2**70}'"),
        (["--threads", str(2**40)], f"expected a whole number from 1 to 1024, found '{2**40}'"),
        (["--evaluate", "-1"], "argument --evaluate: expected a whole number of at least 0, found '-1'"),
        (["--speed", "inf"], "argument --speed: expected a number of at least 0, found 'inf'"),
    ],
)
def test_a_wrong_number_names_the_option(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", *options, "--logdir", str(tmp_path)])
    assert end.value.code == 2 and expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "seed=3"], "--set seed=3: the seed has an option of its own, --seed"),
        (["--set", "train_ratio=.inf"], "train_ratio: expected a finite number, found inf"),
        (["--set", "optimizer.learning_rate=inf"], "optimizer.learning_rate: expected a finite number, found 'inf'"),
        (["--env", "dmc:cartpole_swingup", "--speed", "2"], "--speed: only with --robot"),
        (["--set", "pixels=true"], "--set pixels=true: only with --env; at which rate a robot acts and what it sees"),
        (["--robot", "a1", "--set", "action_repeat=2"], "--set action_repeat=2: only with --env"),
    ],
)
def test_options_that_cannot_work_are_refused_at_the_start(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *options, "--logdir", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff\xfe", b'{"time": 1'])
def test_what_is_no_status_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / STATUS_FILE).write_bytes(content)
    assert main(["link-status", "--logdir", str(tmp_path)]) == 2
    assert f"{tmp_path / STATUS_FILE} is not the status of a run" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["learn"], ["train"], ["train", "--env", "robot:cartpole"]])
def test_what_is_in_the_way_of_the_log_directory_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main([*command, "--logdir", str(place)]) == 2
        assert f"--logdir {place}: expected a folder, or a place for one" in capsys.readouterr().err


def test_a_home_behind_an_equals_sign_is_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell leaves `~` there as it stands: a folder of that name was made in the working directory."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    assert main(["keys", "create", "arm1", "--keys=~/keys"]) == 0
    assert (home / "keys").is_dir() and not [*elsewhere.iterdir()]
    assert f"--keys {home / 'keys'}" in capsys.readouterr().out


def test_a_reader_who_has_enough_is_no_error() -> None:
    """`robot-dreamer list | head`"""
    command = [sys.executable, "-m", "robot_dreamer.cli", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout and program.stderr
        program.stdout.close()
        assert program.stderr.read() == b"" and program.wait() == 141
