"""The command line: what users get for wrong options."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.link.status import RobotStatus


def test_unknown_preset_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--preset", "huge", "--logdir", str(tmp_path)]) == 2
    assert "unknown preset 'huge'" in (error := capsys.readouterr().err) and "cpu_small" in error


def test_unknown_robot_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--robot", "catpole", "--logdir", str(tmp_path)]) == 2
    assert "unknown robot 'catpole'; known: a1, cartpole" in capsys.readouterr().err


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
    now = {"monotonic": time.monotonic(), "phase": "training", "env_steps": 10, "bundle_version": 9, "robots": robots}
    now["link"] = {"refusals": {"spec": 3}, "bad_messages": {}, "last_error": "disk full", "last_error_age": 2.0}
    (tmp_path / "status.json").write_text(json.dumps(now))
    assert main(["link-status", "--logdir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for shown in ("arm1", "1234", "shape 2", "4.2 ms", "spec: 3", "disk full", "8, 3 s old", "tilt: it fell"):
        assert shown in output
    (tmp_path / "status.json").write_text(json.dumps(now | {"monotonic": time.monotonic() - 60}))
    assert main(["link-status", "--logdir", str(tmp_path)]) == 1
    assert "not running" in capsys.readouterr().out
