"""A person at the robot ends episodes by services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from tests.onboard_models import TOY


def test_success_failure_and_end_are_in_the_rows(make: Callable[..., Any]) -> None:
    text = TOY + "\noperator: {success: 100.0, failure: -100.0}\n"
    stage = make(max_steps=10_000, max_age=30.0, spec=text)  # a busy machine cuts no episode
    for service, terminal, worth in (("success", True, 100), ("failure", True, -100), ("end_episode", False, 0)):
        stage.until(lambda: stage.controller.running, "an episode")
        count = len(stage.rows)
        stage.until(lambda n=count: len(stage.rows) > n + 3, "rows")
        answer = stage.call(f"policy/{service}")
        assert answer.success and service in answer.message
        stage.until(lambda n=count: any(row.is_last for row in stage.rows[n:]), "its end")
        row = next(row for row in stage.rows[count:] if row.is_last)
        assert row.is_terminal == terminal and abs(row.reward - worth) < 50
    assert stage.call("policy/passive").success
    stage.until(lambda: not stage.controller.running, "no episode")
    answer = stage.call("policy/success")
    assert not answer.success and "no episode is running that success could end" in answer.message
    assert stage.controller.rulings.lost == 0
