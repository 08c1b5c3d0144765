"""What a run leaves for people to see."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_dreamer.learner.progress import EpisodeLog, MetricsLog, ScoreLog, write_json_atomically
from robot_dreamer.learner.run import Budget
from robot_dreamer.record import StepRecord

NUMBERS: dict[str, Iterator[int]] = defaultdict(itertools.count)  # of rows, by robot


def row(episode: int, reward: float, *, is_first: bool = False, is_last: bool = False, robot: str = "a") -> StepRecord:
    sequence = next(NUMBERS[robot])
    return StepRecord(robot, "boot", sequence, episode, {}, {}, {}, reward, is_first, is_last, False, 0, 0, 7)


def entries(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_returns_are_summed_per_robot_and_a_cut_episode_is_not_counted(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path / "episodes.jsonl")
    rows = [row(0, 0, is_first=True), row(0, 5, robot="b"), row(0, 2), row(0, 3, is_last=True)]
    rows += [row(1, 0, is_first=True), row(1, 100)]  # cut off
    rows += [row(2, 0, is_first=True), row(2, 4, is_last=True)]
    for number, one in enumerate(rows, 1):
        log.add(number, one)
    found = entries(tmp_path / "episodes.jsonl")
    assert [(e["return"], e["length"], e["env_step"], e["policy_version"]) for e in found] == [
        (5, 2, 4, 7),
        (4, 1, 8, 7),
    ]
    assert log.count == 2 and list(log.returns) == [5, 4]


@pytest.mark.parametrize("missing", [5, 6, 7])
def test_an_episode_that_lacks_rows_has_no_return(tmp_path: Path, missing: int) -> None:
    """A spool was full, or the store refused one: with rewards below zero such an episode looked best."""
    log = EpisodeLog(tmp_path / "episodes.jsonl")
    log.scores = ScoreLog(tmp_path / "scores.csv", "ours", "task", 0, 1)
    lived = [row(n, -1, is_first=t == 0, is_last=t == 4) for n in range(3) for t in range(5)]
    for number, one in enumerate(lived):
        if number != missing:
            log.add(number + 1, one)
    assert [entry["env_step"] for entry in entries(tmp_path / "episodes.jsonl")] == [5, 15]
    assert log.count == 2 and list(log.returns) == [-5, -5]
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 3


def test_a_restart_reads_the_file_even_if_its_last_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"env_step": 2, "return": 1.0}\n{"env_step": 4, "ret')
    log = EpisodeLog(path)
    for number, one in enumerate([row(0, 0, is_first=True), row(0, 1, is_last=True)] * 2, 1):
        log.add(number, one)
    assert [entry["env_step"] for entry in entries(path)] == [2, 4]


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for value in ({"a": 1}, {"a": 2}):
        write_json_atomically(path, value)
        assert json.loads(path.read_text()) == value
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_metrics_are_appended(tmp_path: Path) -> None:
    for update in (1, 2):
        log = MetricsLog(tmp_path)
        log.write(10 * update, update, {"loss/total": 0.5})
        log.close()
    assert [(e["env_step"], e["update"], e["loss/total"]) for e in entries(tmp_path / "metrics.jsonl")] == [
        (10, 1, 0.5),
        (20, 2, 0.5),
    ]


class Trained:
    env_steps, demonstrations = 103, 3
    training_seconds = 30.0
    due = False


class Owing(Trained):
    due = True


def test_a_budget_of_zero_is_none() -> None:
    assert not Budget().spent(Trained())  # type: ignore[arg-type]
    assert Budget(env_steps=100).spent(Trained())  # type: ignore[arg-type]
    assert not Budget(env_steps=100).spent(Owing())  # type: ignore[arg-type]
    assert Budget(env_steps=100, seconds=30).spent(Owing())  # type: ignore[arg-type]
    assert not Budget(env_steps=101, seconds=31).spent(Trained())  # type: ignore[arg-type]
    assert Budget(env_steps=101, seconds=30).spent(Trained())  # type: ignore[arg-type]


def test_scores_are_written_once_per_episode_in_environment_steps(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"

    def feed(episodes: int) -> None:
        log = EpisodeLog(tmp_path / "episodes.jsonl")
        log.scores = ScoreLog(path, "ours", "task", seed=3, action_repeat=2)
        for number in range(1, 2 * episodes + 1):
            log.add(number, row((number - 1) // 2, 1.5, is_first=number % 2 == 1, is_last=number % 2 == 0))

    feed(2)
    with path.open("a") as file:
        file.write("ours,task,3,1")  # the power went
    feed(3)
    lines = path.read_text().splitlines()
    assert lines == ["method,task,seed,step,score", *(f"ours,task,3,{step},3.000" for step in (4, 8, 12))]


def test_history_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    episodes, scores = tmp_path / "episodes.jsonl", tmp_path / "scores.csv"
    episodes.write_bytes(
        b'{"env_step": 2, "return": 1.0}\n\x00\x00\n[1]\n{"env_ste\n{"env_step": 4}\n' + b"[" * 100_000 + b"\n"
    )
    scores.write_bytes(b"method,task,seed,step,score\nm,t,0,10,1.0\nm,t\n\xff\n,,,,\nm,t,0,20,2.0\n")
    log = EpisodeLog(episodes)
    log.scores = ScoreLog(scores, "m", "t", 0, 1)
    assert f"{episodes}: 4 of 6 lines cannot be read and are left out" in caplog.text
    assert f"{scores}: 3 of 5 lines cannot be read and are left out" in caplog.text
    for number, one in enumerate([row(0, 0, is_first=True), row(0, 1, is_last=True)] * 3, 1):
        log.add(number, one)
    assert b'"env_step": 6' in episodes.read_bytes() and episodes.read_bytes().count(b'"env_step": 4') == 1
    log.scores.add(20, 5.0)
    log.scores.add(30, 5.0)
    assert scores.read_bytes().endswith(b"m,t,0,20,2.0\nm,t,0,30,5.000\n")
