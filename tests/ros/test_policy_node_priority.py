"""Provider, priority and core as parameters of the policy node: used where they can be, said where not."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter

from ros_nodes.parameters import ParameterError
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import make_bundle, toy_spec
from tests.ros.conftest import Ros
from tests.ros.stage import Stage

pytestmark = pytest.mark.usefixtures("proved_here")


def test_the_control_loop_is_bound_to_its_core(make: Callable[..., Stage]) -> None:
    core = max(os.sched_getaffinity(0))
    stage = make(core=core)
    thread = stage.components.runner._thread.native_id
    assert os.sched_getaffinity(thread) == {core}
    assert gc.get_freeze_count() > 0
    stage.node.trigger_deactivate()
    assert gc.get_freeze_count() == 0


def test_a_missing_provider_is_said_and_the_cpu_acts(
    make: Callable[..., Stage], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "p.bundle", toy_spec())
    stage = make(bundle=str(bundle), provider="tensorrt")
    said = "provider tensorrt asked for, runs on cpu: this onnxruntime"
    stage.until(lambda: said in capfd.readouterr().err, "the warning")
    assert stage.components.slot.current.runs_on == "cpu"
    stage.until(lambda: stage.controller.steps > 0, "actions")


def test_an_unknown_provider_is_refused(ros: Ros) -> None:
    with pytest.raises(ParameterError, match="parameter provider: expected cpu or cuda or tensorrt, found 'npu'"):
        PolicyNode(context=ros.context, parameter_overrides=[Parameter("provider", value="npu")])
