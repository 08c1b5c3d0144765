"""`robot-dreamer data list`: counts, and what is odd about rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.survey import Survey
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")
PERIOD = 40_000_000  # ns


def survey(*rows: StepRecord) -> Survey:
    made = Survey(SPEC)
    for row in rows:
        made.add(row)
    return made


def row(sequence: int, stamp: int, **fields: object) -> StepRecord:
    return dataclasses.replace(synthetic_row(SPEC, "r1", "b", sequence), stamp_capture=stamp, **fields)


def test_whole_episodes_have_nothing_odd() -> None:
    made = survey(*(synthetic_row(SPEC, "r1", "b", n, episode_steps=9) for n in range(25)))
    (boot,) = made.boots
    assert [e.ended for e in boot.episodes] == ["time limit", "time limit", "cut"]
    assert [e.rows for e in boot.episodes] == [10, 10, 5] and len(boot.finished) == 2
    assert boot.rate == pytest.approx(25.0) and not list(made.findings())


@pytest.mark.parametrize(
    ("stamps", "finding"),
    [
        ([0, 1, 2, 2, 3], "1 stamps go backwards or stand still"),
        ([0, 1, 2, 1, 2], "1 stamps go backwards"),
        ([0, 1, 5, 6, 9], "2 gaps of more than 1.5 periods"),
        ([0, 0.8, 1.6, 2.4, 3.2], "rows come at 31.2 Hz, the spec says 25 Hz"),
    ],
)
def test_odd_stamps_are_found(stamps: list[float], finding: str) -> None:
    found = list(survey(*(row(n, int(s * PERIOD)) for n, s in enumerate(stamps))).findings())
    assert len(found) == 1 and finding in found[0] and "robot r1, boot b" in found[0]


def test_missing_rows_are_counted_and_are_no_gap_in_time() -> None:
    made = survey(row(0, 0), row(1, PERIOD), row(7, 7 * PERIOD), row(8, 8 * PERIOD))
    assert made.boots[0].missing == 5 and made.boots[0].gaps == 0
    assert "5 rows are missing" in next(made.findings())


@pytest.mark.parametrize("missing", [10, 14])
def test_the_mean_return_is_of_episodes_that_lack_no_row(missing: int) -> None:
    lived = [synthetic_row(SPEC, "r1", "b", n, episode_steps=9) for n in range(25)]
    (boot,) = survey(*(row for row in lived if row.sequence != missing)).boots
    assert len(boot.finished) == 2
    assert boot.mean_return == pytest.approx(sum(row.reward for row in lived[:10]))


def test_the_table_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ExperienceStore(tmp_path / "experience.sqlite", SPEC)
    store.add([synthetic_row(SPEC, "arm", "b0", n, episode_steps=9) for n in range(25) if n != 12])
    store.close()
    assert main(["data", "list", str(tmp_path), "--episodes"]) == 0
    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert SPEC.hash[:12] in shown.out and "MB" in shown.out
    boot = next(line for line in lines if line[:1] == ["arm"])
    assert boot[:5] == ["arm", "b0", "24", "3", "1"] and boot[-5:] == ["25.00", "Hz", "0", "0", "1"]
    assert ["arm", "2", "b0", "5"] in [line[:4] for line in lines]
    assert "note: robot arm, boot b0: 1 rows are missing" in shown.out
