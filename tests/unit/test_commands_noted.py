"""commands.jsonl: what a person said, as it can be said again; and nothing that the run has refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("dm_control")
pytest.importorskip("rclpy")

from robot_dreamer.cli import main
from robot_dreamer.commands import train_split
from robot_dreamer.commands.records import COMMAND, record_command
from robot_dreamer.processes import Process
from robot_dreamer.processes.supervisor import Result
from robot_dreamer.report.run_files import COMMANDS_FILE


def test_a_program_notes_its_own_command_or_that_which_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setattr(sys, "argv", ["/x/robot_dreamer/cli.py", "learn", "--logdir", "a b"])
    record_command(tmp_path)
    monkeypatch.setenv(COMMAND, "robot-dreamer train")
    record_command(tmp_path)
    noted = [json.loads(line)["command"] for line in (tmp_path / COMMANDS_FILE).read_text().splitlines()]
    assert noted == ["robot-dreamer learn --logdir 'a b'", "robot-dreamer train"]


def test_train_leaves_it_to_the_learner_which_may_refuse_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}

    class Refusing:
        def __init__(
            self, programs: Sequence[Process], logdir: Path, environment: Mapping[str, str], **more: Any
        ) -> None:
            told.update(environment)

        def run(self) -> Result:
            return Result("failed", "the folder is another robot's", {})

    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setattr(train_split, "Supervisor", Refusing)
    words = ["train", "--robot", "cartpole", "--logdir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["/bin/robot-dreamer", *words])
    assert main(words) == 1
    assert told[COMMAND] == f"robot-dreamer train --robot cartpole --logdir {tmp_path}"
    assert not (tmp_path / COMMANDS_FILE).exists()
