"""The page of a run of weeks: as large, and as quickly made, as that of one of hours."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robot_dreamer.commands import records
from robot_dreamer.report.charts import Chart, Series, draw
from robot_dreamer.report.page import write_report
from robot_dreamer.report.run_files import read_run
from robot_dreamer.report.thinned import MOST, Thinned
from tests.made_up_runs import make_run, robot, write_lines


@pytest.mark.parametrize("count", [1, MOST - 1, MOST, MOST + 1, 2 * MOST + 1, 13 * MOST + 7])
def test_few_are_kept_and_lie_evenly(count: int) -> None:
    found: Thinned[int] = Thinned()
    for i in range(count):
        found.add(i)
    assert found.kept == list(range(0, count, found.every))
    assert min(count, MOST // 2) <= len(found.kept) <= MOST


def test_each_number_of_a_long_run_keeps_points_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every eighth line alone, which has it, none might be among those that a thinner file keeps."""
    monkeypatch.setattr("robot_dreamer.report.thinned.MOST", 10)
    logdir = make_run(tmp_path)
    names = ["portrait/x" if i % 8 == 5 else "kl" for i in range(320)]
    lines = [{"env_step": i, "update": i, "time": float(i), name: 1.0} for i, name in enumerate(names)]
    write_lines(logdir / "metrics.jsonl", lines)
    write_lines(logdir / "robots.jsonl", [{"time": 60.0 * i, "robots": [robot(i)]} for i in range(41)])
    files = read_run(logdir)
    assert files.series("portrait/x") == ([5 + 32 * i for i in range(10)], [1.0] * 10)
    assert len(files.series("kl")[0]) == 9
    assert "metrics.jsonl is long: the page shows one in 32 of its numbers" in files.missing
    assert [time for time, _ in files.robots["left"].kept] == [480.0 * i for i in range(6)]
    page = write_report(logdir).read_text()
    assert "robots.jsonl is long: the page shows one in 8 of its numbers" in page
    assert "Control ticks missed" in page and "Round trip of the link" in page


def test_a_page_that_takes_long_is_made_seldom_while_the_run_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, made = 1000.0, []

    def write(logdir: Path) -> None:
        nonlocal now
        made.append(now)
        now += 15.0  # the numbers of weeks; nothing is learned meanwhile

    monkeypatch.setattr("robot_dreamer.report.page.write_report", write)
    monkeypatch.setattr(records, "time", SimpleNamespace(monotonic=lambda: now))
    page = records.Reporter(tmp_path)
    for _ in range(20):  # checkpoints
        page.renew_if_due()
        now += 120.0
    assert made == [1000.0, 1855.0, 2710.0]
    page.renew()  # at the end it is not asked
    assert len(made) == 4


def test_a_chart_holds_so_many_points_however_many_there_are() -> None:
    x = np.arange(100_000)
    cloud = Series("episode", x, np.sin(x), style="dots")
    drawn = draw(Chart("t", "x", "y", [cloud, Series("random", [0, 99_999], [0, 0], style="reference")], "Dots."))
    rows = base64.b64decode(drawn.csv.partition(",")[2]).decode().splitlines()
    assert len(rows) == 1 + 4000 + 2
    assert rows[4000].startswith("episode,99999,") and rows[-2:] == ["random,0,0", "random,99999,0"]
    assert drawn.caption == "Dots. Of these many points one in 25 is shown."
    assert len(drawn.svg) < 1_000_000


def test_a_sensor_of_many_numbers_fills_no_page(tmp_path: Path) -> None:
    """A scan with its history has thousands."""
    logdir, count = make_run(tmp_path), 5000
    for path in (logdir / "portraits").iterdir():
        with np.load(path) as file:
            arrays = dict(file)
        for key in [key for key in arrays if key.endswith("/joint_velocity") and not key.startswith("action/")]:
            arrays[key] = np.repeat(arrays[key], count // arrays[key].shape[-1], -1)
        arrays["rmse/dreamt/joint_velocity"][:, 4321] *= 100
        np.savez(path, **arrays)
    page = write_report(logdir).read_text()
    rows = page.partition("<h3>Errors in units</h3>")[2].partition("</table>")[0]
    assert rows.count("<td>joint_velocity</td>") == 100 and "joint_velocity[4321]" in rows
    assert "of 5003 components that are dreamed worst" in page


def test_a_portrait_of_updates_that_a_crash_lost_is_not_shown(tmp_path: Path) -> None:
    logdir = make_run(tmp_path)  # of 50 updates
    whole = read_run(logdir).portraits
    (logdir / "portraits/portrait-00000090.npz").write_bytes(whole[-1].read_bytes())
    assert read_run(logdir).portraits == whole
    (logdir / "status.json").unlink()
    assert len(read_run(logdir).portraits) == len(whole) + 1
