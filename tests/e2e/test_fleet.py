"""A fleet: several simulated robots, each with its own world and seed, feed one learner."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from test_split import processes_of, start, status, wait_for

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(600)]


def test_two_robots_feed_one_learner_and_both_get_its_bundles(tmp_path: Path) -> None:
    from robot_dreamer.link.store import ExperienceStore
    from robot_dreamer.spec import load_spec

    def on_board() -> list[int]:
        return [robot["figures"].get("bundle_version", -1) for robot in status(tmp_path)["robots"]]

    run = start(tmp_path, "--robots", "2", "--speed", "1")
    try:
        wait_for(lambda: len(on_board()) == 2 and min(on_board()) >= 1, "bundle on board of both", run, seconds=400.0)
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 130, output
    assert not processes_of(tmp_path)
    robots = {robot["robot"]: robot for robot in status(tmp_path)["robots"]}
    assert sorted(robots) == ["cartpole_1", "cartpole_2"]
    for robot in robots.values():
        assert not robot["rejected"] and not robot["dropped"] and not robot["missing"]
    assert "| cartpole_1: " in output and "| cartpole_2: " in output  # the display tells of each

    store = ExperienceStore(tmp_path / "experience.sqlite", load_spec("cartpole"))
    try:
        rows = [row for _, row in store.read(0, 1_000_000)]
    finally:
        store.close()
    begun = {row.robot: row.observation["joint_velocity"].tolist() for row in reversed(rows) if row.is_first}
    assert begun["cartpole_1"] != begun["cartpole_2"]  # a draw of their own
    for name in robots:
        sequence = [row.sequence for row in rows if row.robot == name]
        assert sequence == list(range(len(sequence)))
