"""The policy node against a scripted robot in real time: neither silence nor nonsense drives the robot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, Float64MultiArray

from robot_dreamer.record import validate_record
from ros_nodes.health import complain, figures
from ros_nodes.phase import Phase
from tests.onboard_models import TOY, toy_spec
from tests.ros.fake_robot import PERIOD
from tests.ros.stage import Stage

pytestmark = pytest.mark.usefixtures("reported_often")
NEUTRAL = [0.0, 0.0]
SLOW = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [4.0, 4.0]")  # 0.08 per tick
FAR = {"torque": np.array([1.0, 1.0])}


def test_episodes(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.controller.episodes >= 2 and stage.components.resetter.resets >= 3, "two episodes")
    whole = [r for r in stage.rows if r.episode < 2]
    for row in whole:
        validate_record(row, toy_spec())
        assert row.observation["speed"][0] * PERIOD == row.stamp_capture
        assert (row.stamp_applied == 0) == row.is_last
    lasts = [r for r in whole if r.is_last]
    assert len(lasts) == 2 or stage.controller.abandoned  # a machine that stalls for 0.5 s cuts an episode
    sent = [command for _, command in stage.robot.commands]
    row = next(r for r in whole if not r.is_last)
    executed = toy_spec().actions[0].to_command(row.action["torque"])
    assert any(np.allclose(executed, command) for command in sent)
    assert len(stage.robot.resets) >= 3


def test_no_episode_spans_a_reset(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.controller.episodes == 3, "three episodes")
    for reset in stage.robot.resets:  # the tick at which it came; sensors from before it carry that one or an earlier
        sides = {r.episode: set() for r in stage.rows}
        for row in stage.rows:
            sides[row.episode].add(row.stamp_capture // PERIOD > reset)
        assert all(len(side) == 1 for side in sides.values())


def test_silence_means_neutral_and_it_recovers_by_itself(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=100)  # longer than the sensors' max_age of 0.5 s
    stage.until(lambda: stage.controller.steps >= 2 and stage.controller.running, "an episode")
    stage.speaks = False
    stage.ros.until(lambda: stage.components.runner.phase is Phase.WAITING, "to notice")
    assert not stage.controller.running
    stage.only(NEUTRAL)  # it still does not speak
    stage.ros.until(lambda: complain(stage.node, stage.components), "a complaint")
    text = complain(stage.node, stage.components)
    assert "joint_states (silent for " in text and "allowed 0.5 s" in text
    assert "task" not in text  # without a learner nobody needs the reward
    stage.speaks = True
    episodes = stage.controller.episodes
    stage.until(lambda: stage.controller.episodes > episodes, "another episode")
    assert complain(stage.node, stage.components) == ""


def test_a_stop_and_the_heartbeat_do_not_wait_for_a_tick_that_is_far_away(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    runner = stage.components.runner
    runner.loop._period = 1e4  # of a robot that is asked once in hours
    stage.ros.spin(0.3, stage.poke)
    ticks = runner.ticks
    heartbeat.clear()
    stage.until(lambda: len(heartbeat) >= 3, "the heartbeat to go on")
    assert runner.ticks == ticks and all(beat.data for beat in heartbeat)
    assert stage.call("policy/e_stop").success
    stage.until(lambda: stage.last == NEUTRAL and not heartbeat[-1].data, "the neutral command")
    assert runner.ticks == ticks + 1


def test_before_the_first_sensors(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.ros.until(lambda: len(stage.robot.commands) > 3, "neutral commands")
    assert all(command == NEUTRAL for _, command in stage.robot.commands)
    stage.robot.destroy_publisher(stage.robot.joints)
    stage.ros.until(lambda: "nobody publishes" in complain(stage.node, stage.components), "a complaint")
    assert "joint_states (no message yet)" in complain(stage.node, stage.components)
    assert stage.rows == [] and stage.robot.resets == []


def test_rewards_of_a_robot_that_nobody_drives_do_not_pile_up(make: Callable[..., Stage]) -> None:
    stage = make(automatic=False)
    observer = stage.components.observer
    stage.until(lambda: observer.counters()["received"] > 60 and len(observer.judge._events) < 10, "no more than a few")


def test_a_topic_of_the_wrong_type_is_named(make: Callable[..., Stage]) -> None:
    from sensor_msgs.msg import Imu

    stage = make()
    stage.robot.destroy_publisher(stage.robot.joints)
    stage.ros.stranger().create_publisher(Imu, "joint_states", 1)
    expected = "/joint_states: expected sensor_msgs/msg/JointState, found "
    stage.ros.until(lambda: expected in complain(stage.node, stage.components), "the complaint")
    assert "sensor_msgs/msg/Imu" in complain(stage.node, stage.components)


def test_nonsense_is_refused_counted_and_answered_with_neutral(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 1, "an episode")
    stage.robot.speed = dict.fromkeys(range(stage.robot.tick, stage.robot.tick + 10_000), float("nan"))
    stage.until(lambda: stage.controller.refused["message"] >= 3, "refusals")
    stage.only(NEUTRAL)
    stage.robot.speed = {}
    episodes = stage.controller.episodes
    stage.until(lambda: stage.controller.episodes > episodes, "another episode")
    assert all(np.isfinite(r.observation["speed"]).all() for r in stage.rows)


def test_a_terminal_robot_without_a_reset_gets_neutral_commands_and_it_is_said(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000, spec=TOY.replace("reset_service: reset, ", ""))
    stage.until(lambda: stage.controller.steps >= 2, "some steps")
    stage.robot.terminal = dict.fromkeys(range(stage.robot.tick, stage.robot.tick + 100_000), True)
    stage.until(lambda: stage.rows[-1].is_terminal, "the end of the episode")
    stage.only(NEUTRAL)
    words, rows = "no episode begins, for the task is over: terminal, topic task", len(stage.rows)
    stage.until(lambda: complain(stage.node, stage.components) == words, "the reason")
    stage.robot.terminal = {}
    stage.until(lambda: len(stage.rows) > rows and not complain(stage.node, stage.components), "an episode")


def test_a_clock_that_runs_back_cuts_the_episode(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    stage.robot.tick = 1000
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 1, "an episode")
    stage.robot.tick = 1
    stage.until(lambda: stage.controller.abandoned >= 1, "the cut")
    assert stage.components.observer.clock_jumps >= 1
    stage.until(lambda: stage.rows[-1].stamp_capture < 500 * PERIOD, "rows after it")
    assert next(r for r in stage.rows if r.stamp_capture < 500 * PERIOD).is_first


def test_a_fault_latches_until_the_service_clears_it(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.controller.steps >= 2, "some steps")
    stage.controller.guard.latch("e_stop", "somebody pressed the button")
    stage.until(lambda: stage.components.runner.phase is Phase.IDLE, "to stop")
    steps, rows = stage.controller.steps, len(stage.rows)
    stage.only(NEUTRAL)
    assert stage.controller.steps == steps
    assert stage.call("policy/clear_fault").message == "cleared: e_stop: somebody pressed the button"
    stage.until(lambda: stage.controller.steps > steps, "steps again")
    assert stage.rows[rows].is_first
    assert figures(stage.components)["faults"] == 1


def test_a_link_that_cannot_record_stops_the_robot(
    make: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make(learner="tcp://127.0.0.1:9", logdir=str(tmp_path / "link"))
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    broken = msgspec.structs.replace(stage.components.link.status(), fault="disk full")
    monkeypatch.setattr(stage.components.link, "status", lambda: broken)
    stage.until(lambda: stage.controller.guard.fault, "the fault")
    assert str(stage.controller.guard.fault) == "link: disk full"
    stage.until(lambda: stage.robot.commands[-1][1] == NEUTRAL, "the neutral command")


def test_a_dying_loop_is_noticed_and_leaves_the_neutral_command(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.controller.steps >= 1, "a step")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    stage.controller.tick = broken
    stage.until(lambda: stage.node.failure, "the node to notice")
    assert "a bug" in stage.node.failure
    stage.ros.until(lambda: stage.robot.commands[-1][1] == NEUTRAL, "the neutral command")


def test_a_hanging_loop_is_noticed_and_the_node_leaves_the_neutral_command(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    seen = stage.watch(DiagnosticArray, "/diagnostics")
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    entered, over = threading.Event(), threading.Event()
    step = stage.components.slot.current.step

    def hang(*args: Any) -> Any:
        entered.set()
        over.wait(60.0)
        return step(*args)

    stage.components.slot.current.step = hang
    try:
        stage.until(entered.is_set, "the hanging step")
        rows, thread = len(stage.rows), stage.components.runner._thread
        stage.until(lambda: stage.components.runner.overdue > 0.6, "the loop to be overdue")
        answer = stage.call("policy/e_stop")
        assert not answer.success and "does not answer" in answer.message
        stage.controller.guard.clear()  # or the late tick would only react to it
        stage.until(lambda: stage.node.failure, "the node to notice")
        assert "it hangs: no tick for" in stage.node.failure
        assert stage.controller.guard.fault.rule == "deadline"
        stage.controller.guard.clear()
        stage.until(lambda: seen and seen[-1].status[0].level == DiagnosticStatus.ERROR, "diagnostics")
        assert "it hangs" in seen[-1].status[0].message
        stage.node.trigger_deactivate()
        stage.ros.until(lambda: stage.last == NEUTRAL, "the neutral command")
    finally:
        over.set()
    thread.join(10.0)
    stage.ros.spin(0.3)
    assert stage.last == NEUTRAL and len(stage.rows) == rows  # the late tick has no last word


def test_a_tick_that_outlasts_the_node_sends_no_command_after_the_last_one(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    entered, over = threading.Event(), threading.Event()

    def hang() -> list[str]:
        if threading.current_thread() is not stage.components.runner._thread:
            return []  # the report of once a second asks too
        entered.set()
        over.wait(60.0)
        return ["nothing is known"]

    stage.components.observer.missing = hang
    try:
        stage.until(entered.is_set, "the hanging tick")
        thread = stage.components.runner._thread
        stage.components.runner.give_up("it hangs")
        stage.node.trigger_deactivate()
        sent = len(stage.sent)
        assert stage.sent[-1] == NEUTRAL
    finally:
        over.set()
    thread.join(10.0)
    assert not thread.is_alive() and len(stage.sent) == sent


def test_a_late_tick_that_fails_does_not_lead_the_robot_beside_the_node(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000, spec=SLOW)
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    runner, commander, policy = stage.components.runner, stage.components.commander, stage.components.slot.current
    entered, over, leaders = threading.Event(), threading.Event(), set()
    step, publish, thread = policy.step, commander.publish, runner._thread

    def hang(*args: Any) -> Any:
        entered.set()
        over.wait(60.0)
        return step(*args)

    def lead(commands: Any) -> None:
        leaders.add(threading.current_thread())
        if not over.is_set():
            over.set()  # the late tick goes on, and fails: its episode has been cut
            thread.join(10.0)
        publish(commands)

    policy.step = hang
    stage.until(entered.is_set, "the hanging step")
    runner.give_up("it hangs")
    commander.publish = lead
    stage.controller.guard.limits.last = dict(FAR)
    stage.node.trigger_deactivate()
    assert leaders == {threading.current_thread()} and stage.sent[-1] == NEUTRAL
    assert "it hangs" in runner.failure and "there is no open row" in runner.failure


@pytest.mark.parametrize("dies", [False, True])
def test_a_slow_action_is_led_to_neutral_when_all_ends(make: Callable[..., Stage], dies: bool) -> None:
    stage = make(max_steps=10_000, spec=SLOW)
    if dies:

        def broken(*_: Any) -> Any:
            stage.controller.guard.limits.last = dict(FAR)
            raise ZeroDivisionError("a bug")

        stage.controller.tick = broken
        stage.until(lambda: stage.components.runner.failure, "the loop to die")
        stage.components.runner._thread.join(5.0)
    else:
        stage.until(lambda: stage.controller.steps >= 1, "a step")
        stage.components.runner._stop.set()
        stage.components.runner._thread.join(5.0)
        stage.controller.guard.limits.last = dict(FAR)
        stage.node.trigger_deactivate()
    assert stage.sent[-1] == NEUTRAL
    stage.ros.until(lambda: stage.last == NEUTRAL, "the neutral command")


def test_a_slow_action_is_led_to_neutral_during_a_reset(make: Callable[..., Stage]) -> None:
    stage = make(spec=SLOW)
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    stage.components.resetter._answered = lambda future: None  # the reset never ends
    stage.until(lambda: stage.components.runner.phase is Phase.RESETTING, "a reset")
    stage.controller.guard.limits.last = dict(FAR)
    stage.robot.commands.clear()
    stage.until(lambda: len(stage.robot.commands) > 3 and stage.robot.commands[-1][1] == NEUTRAL, "neutral")
    assert stage.components.runner.phase is Phase.RESETTING


def test_deterministic_can_be_changed_others_cannot(make: Callable[..., Stage]) -> None:
    stage = make()
    assert stage.node.set_parameters([Parameter("deterministic", value=True)])[0].successful
    assert stage.controller.deterministic
    result = stage.node.set_parameters([Parameter("seed", value=3)])[0]
    assert not result.successful and "read-only" in result.reason


def test_diagnostics(make: Callable[..., Stage]) -> None:
    stage = make()
    seen: list[DiagnosticArray] = []
    stage.robot.create_subscription(DiagnosticArray, "/diagnostics", seen.append, 10)
    stage.until(lambda: seen, "diagnostics")
    parts = {s.name: {v.key: v.value for v in s.values} for s in seen[-1].status}
    assert parts["policy: control loop"]["rate"] == "50"
    stage.until(lambda: stage.controller.steps > 3, "steps")
    seen.clear()
    stage.until(lambda: seen, "diagnostics")
    loop = {v.key: v.value for v in seen[-1].status[0].values}
    assert all(float(loop[f"worst_{name}"]) > 0 for name in ("observe", "infer", "guard", "publish", "record"))
    assert {"policy: sensors", "policy: guard", "policy: policy", "policy: episodes"} <= parts.keys()
    assert parts["policy: policy"]["version"] == "-1"


def test_a_reset_does_not_let_a_slow_command_jump(make: Callable[..., Stage]) -> None:
    """The robot holds the last command over a reset; rates count from there."""
    stage = make(max_steps=20, spec=SLOW)
    command = stage.robot.create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 1)
    stage.also.append(lambda stamp: command.publish(Float64MultiArray(data=[2.0, 1.0])))
    stage.until(lambda: stage.controller.episodes == 3, "three episodes")
    way = np.array(stage.sent)
    assert way[:, 0].max() > 1.0  # far from neutral when the reset comes, and the reset is done at once
    assert np.abs(np.diff(way, axis=0)).max() < 0.08 + 1e-6
