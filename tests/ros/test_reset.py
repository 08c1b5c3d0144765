"""A reset that nobody can give is said: in real time and in lockstep, with its name and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from std_srvs.srv import Empty, Trigger

from ros_nodes.health import complain
from tests.onboard_models import TOY
from tests.ros import test_policy_node_lockstep as lockstep
from tests.ros.conftest import Ros, stages_of
from tests.ros.stage import Stage

SPEC = TOY.replace("reset_service: reset", "reset_service: prepare")  # the robot itself offers `reset` only
STAGES = {"realtime": Stage, "lockstep": lockstep.Stage}


@pytest.fixture(params=list(STAGES))
def stage(request: pytest.FixtureRequest, ros: Ros, tmp_path: Path) -> Iterator[Any]:
    for build in stages_of(STAGES[request.param], ros, tmp_path):
        yield build(spec=SPEC)


def refuse(_: Any, response: Any) -> Any:
    response.success, response.message = False, "a person is in the way"
    return response


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        (None, None, "nobody offers it (expected std_srvs/srv/Trigger)"),
        (Empty, lambda _, response: response, "expected std_srvs/srv/Trigger, found std_srvs/srv/Empty"),
        (Trigger, refuse, "it refuses: a person is in the way"),
        (Trigger, lambda _, response: None, "no answer; asked again every 10 s (episode.reset_timeout: raise it where"),
    ],
)
def test_a_reset_that_does_not_come_is_said(
    stage: Any, kind: Any, answer: Callable[..., Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def agree(_: Any, response: Any) -> Any:
        response.success, response.message = True, "9" * 5000  # no stamp
        stage.robot.tick += 1  # in lockstep the robot's next stamp is the proof
        return response

    other = stage.ros.add(stage.ros.node("arm"))
    if words.startswith("no answer"):
        stage.until(lambda: stage.components.resetter.active, "the wish for a reset")
        monkeypatch.setattr(stage.components.resetter._client, "call_async", lambda request: _Never())
        kind, answer = Trigger, agree
    host = stage.ros.stranger() if kind is Empty else other  # one process cannot have a service of two types
    service = host.create_service(kind, "prepare", answer) if kind else None
    stage.until(lambda: words in complain(stage.node, stage.components), words)
    assert complain(stage.node, stage.components).startswith("waiting for reset service /prepare for ")
    assert not stage.rows
    report = stage.node._diagnosis.report(None, complain(stage.node, stage.components), True)
    (loop,) = [s for s in report.status if "loop" in s.name]
    assert loop.level == b"\x01" and words in loop.message
    monkeypatch.undo()
    if service is not None:
        host.destroy_service(service)
    other.create_service(Trigger, "prepare", agree)
    stage.components.resetter.restart()
    stage.until(lambda: len(stage.rows) > 3, "an episode, when it is given")
    assert stage.components.resetter.first_stamp == 0 and not stage.node.failed


@pytest.mark.parametrize("limits", ["", "safety: {ramp_seconds: 0.5}"])
def test_in_real_time_the_robot_is_at_the_safe_pose_before_it_is_reset(make: Callable[..., Stage], limits: str) -> None:
    """Whoever resets it moves it by means of its own, or hears no commands meanwhile."""
    stage, found = make(spec=f"{TOY}{limits}\n"), list[Any]()

    class Resets(list[int]):
        def append(self, tick: int) -> None:
            found.append(stage.sent[-1])
            super().append(tick)

    stage.robot.resets = Resets()
    stage.until(lambda: len(found) > 3, "some resets")
    assert found == [[0.0, 0.0]] * len(found)


class _Never:
    """A call that is never answered."""

    def add_done_callback(self, _: object) -> None:
        pass
