"""The real-time loop with all that may disturb it: counters and order are judged here, times by benchmarks/loop.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, make_bundle
from tests.ros.stage import Stage

pytestmark = pytest.mark.usefixtures("reported_often")
LONG = parse_spec(TOY.replace("max_steps: 5", "max_steps: 50"))
BUNDLES = 4


def compute(over: threading.Event) -> None:
    """A thread that holds Python's lock whenever it gets it."""
    count = 0
    while not over.is_set():
        count += sum(range(1000))


def stall(stage: Stage) -> None:
    """One step that outlasts its deadline and two more."""
    policy, over = stage.components.slot.current, threading.Event()
    step = policy.step

    def slow(*arguments: Any) -> Any:
        policy.step = step
        time.sleep(3.5 * LONG.period)
        over.set()
        return step(*arguments)

    policy.step = slow
    stage.until(over.is_set, "the slow step")


def test_streaming_swaps_and_a_busy_thread_cost_neither_order_nor_rows(
    make: Callable[..., Stage], tmp_path: Path
) -> None:
    store = ExperienceStore(tmp_path / "experience.sqlite", LONG)
    server = LinkServer(store, LONG, "tcp://127.0.0.1:*")
    over = threading.Event()
    busy = threading.Thread(target=compute, args=(over,))
    bundles = [make_bundle(tmp_path / f"{i}.bundle", LONG, i) for i in range(1, BUNDLES + 1)]
    server.start()
    busy.start()
    try:
        stage = make(max_steps=50, learner=server.address, logdir=str(tmp_path / "link"))
        stage.until(lambda: store.count() >= 10, "rows at the learner")
        for version, bundle in enumerate(bundles, 1):
            server.publish(bundle, version, 10 * version)
            stage.until(lambda: stage.rows[-1].policy_version == version, f"rows of bundle {version}")  # noqa: B023
        stall(stage)
        steps = stage.controller.steps
        stage.until(lambda: stage.controller.steps > steps + 50, "steps")
        controller, slot, runner = stage.controller, stage.components.slot, stage.components.runner
        stage.node.trigger_deactivate()
        stage.until(lambda: store.count() == len(stage.rows), "all rows, beside a thread that takes Python's lock")
        stage.node.trigger_cleanup()
    finally:
        over.set()
        busy.join()
        server.stop()
    rows = [row for _, row in store.read(0, 100_000)]
    store.close()
    assert [row.sequence for row in rows] == list(range(len(stage.rows)))  # none lost, none twice
    assert sum(not row.is_last for row in rows) == controller.steps
    assert (slot.swaps, slot.refused, slot.rollbacks) == (BUNDLES, 0, 0)
    versions = [row.policy_version for row in rows]
    assert versions == sorted(versions) and set(versions) == {-1, *range(1, BUNDLES + 1)}
    stamps = [row.stamp_capture for row in rows]
    assert stamps == sorted(stamps)

    history = runner.loop.history(0)
    assert len(history.starts) == runner.ticks  # the whole run fits into it
    assert runner.misses == history.missed.sum() >= 2
    deadlines = (history.starts - history.late)[:-1] / LONG.period  # the end of all woke the last one early
    np.testing.assert_allclose(np.diff(deadlines), 1 + history.missed[1:-1], atol=0.05)  # skipped, never made up for
    assert controller.guard.fault is None
