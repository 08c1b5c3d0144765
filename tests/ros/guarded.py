"""What the tests of the guard share."""

from __future__ import annotations

from collections.abc import Callable

from robot_dreamer.onboard.states import DriveState
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY
from tests.ros.stage import Stage

Make = Callable[..., Stage]
NEUTRAL = [0.0, 0.0]
LONG = parse_spec(TOY.replace("max_steps: 5", "max_steps: 10000"))


def faulted(stage: Stage, rule: str) -> str:
    """Wait for the fault, and for the loop to stand by; returns the reason."""
    stage.until(lambda: stage.controller.guard.fault, f"a fault of rule {rule}")
    stage.until(lambda: stage.components.states.state is DriveState.FAULT, "the state")
    fault = stage.controller.guard.fault
    assert fault.rule == rule, str(fault)
    return str(fault.reason)


def goes_on(stage: Stage) -> None:
    """Cleared, it acts again, in a new episode."""
    rows = len(stage.rows)
    assert stage.call("policy/clear_fault").success
    stage.until(lambda: len(stage.rows) > rows, "rows again")
    assert stage.rows[rows].is_first
