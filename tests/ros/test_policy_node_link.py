"""The policy node on a real link: rows arrive exactly once, bundles are swapped in, either side may go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from robot_dreamer.data.source import discarded_in
from robot_dreamer.durable import sha256_of
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import write_bundle
from robot_dreamer.onboard.verdict import Verdict, write_verdict
from ros_nodes.health import figures
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY, edit_manifest, make_bundle, record, rewrite, toy_manifest, toy_model, toy_spec
from tests.ros.conftest import Ros
from tests.ros.fake_robot import FakeRobot
from tests.ros.stage import MOVES

pytestmark = pytest.mark.usefixtures("reported_often")
SPEC = toy_spec()


class Learner:
    """A store and a server that can go away and come back at the same address."""

    def __init__(self, folder: Path) -> None:
        self.store = ExperienceStore(folder / "experience.sqlite", SPEC)
        self.address = "tcp://127.0.0.1:*"
        self.server: LinkServer | None = None

    def start(self) -> None:
        self.server = LinkServer(self.store, SPEC, self.address)
        self.server.start()
        self.address = self.server.address

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    learner = Learner(tmp_path)
    learner.start()
    yield learner
    learner.stop()
    learner.store.close()


def start_node(ros: Ros, folder: Path, learner: Learner, **parameters: Any) -> PolicyNode:
    file = folder / "toy.yaml"
    file.write_text(TOY)
    values: dict[str, Any] = {
        "robot": str(file),
        "clock": "lockstep",
        "learner": learner.address,
        "logdir": str(folder / "link"),
    }
    values |= MOVES | parameters
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
    assert node.bring_up()
    return node


def test_rows_go_up_bundles_come_down_and_outlive_both_sides(ros: Ros, tmp_path: Path, learner: Learner) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner)
    ros.until(lambda: learner.store.count() >= 12, "rows at the learner", robot.poke)

    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "1.bundle", SPEC, 1), 1, 10)
    ros.until(lambda: node.components.slot.swaps == 1, "the first bundle", robot.poke)
    learner.stop()
    steps = node.components.controller.steps
    ros.until(lambda: node.components.controller.steps > steps + 10, "acting without the learner", robot.poke)
    learner.start()
    learner.server.publish(make_bundle(tmp_path / "2.bundle", SPEC, 2), 2, 20)
    ros.until(lambda: node.components.slot.swaps == 2, "the second bundle", robot.poke)
    assert figures(node.components)["bundle_version"] == 2

    recorded = node.components.controller
    node.trigger_shutdown()  # flushes
    rows = [row for _, row in learner.store.read(0, 100_000)]
    assert [row.sequence for row in rows] == list(range(len(rows)))
    assert len({row.boot for row in rows}) == 1
    assert sum(not row.is_last for row in rows) == recorded.steps  # one row per action, none lost
    versions = [row.policy_version for row in rows]
    assert versions == sorted(versions) and set(versions) == {-1, 1, 2}

    again = start_node(ros, tmp_path, learner)  # a new start acts with the bundle that is already there
    assert again.components.slot.current.version == 2
    steps = again.components.controller.steps
    ros.until(lambda: again.components.controller.steps > steps + 3, "acting", robot.poke)
    assert again.components.slot.refused == 0  # it is not offered to itself
    again.trigger_shutdown()


@pytest.mark.usefixtures("proved_here")
def test_a_node_that_asks_for_verdicts_takes_nothing_from_the_learner_without_one(
    ros: Ros, tmp_path: Path, learner: Learner
) -> None:
    robot, first = ros.add(FakeRobot(ros.context)), make_bundle(tmp_path / "1.bundle", SPEC, 1)
    facts = {"robot": SPEC.name, "spec_hash": SPEC.hash, "criteria_sha256": "", "program": "", "created": ""}
    write_verdict(first, Verdict(passed=True, bundle_sha256=sha256_of(first), failed=(), **facts))
    node = start_node(ros, tmp_path, learner, bundle=str(first), require_gate=True, random_actions=False)
    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "2.bundle", SPEC, 2), 2, 20)
    slot = node.components.slot
    ros.until(lambda: slot.refused, "the refusal", robot.poke)
    assert "gate.json is missing" in slot.last_refusal and (slot.swaps, slot.current.version) == (0, 1)
    node.trigger_shutdown()


def test_the_spool_is_as_large_and_as_strict_as_was_asked_for(ros: Ros, tmp_path: Path, learner: Learner) -> None:
    ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner, spool_megabytes=7, spool_rule="stop")
    spool = node.components.link._spool
    assert (spool._limit, spool._when_full) == (7 << 20, "stop")
    node.trigger_shutdown()


@pytest.mark.usefixtures("proved_here")
def test_a_bundle_that_failed_does_not_come_back_in_a_new_start(ros: Ros, tmp_path: Path, learner: Learner) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner)
    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "1.bundle", SPEC, 1), 1, 10)
    ros.until(lambda: node.components.slot.swaps == 1, "the first bundle", robot.poke)
    robot.speed = dict.fromkeys(range(100_000), 1.0)
    learner.server.publish(make_bundle(tmp_path / "2.bundle", SPEC, 2, nan_above=50.0), 2, 20)
    ros.until(lambda: node.components.slot.swaps == 2, "the second bundle", robot.poke)
    robot.speed = dict.fromkeys(range(100_000), 100.0)
    ros.until(lambda: node.components.slot.rollbacks == 1, "the way back", robot.poke)
    robot.speed = {}
    assert node.trigger_deactivate() == node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS

    assert node.bring_up()
    assert node.components.slot.current.version == 1  # from the start, without a random action
    ros.until(lambda: node.components.slot.refused == 1, "the refusal", robot.poke)
    assert "version: expected above 2, which has flown, found 2" in node.components.slot.last_refusal
    steps = node.components.controller.steps
    ros.until(lambda: node.components.controller.steps > steps + 3, "acting on", robot.poke)
    assert node.components.slot.current.version == 1 and node.components.controller.guard.fault is None
    node.trigger_shutdown()


@pytest.mark.usefixtures("proved_here")
def test_a_bundle_that_acted_and_is_damaged_now_does_not_give_way_to_random_actions(
    ros: Ros, tmp_path: Path, learner: Learner
) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner)
    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "1.bundle", SPEC, 1), 1, 10)
    ros.until(lambda: node.components.slot.swaps == 1, "the first bundle", robot.poke)
    node.trigger_deactivate()
    node.trigger_cleanup()
    (kept,) = (tmp_path / "link" / "bundles" / "flown").iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.unlink()  # the received one is the same file
    kept.write_bytes(content)

    assert not node.bring_up() and node.components is None
    named = start_node(ros, tmp_path, learner, bundle=str(make_bundle(tmp_path / "2.bundle", SPEC, 0)))
    assert named.components.slot.current.version == 0
    named.trigger_shutdown()


@pytest.mark.usefixtures("proved_here")
def test_a_bundle_that_is_asked_for_gives_way_to_a_newer_one_of_its_run_only(
    ros: Ros, tmp_path: Path, learner: Learner
) -> None:
    robot = ros.add(FakeRobot(ros.context))
    named = str(make_bundle(tmp_path / "named", SPEC, 5, lineage="own"))
    node = start_node(ros, tmp_path, learner)
    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "other", SPEC, 9, lineage="other"), 9, 90)
    ros.until(lambda: node.components.slot.swaps == 1, "another run's bundle", robot.poke)
    node.trigger_shutdown()

    node = start_node(ros, tmp_path, learner, bundle=named)
    assert node.components.slot.current.version == 5
    ros.until(lambda: node.components.slot.refused == 1, "the refusal", robot.poke)
    assert "lineage: expected 'own'" in node.components.slot.last_refusal
    learner.server.publish(make_bundle(tmp_path / "own", SPEC, 10, lineage="own"), 10, 100)
    ros.until(lambda: node.components.slot.current.version == 10, "a newer one", robot.poke)
    node.trigger_shutdown()

    node = start_node(ros, tmp_path, learner, bundle=named)
    assert node.components.slot.current.version == 10  # it acted before the restart, and is newer
    node.trigger_shutdown()


@pytest.mark.usefixtures("proved_here")
def test_bundles_that_cannot_be_trusted_are_refused_by_name(ros: Ros, tmp_path: Path, learner: Learner) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner)
    slot = node.components.slot
    assert learner.server is not None
    learner.server.publish(make_bundle(tmp_path / "good", SPEC, 1), 1, 10)
    ros.until(lambda: slot.swaps == 1, "the good one", robot.poke)

    cut, later, damaged = (make_bundle(tmp_path / name, SPEC, 9) for name in ("cut", "later", "damaged"))
    cut.write_bytes(cut.read_bytes()[:1000])
    edit_manifest(later, format=2)
    rewrite(damaged, lambda files: files.update({"policy.onnx": files["policy.onnx"] + b"\0"}))
    bad = {
        make_bundle(tmp_path / "other", toy_spec(rate="100.0"), 9): "rate: ours 50.0, theirs 100.0",
        make_wrong_bundle(tmp_path / "wrong", 9): "verification failed: output action_torque, step 3: expected",
        cut: "expected a complete zip archive, found a broken or truncated one",
        later: "format: expected 1, found 2; update robot_dreamer on this side",
        damaged: "sha256 of policy.onnx: expected ",
    }
    for version, (bundle, problem) in enumerate(bad.items(), 2):
        learner.server.publish(
            bundle, version, 10 * version
        )  # the link finds nothing wrong: the bytes are those published
        ros.until(lambda: slot.refused == version - 1, f"the refusal of {bundle.name}", robot.poke)  # noqa: B023
        assert problem in slot.last_refusal and f"bundle-{version:08d}-" in slot.last_refusal
        steps = node.components.controller.steps
        ros.until(lambda: node.components.controller.steps > steps + 3, "acting on", robot.poke)  # noqa: B023
        assert (slot.current.version, slot.swaps) == (1, 1)
    learner.server.publish(make_bundle(tmp_path / "better", SPEC, 7), 7, 70)
    ros.until(lambda: slot.current.version == 7, "the next good one", robot.poke)
    node.trigger_shutdown()


def make_wrong_bundle(path: Path, version: int) -> Path:
    """All of it fits, but the model does not do what was recorded."""
    model, inputs, outputs = toy_model(SPEC)
    recording = record(model, inputs, outputs)
    recording["output/action_torque"][3] += 0.1
    write_bundle(path, model, toy_manifest(SPEC, inputs, outputs, version), recording)
    return path


def test_a_person_discards_the_running_and_the_last_episode(ros: Ros, tmp_path: Path, learner: Learner) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = start_node(ros, tmp_path, learner)
    client = ros.add(rclpy.create_node("person", context=ros.context)).create_client(Trigger, "policy/discard")

    def say() -> Any:
        answer = client.call_async(Trigger.Request())
        ros.until(answer.done, "an answer", robot.poke)
        return answer.result()

    ros.until(client.service_is_ready, "the service", lambda: None)
    answer = say()
    if not answer.success:
        assert answer.message == "no episode has run yet"
    ros.until(lambda: node.components.controller.running and node.components.controller.episode > 0, "one", robot.poke)
    answer = say()
    assert answer.success and "will not be learned from" in answer.message
    number = int(answer.message.partition("number ")[2].partition(",")[0])
    boot = node.components.link.boot
    ros.until(lambda: ("toy", boot, number) in discarded_in(learner.store), "the mark", robot.poke)
    ros.until(lambda: node.components.link.status().discards == 0, "the answer", robot.poke)
    ros.until(lambda: learner.store.count() > 20, "rows, which go on", robot.poke)
    node.trigger_shutdown()


def test_without_a_learner_there_is_nothing_to_discard(make: Callable[..., Any]) -> None:
    answer = make().call("policy/discard")
    assert not answer.success and "there is no learner" in answer.message
