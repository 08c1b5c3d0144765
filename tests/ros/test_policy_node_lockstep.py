"""The policy node against a scripted robot in lockstep: nothing lost may stop it, and no step may happen twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile

from robot_dreamer.onboard.states import DriveState
from robot_dreamer.record import TAKEN_OVER, StepRecord, validate_record
from ros_nodes.health import complain
from ros_nodes.phase import Phase
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY, make_bundle, toy_spec
from tests.ros.conftest import Ros, stages_of
from tests.ros.fake_robot import PERIOD, FakeRobot, joint_state
from tests.ros.stage import MOVES

pytestmark = pytest.mark.usefixtures("proved_here")
SPEC = toy_spec()  # 5 actions per episode, reset service


class Stage:
    """A policy node and a robot."""

    def __init__(
        self, ros: Ros, folder: Path, spec: str = TOY, with_reset: bool = True, deaf: bool = False, **parameters: Any
    ) -> None:
        file = folder / "toy.yaml"
        file.write_text(spec)
        values = {"robot": str(file), "clock": "lockstep", "threads": 1} | MOVES | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.ros = ros
        self.robot = ros.add(FakeRobot(ros.context, with_reset))
        if deaf:
            self.robot.deafen()
        self.node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
        self.rows: list[StepRecord] = []
        assert self.node.bring_up()
        self.components.controller._record = self.rows.append

    @property
    def components(self) -> Any:
        return self.node.components

    def until(self, condition: Callable[[], object], what: str) -> None:
        self.ros.until(condition, what, each=self.robot.poke)


@pytest.fixture
def make(ros: Ros, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    yield from stages_of(Stage, ros, tmp_path)


def check_rows(rows: list[StepRecord], robot: FakeRobot) -> None:
    """Every row is valid, in order, and says what the robot showed and received."""
    received = dict(robot.answered)
    for sequence, row in enumerate(rows):
        validate_record(row, toy_spec())
        tick = row.stamp_capture // PERIOD
        assert row.sequence == sequence
        assert row.observation["speed"][0] == tick  # speed counts ticks
        assert row.reward == (0.0 if row.is_first else 1.0)
        if row.is_last:
            assert tick not in received and not row.action["torque"].any()
        elif tick in received:  # the last answer may still be on its way
            executed = toy_spec().actions[0].to_command(row.action["torque"])
            np.testing.assert_allclose(executed, received[tick], rtol=1e-6)


def test_a_policy_with_worse_returns_is_sent_back(make: Callable[..., Stage], tmp_path: Path) -> None:
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", toy_spec(), 1)), rollback_episodes=2)
    slot, controller = stage.components.slot, stage.components.controller
    stage.until(lambda: controller.episodes >= 3, "episodes of the first")
    slot.offer(make_bundle(tmp_path / "2.bundle", toy_spec(), 2))
    stage.until(lambda: slot.swaps == 1, "the swap")
    stage.robot.reward = dict.fromkeys(range(100_000), 0.0)
    stage.until(lambda: slot.rollbacks == 1, "the way back")
    assert "policy 2 failed, back to policy 1: mean return of 2 episodes " in slot.last_rollback
    assert ", before 5, " in slot.last_rollback
    steps = controller.steps
    stage.until(lambda: controller.steps > steps + 3, "acting on")
    assert stage.rows[-1].policy_version == 1 and controller.guard.fault is None
    assert {1, 2} == {row.policy_version for row in stage.rows}


def test_episodes_and_resets(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.components.controller.episodes == 3, "three episodes")
    rows, robot = stage.rows, stage.robot
    check_rows(rows, robot)
    whole = [r for r in rows if r.episode < 3]
    assert [r.is_last for r in whole] == ([False] * 5 + [True]) * 3
    assert [r.is_first for r in whole] == ([True] + [False] * 5) * 3
    assert not any(r.is_terminal for r in whole)
    assert robot.resets[:3] == [1, 7, 13]  # once at the start, and at each last row
    assert len({t for t, _ in robot.answered}) == len(robot.answered)
    assert stage.components.controller.last_return == 5.0


@pytest.mark.parametrize("topic", ["joint_states", "task", "command"])
def test_lost_messages_cost_a_retry_and_nothing_else(make: Callable[..., Stage], topic: str) -> None:
    stage = make()
    stage.robot.lost = {(t, topic) for t in (3, 4, 9, 10, 14)}
    stage.until(lambda: stage.components.controller.episodes == 3, "three episodes")
    check_rows(stage.rows, stage.robot)
    assert [r.stamp_capture // PERIOD for r in stage.rows][:18] == [*range(2, 8), *range(8, 14), *range(14, 20)]
    remaining = {(t, x) for t, x in stage.robot.lost}
    assert not remaining
    if topic == "command":
        assert stage.components.runner.repeats >= 4  # 14 is an episode's first row


def test_a_lost_answer_is_sent_again_where_the_topic_that_is_named_last_is_held(make: Callable[..., Stage]) -> None:
    """Nobody says it again with the sensors."""
    goal = "{name: goal, shape: [3], source: {topic: goal, type: geometry_msgs/msg/Twist, field: linear, hold: true}}"
    text = "\n".join(line for line in TOY.splitlines() if not line.startswith(("reward", "terminal")))
    text = text.replace("actions:", f"  - {goal}\nactions:") + "\nreward: {expression: '1.0'}\n"
    stage = make(spec=text)
    stage.robot.lost = {(t, "command") for t in (3, 4)}
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    stage.robot.create_publisher(Twist, "goal", latched).publish(Twist())
    stage.until(lambda: stage.components.controller.episodes == 1, "an episode")
    assert stage.components.runner.repeats >= 2 and not stage.robot.lost


def test_terminal_is_recorded(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.robot.terminal = {4: True}
    stage.until(lambda: len(stage.robot.resets) == 2, "the reset after an episode")
    assert [(r.is_last, r.is_terminal) for r in stage.rows[:3]] == [(False, False), (False, False), (True, True)]
    assert stage.robot.resets[1] == 4


def test_a_refused_reset_is_asked_again(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.components.controller.episodes == 1, "an episode")
    stage.robot.refuse = 1
    stage.until(lambda: stage.components.controller.episodes == 2, "another one")
    assert stage.components.resetter.retries >= 1
    check_rows(stage.rows, stage.robot)


@pytest.mark.parametrize("dies", [False, True])
def test_reset_without_answer_is_asked_again(make: Callable[..., Stage], dies: bool) -> None:
    """The answer gets lost (after reset_timeout), or the robot's process dies and comes back (at its first stamp)."""
    stage = make()
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    assert stage.components.runner.phase is Phase.RUNNING
    resetter = stage.components.resetter
    answered, resetter._answered = resetter._answered, lambda future: None  # the answer gets lost
    stage.until(lambda: resetter.active and resetter._future is not None, "the reset")
    stage.until(lambda: len(stage.robot.resets) == 2, "the robot to be reset")
    assert stage.components.runner.phase is Phase.RESETTING
    resetter._answered = answered
    resetter._timeout = 1e6 if dies else 0.1
    if dies:
        stage.robot.restart()
    stage.until(lambda: stage.components.controller.episodes == 2, "another episode")
    assert resetter.retries == 1
    assert [r.is_last for r in stage.rows][:12] == ([False] * 5 + [True]) * 2
    if not dies:  # a robot that begins again counts its ticks again
        check_rows(stage.rows, stage.robot)


def test_robot_that_begins_again_cuts_the_episode(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.components.controller.steps == 8, "into the second episode")
    stage.robot.restart()
    stage.until(lambda: stage.components.controller.episodes == 2, "another whole episode")
    assert stage.components.controller.abandoned == 1
    cut = next(i for i, r in enumerate(stage.rows) if i > 6 and r.is_first)
    assert not stage.rows[cut - 1].is_last and stage.rows[cut].episode == stage.rows[cut - 1].episode + 1
    assert [r.sequence for r in stage.rows] == list(range(len(stage.rows)))


def test_invalid_samples_are_refused_and_the_robot_is_reset(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.robot.reward = {4: float("nan")}
    stage.robot.speed = {9: float("inf")}
    stage.until(lambda: stage.components.controller.episodes == 2, "two episodes in spite of it")
    assert stage.components.controller.refused == {"reward": 1, "message": 1}
    assert stage.components.controller.abandoned == 2
    check_rows(stage.rows, stage.robot)


def test_without_a_reset_service_the_world_goes_on(make: Callable[..., Stage]) -> None:
    spec = TOY.replace("reset_service: reset, ", "")
    stage = make(spec=spec, with_reset=False)
    stage.until(lambda: stage.components.controller.episodes == 3, "three episodes")
    ticks = [t for t, _ in stage.robot.answered]
    assert ticks == list(range(1, len(ticks) + 1))
    assert [r.is_last for r in stage.rows][:18] == ([False] * 5 + [True]) * 3


def test_without_a_reset_service_a_terminal_robot_gets_neutral_commands(make: Callable[..., Stage]) -> None:
    stage = make(spec=TOY.replace("reset_service: reset, ", ""), with_reset=False)
    stage.robot.terminal = dict.fromkeys(range(4, 12), True)
    stage.until(lambda: stage.robot.tick > 12, "the terminal ticks to pass")
    assert stage.rows[2].is_last and stage.rows[2].is_terminal
    answered = dict(stage.robot.answered)
    assert answered[3] != [0.0, 0.0]
    assert all(answered[t] == [0.0, 0.0] for t in range(4, 12))


def test_bundle_from_the_start_and_a_hot_swap(make: Callable[..., Stage], tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "1.bundle", SPEC, 1)
    stage = make(bundle=str(first), deterministic=True)
    stage.until(lambda: stage.components.controller.steps >= 7, "some steps")
    assert {r.policy_version for r in stage.rows} == {1}
    stage.components.slot.offer(make_bundle(tmp_path / "2.bundle", SPEC, 2))
    stage.until(lambda: stage.components.slot.swaps == 1, "the swap")
    n = len(stage.rows)
    stage.until(lambda: len(stage.rows) > n + 7, "more steps")
    assert [r.policy_version for r in stage.rows] == sorted(r.policy_version for r in stage.rows)
    assert stage.rows[-1].policy_version == 2
    check_rows(stage.rows, stage.robot)


def test_deactivate_sends_the_neutral_command_and_activate_goes_on(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    stage.node.trigger_deactivate()
    stage.ros.until(lambda: stage.robot.commands[-1] == ("", [0.0, 0.0]), "the neutral command")
    steps = stage.components.controller.steps
    stage.ros.spin(0.3, stage.robot.poke)
    assert stage.components.controller.steps == steps
    stage.node.trigger_activate()
    stage.until(lambda: stage.components.controller.episodes == 1, "a whole episode")
    assert stage.components.controller.abandoned == 1
    stage.node.trigger_deactivate()
    stage.node.trigger_cleanup()
    assert stage.node.components is None
    assert stage.node.bring_up()
    stage.until(lambda: stage.components.controller.episodes == 1, "an episode after cleanup")


def test_a_slow_action_is_led_to_neutral_at_deactivate(make: Callable[..., Stage]) -> None:
    stage = make(spec=TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [4.0, 4.0]"))  # 0.08 per tick
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    stage.components.controller.guard.limits.last = {"torque": np.array([1.0, 1.0])}
    stage.node.trigger_deactivate()
    stage.ros.until(lambda: stage.robot.commands[-1] == ("", [0.0, 0.0]), "the neutral command")


def test_complaint_names_what_is_silent(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.ros.until(lambda: complain(stage.node, stage.components), "a complaint")
    assert complain(stage.node, stage.components) == "no message yet from joint_states, task"
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    assert complain(stage.node, stage.components) == ""
    tick = stage.robot.tick + 1
    message = joint_state(tick * PERIOD, ["hinge"], [0.0], [0.0])
    stage.ros.until(
        lambda: complain(stage.node, stage.components), "it", each=lambda: stage.robot.joints.publish(message)
    )
    assert complain(stage.node, stage.components).endswith("behind the others: task")
    stage.until(lambda: stage.components.controller.episodes == 1, "recovery")


def test_a_fault_in_lockstep_lets_the_world_go_on_with_its_reaction(make: Callable[..., Stage]) -> None:
    stage = make(spec=f"{TOY}safety: {{reactions: {{link: hold}}}}\n")
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    held = stage.components.controller.guard.limits.last["torque"].tolist()
    stage.components.controller.guard.latch("link", "test")
    tick, rows = stage.robot.tick, len(stage.rows)
    stage.until(lambda: stage.robot.tick > tick + 5, "the world to go on")
    assert all(numbers == held for t, numbers in stage.robot.answered if t > tick)
    assert len(stage.rows) == rows and stage.components.controller.abandoned == 1
    assert stage.components.runner.phase is Phase.IDLE
    resets = len(stage.robot.resets)
    stage.components.controller.guard.clear()
    stage.until(lambda: stage.components.controller.steps > 6, "steps again")
    assert len(stage.robot.resets) == resets + 1 and stage.rows[rows].is_first


@pytest.mark.parametrize("leaps", [False, True])  # begun again as a process, or by itself
def test_a_world_that_begins_anew_under_a_fault_is_not_held_where_the_old_one_was(
    make: Callable[..., Stage], leaps: bool
) -> None:
    stage = make(spec=f"{TOY}safety: {{reactions: {{link: hold}}}}\n")
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    stage.components.controller.guard.latch("link", "test")
    tick = stage.robot.tick
    stage.until(lambda: stage.robot.tick > tick + 2, "the world to go on")
    begun = len(stage.robot.answered)
    stage.robot.tick = stage.robot.tick + 50 if leaps else 1
    stage.until(lambda: len(stage.robot.answered) > begun + 2, "the new world to go on")
    assert all(numbers == [0.0, 0.0] for _, numbers in stage.robot.answered[begun:])


def test_without_automatic_the_world_waits_for_a_person(make: Callable[..., Stage]) -> None:
    stage = make(automatic=False)
    stage.ros.spin(0.5, stage.robot.poke)
    assert stage.robot.commands == [] and stage.robot.resets == []
    assert stage.components.states.want(DriveState.POLICY) == ""
    stage.until(lambda: stage.components.controller.episodes == 1, "an episode")
    stage.components.states.want(DriveState.STAND)
    stage.until(lambda: stage.components.states.state is DriveState.STAND, "to stand")
    tick = stage.robot.tick
    stage.until(lambda: stage.robot.tick > tick + 3, "the world to go on")
    assert all(numbers == [0.0, 0.0] for t, numbers in stage.robot.answered if t > tick)
    stage.components.states.want(DriveState.PASSIVE)
    stage.until(lambda: stage.components.states.state is DriveState.PASSIVE, "to rest")
    stage.ros.spin(0.2, stage.robot.poke)
    tick = stage.robot.tick
    stage.ros.spin(0.3, stage.robot.poke)
    assert stage.robot.tick == tick  # nobody drives: the world waits
    stage.components.states.want(DriveState.POLICY)
    stage.until(lambda: stage.components.controller.episodes >= 2, "another episode")
    assert [r.sequence for r in stage.rows] == list(range(len(stage.rows)))


def test_a_person_takes_over_in_lockstep(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.until(lambda: stage.components.controller.steps == 3, "some steps")
    stage.components.takeover.on = True
    stage.until(lambda: sum(r.policy_version == TAKEN_OVER for r in stage.rows) >= 6, "rows of nobody's command")
    stage.components.takeover.on = False
    stage.until(lambda: stage.rows[-1].policy_version == -1 and not stage.rows[-1].is_last, "the policy again")
    check_rows(stage.rows, stage.robot)
    own = [r for r in stage.rows if r.policy_version == TAKEN_OVER]
    assert own and all(np.allclose(r.action["torque"], [0.0, -1.0]) for r in own)


def test_an_episode_begins_and_goes_on_for_listeners_only(make: Callable[..., Stage]) -> None:
    stage = make(deaf=True, spec=TOY.replace("max_steps: 5", "max_steps: 10000"))
    nobody = "nobody subscribes to /motor/commands (expected std_msgs/msg/Float64MultiArray)"
    stage.until(lambda: nobody in complain(stage.node, stage.components), "the complaint")
    assert stage.rows == [] and stage.robot.resets == []
    stage.robot.listen()
    stage.until(lambda: len(stage.rows) > 5, "an episode")
    stage.robot.deafen()
    stage.until(lambda: not stage.components.controller.running, "the cut")
    rows = len(stage.rows)
    stage.robot.listen()
    stage.until(lambda: len(stage.rows) > rows + 5, "the next episode")
    assert stage.rows[rows].is_first
