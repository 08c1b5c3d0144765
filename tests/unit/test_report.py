"""Display and learning curve."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from robot_dreamer.report.curve import draw_curve, running_mean
from robot_dreamer.report.display import Display
from robot_dreamer.report.history import EpisodeReader
from robot_dreamer.report.panel import Snapshot, budget_share, line, panel, sparkline
from robot_dreamer.run_status import RunStatus, read_status
from tests.waiting import until

NOW = 1000.0


def status(**changes: Any) -> RunStatus:
    """As the learner writes it."""
    usual = {
        "time": 0.0,
        "monotonic": NOW,
        "phase": "training",
        "env_steps": 30120,
        "episodes": 120,
        "last_return": 812.34,
        "mean_return_10": 790.12,
        "updates": 5123,
        "updates_per_s": 6.13,
        "env_steps_per_s": 51.2,
        "replay_size": 30120,
        "replay_capacity": 1_000_000,
        "bundle_version": 41,
        "train_ratio": 512.0,
        "rows_replayed": 15_000_000,
        "elapsed_s": 422.0,
        "budget_s": 600.0,
        "budget_steps": 0,
        "budget_epochs": 0.0,
        "losses": {"dyn": 1.2345},
        "skipped_updates": 0,
        "robots": [robot()],
        "link": {},
    }
    return RunStatus(**(usual | changes))


def robot(figures: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """One robot in the status."""
    good = {"bundle_version": 40, "bundle_age_s": 7.2, "loop_misses": 0, "loop_ticks": 30120}
    counters: dict[str, Any] = {"duplicates": 0, "missing": 0, "rejected": {}, "dropped": {}, "bad_messages": {}}
    rest = {"robot": "left", "connected": True, "last_seen": 0.2, "spooled": 0, "refused": ""}
    return rest | counters | {"figures": good | (figures or {})} | changes


def shown(state: RunStatus | None, now: float = NOW, returns: tuple[float, ...] = (1.0, 5.0)) -> str:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(panel(Snapshot(Path("runs/x"), state, returns, now, NOW - 500)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def write_episodes(path: Path, returns: list[float]) -> None:
    rows = [{"env_step": 250 * (i + 1), "return": r, "length": 250, "policy_version": i} for i, r in enumerate(returns)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_panel_shows_every_figure() -> None:
    text = shown(status())
    for words in (
        "runs/x · training",
        "07:02 of 10:00",
        "70%",
        "30,120 steps, 51/s · 120 episodes",
        "last 10: 790.1 · last: 812.3",
        "▁█",
        "5,123 updates, 6.1/s · train ratio 498 of 512",
        "30,120 of 1,000,000 rows",
        "dyn 1.23",
        "bundle 40 of 41 on board, 7 s old · loop misses 0 of 30,120",
    ):
        assert words in text


def test_panel_shows_no_counter_that_is_zero_and_each_that_is_not() -> None:
    assert "rows" not in shown(status(replay_capacity=0)).replace("of 0 rows", "")
    bad = robot(
        {"loop_misses": 3, "refused_samples": 4, "faults": 5},
        connected=False,
        last_seen=9.0,
        spooled=12,
        missing=1,
        duplicates=2,
        rejected={"shape": 6},
        dropped={"full": 7},
        bad_messages={"size": 8},
        refused="other spec",
    )
    text = shown(status(robots=[bad])).replace("│", " ")
    text = " ".join(text.split())
    for words in (
        "not connected, last seen 9 s ago",
        "loop misses 3 of 30,120",
        "12 rows to send",
        "rows missing: 1",
        "rows sent twice: 2",
        "rows rejected (shape): 6",
        "rows dropped (full): 7",
        "bad messages (size): 8",
        "samples refused: 4",
        "faults: 5",
        "refused: other spec",
    ):
        assert words in text, text


def test_random_policy_is_said() -> None:
    assert "random policy · loop misses" in shown(status(robots=[robot({"bundle_version": -1})]))


def test_a_robot_that_does_not_act_says_why() -> None:
    faulty = robot({"state": "fault", "fault": "tilt: the robot leans 1.5 rad"})
    assert "stopped by tilt: the robot leans 1.5 rad · loop misses" in shown(status(robots=[faulty]))
    assert "7 s old · passive · loop" in shown(status(robots=[robot({"state": "passive"})]))
    assert "7 s old · loop" in shown(status(robots=[robot({"state": "policy"})]))


def test_trouble_is_said() -> None:
    assert "waiting for the learner" in shown(None)
    assert "no word from the learner for 12 s" in shown(status(), now=NOW + 12)
    assert "no word" not in shown(status(phase="finished"), now=NOW + 12)
    assert "the last run's" in shown(status(monotonic=NOW - 600))
    assert "the last run's" in shown(status(monotonic=NOW + 600))  # the machine has been started again since
    assert "no word" not in shown(status(), now=NOW + 2)


def test_before_the_first_episode() -> None:
    assert "last 10: none yet · last: none yet" in shown(status(last_return=None, mean_return_10=None), returns=())


def test_line_says_the_same() -> None:
    text = line(Snapshot(Path("runs/x"), status(), (), NOW, NOW - 500))
    assert text.startswith("07:02 training | 30,120 steps (51/s) | 120 episodes, last 812.3, mean 790.1 | ")
    assert text.endswith("left: bundle 40 of 41 on board, 7 s old · loop misses 0 of 30,120 | 70% of the budget")
    assert "runs/x/status.json is not there yet" in line(Snapshot(Path("runs/x"), None, (), NOW, NOW))


@pytest.mark.parametrize(
    ("budget_s", "budget_steps", "share"), [(0, 0, None), (844.0, 0, 0.5), (844.0, 40160, 0.75), (100.0, 0, 1.0)]
)
def test_budget_share(budget_s: float, budget_steps: int, share: float | None) -> None:
    assert budget_share(status(budget_s=budget_s, budget_steps=budget_steps)) == share


def test_sparkline() -> None:
    assert sparkline([], 5) == ""
    assert sparkline([3.0, 3.0], 5) == "▁▁"
    assert sparkline([0.0, 7.0], 5) == "▁█"
    assert sparkline([0.0, 2.0, 6.0, 8.0], 2) == "▁█"  # means 1 and 7
    assert sparkline(list(range(8)), 8) == "▁▂▃▄▅▆▇█"
    assert len(sparkline([1.0] * 1000, 48)) == 48


def test_episodes_are_read_as_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    reader = EpisodeReader(path)
    assert reader.read() == []
    write_episodes(path, [1.0])
    assert [e.total for e in reader.read()] == [1.0]
    with path.open("a") as file:
        file.write('{"env_step": 500, "retu')
        file.flush()
        assert len(reader.read()) == 1  # half a line waits
        file.write('rn": 2.0, "policy_version": 3}\nnonsense\n')
    assert [(e.env_step, e.total, e.policy_version) for e in reader.read()] == [(250, 1.0, 0), (500, 2.0, 3)]
    assert reader.unreadable == 1


def test_no_status_yet(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None


def test_display_prints_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with Display(tmp_path, console):
        (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(monotonic=time.monotonic())))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().startswith("07:02 training | ")
    assert not [t for t in threading.enumerate() if t.name == "display"]


def test_display_in_a_terminal_ends_with_the_last_state(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    handlers = [h.stream for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    with Display(tmp_path, console):
        (tmp_path / "status.json").write_text(
            msgspec.json.encode(status(monotonic=time.monotonic(), phase="finished")).decode()
        )
    assert isinstance(console.file, io.StringIO)
    assert "finished" in console.file.getvalue()
    assert handlers == [h.stream for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]


def test_a_status_that_was_lost_with_the_power_does_not_end_the_display(tmp_path: Path) -> None:
    """XFS leaves a file empty that was replaced, without waiting for the disk, right before."""
    (tmp_path / "status.json").write_bytes(b"")
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    assert isinstance(console.file, io.StringIO)
    with Display(tmp_path, console):
        until(lambda: "waiting for the learner" in console.file.getvalue(), "the display")
        (tmp_path / "status.json").write_bytes(
            msgspec.json.encode(status(monotonic=time.monotonic(), phase="finished"))
        )
    assert "finished" in console.file.getvalue()


def test_running_mean() -> None:
    assert running_mean([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]


def test_curve_is_a_picture_of_a_useful_size(tmp_path: Path) -> None:
    write_episodes(tmp_path / "episodes.jsonl", [30.0, 100.0, 400.0])
    output = draw_curve(
        tmp_path / "episodes.jsonl",
        tmp_path / "curve.png",
        title="left",
        random_return=30.0,
        evaluation=(400.0, (350.0, 450.0)),
    )
    data = output.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") >= 1000  # width in pixels


def test_curve_without_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished episode yet"):
        draw_curve(tmp_path / "episodes.jsonl", tmp_path / "curve.png", title="left")


def test_small_returns_keep_digits_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of successes is between 0 and 1."""
    assert "last 10: 0.04567 · last: 0.9" in shown(status(mean_return_10=0.045672, last_return=0.9))
    labels: list[str] = []

    def keep(axes: Any, **_: Any) -> None:
        labels.extend(axes.get_legend_handles_labels()[1])

    monkeypatch.setattr("matplotlib.axes.Axes.legend", keep)
    write_episodes(tmp_path / "episodes.jsonl", [0.0, 1.0])
    draw_curve(
        tmp_path / "episodes.jsonl",
        tmp_path / "curve.png",
        title="left",
        random_return=0.0625,
        evaluation=(0.45, (0.4, 0.5)),
    )
    assert "random policy: 0.0625" in labels and "evaluation: 0.45" in labels
