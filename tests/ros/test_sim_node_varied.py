"""A robot that varies and is late, over ROS 2: the node is the same simulated robot, and logs what was drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")
from std_srvs.srv import Trigger

from sim.robot import SimRobot
from tests.ros.conftest import Ros
from tests.ros.sim_bench import Bench
from tests.varied import varied

VARIED = """
vary: [{quantity: mass, of: hand, range: [0.5, 2.0]}, {quantity: noise, of: joint_states.position, range: [0.0, 0.1]}]
delay: {sensors: {seconds: [0.0, 0.1]}}
"""


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    bench = Bench(ros)
    yield bench
    bench.stop()


def test_each_episodes_draw_is_logged(
    ros: Ros, bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reference = SimRobot(varied(tmp_path, VARIED), 7)
    expected = []
    for _ in range(2):
        reference.reset()
        expected.append(reference.drawn)
    robot = bench.robot(robot=str(tmp_path / "varied.yaml"), seed=7)
    client = ros.node("client").create_client(Trigger, "reset")
    assert client.wait_for_service(10)
    client.call_async(Trigger.Request())
    ros.until(lambda: robot.counters.resets == 1, "the reset")  # reading while the robot writes would lose a line
    said = capfd.readouterr().err.splitlines()
    assert [json.loads(line.partition("episode: ")[2]) for line in said if "episode: " in line] == expected
