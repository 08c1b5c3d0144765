"""What measures the ways to stop says what is: of a node that goes on for seven commands, it finds seven."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import Bool, Float64MultiArray

from benchmarks.stop import Overrun, cell, commanded, measure, neutral, on_the_ramp, overrun, silence, table
from benchmarks.stop_scene import NEUTRAL, RATE, SERVICES, STEP, Scene, Spinner
from tests.ros.conftest import Ros

FAR = np.array([1.0, 0.5])


def arrivals(*numbers: np.ndarray) -> list[tuple[float, np.ndarray]]:
    return [(float(second), x) for second, x in enumerate(numbers)]


def test_the_last_command_that_does_not_belong_counts() -> None:
    commands = arrivals(FAR, FAR, -FAR, NEUTRAL, FAR, NEUTRAL)
    assert overrun(1.5, commands, neutral) == Overrun(2.5, 2)
    assert overrun(4.5, commands, neutral) == Overrun(0.0, 0)
    assert overrun(1.5, commands, silence) == Overrun(3.5, 4)
    assert overrun(0.5, commands, commanded(FAR)) == Overrun(4.5, 3)


def test_a_ramp_is_steps_of_its_rate_and_nothing_else() -> None:
    way = [FAR - n * STEP for n in range(5)]
    assert overrun(0.5, arrivals(*way), on_the_ramp) == Overrun(0.0, 0)
    assert overrun(0.5, arrivals(*way, way[-1]), on_the_ramp) == Overrun(4.5, 1), "it stood still"
    assert overrun(0.5, arrivals(*way, NEUTRAL), on_the_ramp) == Overrun(4.5, 1), "it leapt"
    assert overrun(0.5, arrivals(NEUTRAL, NEUTRAL), on_the_ramp) == Overrun(0.0, 0)


def test_the_table_has_the_longest_of_all_repeats_and_a_dash_where_there_is_nothing() -> None:
    assert cell([Overrun(0.0, 0), Overrun(0.0214, 2), Overrun(0.003, 3)]) == "21 ms, 3"
    assert cell([Overrun(0.0, 0)]) == "0"
    text = table(["service", "take_over"], ["running", "standing"], {("service", "running"): "3 ms, 1"})
    assert text.splitlines()[2:] == ["| service `~/e_stop` | 3 ms, 1 | – |", "| service `~/take_over` | – | – |"]


class Deaf:
    """In place of a policy node: random commands when the policy is wanted, `more` of them after the stop."""

    def __init__(self, node: Any, more: int) -> None:
        self._more, self._left, self._random = more, 0, np.random.default_rng(0)
        self._outlet = node.create_publisher(Float64MultiArray, "motor/commands", 10)
        for name, kind in SERVICES.items():
            node.create_service(kind, f"policy/{name}", lambda _, answer, name=name: self._serve(name, answer))
        for _ in range(2):
            node.create_subscription(Bool, "e_stop", lambda _: None, 1)
        node.create_timer(1 / RATE, self._tick)

    def _serve(self, name: str, answer: Any) -> Any:
        self._left = {"policy": 10**6, "e_stop": self._more}.get(name, 0)
        answer.success = True
        return answer

    def _tick(self) -> None:
        if self._left > 0:
            self._left -= 1
            self._outlet.publish(Float64MultiArray(data=self._random.uniform([-2, 0], [2, 1]).tolist()))


@pytest.fixture
def scene(ros_domain: int, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


@pytest.mark.parametrize("more", [0, 7])
def test_commands_after_the_stop_are_found(ros: Ros, scene: Scene, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    node = ros.stranger()
    Deaf(node, more)
    spinner = Spinner(node)
    monkeypatch.setattr(scene, "process", SimpleNamespace(kill=lambda: None, wait=lambda _: 0))
    scene.until(lambda: scene.heard, "the node")
    found = measure(scene, "service", "running", 0.5)
    spinner.stop()
    assert more <= found.commands <= more + 1  # one may go out while the stop is on its way
    assert (found.seconds > 0) == (found.commands > 0)
