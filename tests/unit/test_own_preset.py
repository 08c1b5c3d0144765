"""A preset of one's own: a file beside the shipped ones, whose errors are named by file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robot_dreamer.cli import main
from robot_dreamer.config import load_config


def own(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


def test_it_composes_and_what_is_said_later_wins(tmp_path: Path) -> None:
    file = own(tmp_path, "# small\nmodel: {deter: 512}\nbatch_size: 8\npublish_every: 3\n")
    config = load_config(f"dreamer_v3:12m:{file}", ["batch_size=4"])
    assert (config.model.deter, config.model.units, config.batch_size, config.run.publish_every) == (512, 256, 4, 3)
    assert config.name.endswith("mine.yaml batch_size=4")
    assert load_config(f"{file}:12m").model.deter == 2048
    assert load_config(own(tmp_path, "# nothing yet\n")).model == load_config("dreamer_v3").model


@pytest.mark.parametrize(
    ("base", "text", "line", "problem"),
    [
        ("nano:", "batch_size: 8\nmodel:\n  detr: 8\n", 3, "unknown field 'model.detr'"),
        ("nano:", "model:\n  deter: wide\n", 2, "model.deter: expected a whole number, found 'wide'"),
        ("nano:", "# a\n\nbatch_length: 1\n", 3, "batch_length: expected at least 2, found 1"),
        ("nano:", "model: 5\n", 1, "model: expected a mapping, found 5"),
        ("nano:", "run: {publish_every: 0}\n", 1, "run.publish_every: expected a positive number"),
        ("nano:", "batch_size: 8\npublish_every: 0\n", 2, "run.publish_every: expected a positive number"),
        ("planet:", "batch_size: 8\nbehavior: {entropy: 1.0}\n", 2, "the objective planet does not read it"),
        (
            "dreamer_v1:",
            "actor_optimizer: {learning_rate: 0}\n",
            1,
            "actor_optimizer.learning_rate: expected a positive",
        ),
        ("world_models:", "\nmemory_optimizer:\n  clip: 0\n", 3, "memory_optimizer.clip: expected a positive number"),
        ("nano:", "behavior:\n  max_std: 0.05\n", 2, "behavior.max_std: expected more than behavior.min_std = 0.1"),
        (
            "nano:",
            "behavior:\n  min_std: 2\n",
            2,
            "behavior.max_std: expected more than behavior.min_std = 2.0, found 1.0",
        ),
        ("nano:", "behavior: {return_percentile_low: 99}\n", 1, "return_percentile_high: expected more than"),
        (
            "planet:",
            "planner: {candidates: 9}\n",
            1,
            "planner.elites: expected at most planner.candidates = 9, found 100",
        ),
        ("nano:", "model: {blocks: 7}\n", 1, "model.deter: expected a multiple of model.blocks = 7, found 64"),
        ("cpu_small:", "batch_length: 4\n", 1, "behavior.imagine_last: expected 0, or between 2 and batch_length = 4"),
        ("nano:", "batch_size: 010\n", 1, "a leading zero"),
        ("nano:", "batch_size: 8\nbatch_size: 9\n", 2, "batch_size"),
        ("nano:", "batch_size: 8\nseed: 3\n", 2, "seed is not for a preset; it is said by --seed"),
    ],
)
def test_an_error_is_named_with_file_and_line(
    tmp_path: Path, base: str, text: str, line: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = own(tmp_path, text)
    assert main(["learn", "--preset", f"{base}{file}", "--logdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"{file}, line {line}: " in error and problem in error


def test_an_error_of_an_override_or_of_none_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    file = own(tmp_path, "batch_size: 8\n")
    with pytest.raises(ValueError, match=r"^batch_size: expected a whole number, found 'many'"):
        load_config(f"nano:{file}", ["batch_size=many"])
    with pytest.raises(ValueError, match=r"^batch_length: expected at least 2"):
        load_config(f"nano:{file}", ["batch_length=1"])


def test_a_file_that_is_not_there_and_one_that_holds_no_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read preset file .*gone.yaml: No such file"):
        load_config(str(tmp_path / "gone.yaml"))
    for text, found in (("- 1\n", "found list"), ("1: 2\n", re.escape("found keys [1]"))):
        with pytest.raises(ValueError, match=f"mine.yaml: expected settings.*{found}"):
            load_config(own(tmp_path, text))
