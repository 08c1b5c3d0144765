"""A policy node that is given nothing but a bundle takes the robot inside; one that is named beside it is compared."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY, make_bundle, toy_spec
from tests.ros.conftest import Ros

pytestmark = pytest.mark.usefixtures("proved_here")


def node_with(ros: Ros, **parameters: str) -> PolicyNode:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))


def test_the_robot_is_inside_the_bundle(ros: Ros, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", toy_spec())
    node = node_with(ros, bundle=str(bundle))
    assert node.bring_up()
    assert node.components is not None
    assert node.components.spec == toy_spec() and node.components.robot_id == "toy"


def test_another_robot_beside_it_is_refused_and_one_that_merely_tunes_is_not(ros: Ros, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", toy_spec())
    file = tmp_path / "toy.yaml"
    file.write_text(TOY.replace("rate: 50.0", "rate: 25.0"))
    assert not node_with(ros, bundle=str(bundle), robot=str(file)).bring_up()
    file.write_text(TOY.replace("motor/commands", "another/motor"))
    assert node_with(ros, bundle=str(bundle), robot=str(file)).bring_up()


def test_who_is_told_to_end_while_it_configures_does_not_begin(ros: Ros, tmp_path: Path) -> None:
    node, stop = node_with(ros, bundle=str(make_bundle(tmp_path / "b.zip", toy_spec()))), threading.Event()
    configure = node.trigger_configure

    def interrupted() -> TransitionCallbackReturn:
        done = configure()
        stop.set()
        return done

    node.trigger_configure = interrupted
    node.trigger_activate = lambda: pytest.fail("it took the robot")
    assert node.parameters.autostart and node.run(stop) == 0
