"""Hot swap: what takes over, what is refused, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import OnnxPolicy, RandomPolicy
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import RANDOM_POLICY, StepRecord
from tests.onboard_models import make_bundle, toy_spec
from tests.slots import SPEC, Bench, pass_the_gate
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("proved_here")
PREVIOUS = {"torque": np.zeros(2, np.float32)}


def observe(speed: float = 0.5) -> dict[str, NDArray[Any]]:
    return {"angle": np.array([1.0, 0.0], np.float32), "speed": np.array([speed], np.float32)}


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    slot = PolicySlot(SPEC, RandomPolicy(SPEC, 0))
    yield Bench(tmp_path, slot)
    slot.stop()


def test_first_bundle_takes_over_fresh_and_the_next_inherits_the_state(bench: Bench) -> None:
    slot = bench.slot
    assert slot.exchange().policy.version == RANDOM_POLICY
    assert bench.swap(1) and bench.fresh
    slot.current.step(observe(), PREVIOUS, True, None)
    state = slot.current.state["hidden"]
    assert bench.swap(2) and not bench.fresh
    assert slot.current.version == 2 and slot.swaps == 2
    np.testing.assert_array_equal(slot.current.state["hidden"], state)


def test_nothing_changes_until_exchange(bench: Bench) -> None:
    bench.offer(1)
    until(lambda: len(bench.slot._ready) == 1)
    assert bench.slot.current.version == RANDOM_POLICY
    assert bench.slot.exchange().policy.version == 1
    assert bench.slot.exchange().policy.version == 1 and bench.slot.swaps == 1


def test_older_and_equal_versions_are_refused(bench: Bench) -> None:
    assert bench.swap(5)
    for version in (5, 4):
        assert not bench.swap(version)
        assert f"version: expected above 5, which has flown, found {version}" in bench.slot.last_refusal
    assert bench.slot.current.version == 5 and bench.slot.refused == 2


def test_a_new_run_starts_afresh_and_the_floor_holds_within_each_lineage(bench: Bench) -> None:
    slot = bench.slot
    assert bench.swap(5, lineage="first")
    slot.current.step(observe(), PREVIOUS, True, None)
    assert bench.swap(1, lineage="second") and bench.fresh  # older by number, but of another run
    assert not slot.current.state["hidden"].any(), "the state of another run's model was kept"
    assert not bench.swap(1, lineage="second") and "expected above 1" in slot.last_refusal
    assert not bench.swap(4, lineage="first") and "expected above 5" in slot.last_refusal
    assert bench.swap(6, lineage="first", hidden=4) and bench.fresh  # another layout is no obstacle either
    turn = slot.rollback("a test")
    assert turn is not None and turn.fresh and (turn.policy.lineage, turn.policy.version) == ("second", 1)


def test_a_bundle_that_was_asked_for_gives_way_to_its_own_run_only(tmp_path: Path) -> None:
    exported = make_bundle(tmp_path / "exported", SPEC, version=1000, lineage="own")
    policy = OnnxPolicy(read_bundle(exported, SPEC))
    bench = Bench(tmp_path, PolicySlot(SPEC, policy, lineage="own"))
    assert not bench.swap(2000, lineage="other") and not bench.swap(2001)
    assert "lineage: expected 'own', that of the bundle which this robot was told to begin with, found ''" in (
        bench.slot.last_refusal
    )
    assert not bench.swap(7, lineage="own") and "version: expected above 1000" in bench.slot.last_refusal
    assert bench.slot.current is policy
    assert bench.swap(1001, lineage="own")
    bench.slot.stop()


def test_other_state_layout_is_refused(bench: Bench) -> None:
    assert bench.swap(1)
    assert not bench.swap(2, hidden=4)
    assert "state layout" in bench.slot.last_refusal and bench.slot.current.version == 1
    assert not bench.swap(3, hidden=4, algorithm="planet")
    assert "it is of 'planet', the one that acts of 'toy': state layout" in bench.slot.last_refusal


def test_state_layout_is_compared_again_at_the_exchange(bench: Bench) -> None:
    bench.offer(1)
    until(lambda: len(bench.slot._ready) == 1)
    first = bench.slot._ready.pop()  # held back, as if both had been prepared while the random policy acted
    bench.offer(2, hidden=4)
    until(lambda: len(bench.slot._ready) == 1)
    second = bench.slot._ready.pop()
    bench.slot._ready.append(first)
    assert bench.slot.exchange().policy is first
    bench.slot._ready.append(second)
    assert bench.slot.exchange().policy is first
    assert bench.slot.refused == 1 and "state layout" in bench.slot.last_refusal


def test_broken_bundle_and_other_robot_are_refused_and_the_thread_lives(bench: Bench) -> None:
    broken = bench.folder / "broken.bundle"
    broken.write_bytes(b"PK nonsense")
    bench.slot.offer(broken)
    until(lambda: bench.slot.refused == 1)
    assert "broken.bundle" in bench.slot.last_refusal
    bench.slot.offer(make_bundle(bench.folder / "other", toy_spec(rate="100.0")))
    until(lambda: bench.slot.refused == 2)
    assert "rate: ours 50.0, theirs 100.0" in bench.slot.last_refusal
    assert bench.swap(3)


def test_whatever_goes_wrong_with_a_bundle_the_thread_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(policy: OnnxPolicy) -> None:
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(OnnxPolicy, "verify", no_memory)
        assert not bench.swap(1)
    assert "1.bundle: MemoryError: no memory" in bench.slot.last_refusal
    assert bench.swap(2)


def test_what_may_be_over_soon_is_tried_again_and_not_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a learner that has ended no other bundle comes."""
    monkeypatch.setattr("robot_dreamer.onboard.slot._PAUSE", 0.05)
    verify, short = OnnxPolicy.verify, [True] * 2

    def short_of_memory(policy: OnnxPolicy) -> None:
        if short and short.pop():
            raise MemoryError("no memory")
        verify(policy)

    monkeypatch.setattr(OnnxPolicy, "verify", short_of_memory)
    bench.offer(1)
    until(lambda: bench.slot.exchange().policy.version == 1)
    assert bench.slot.refused == 2
    assert bench.slot.last_refusal.endswith("1.bundle: MemoryError: no memory; it is tried again in 0.05 s")
    short += [True] * 3
    bench.offer(2)
    until(lambda: bench.slot.refused == 5)
    assert bench.slot.last_refusal.endswith("2.bundle: MemoryError: no memory")
    assert bench.swap(3)


def test_rollback_restores_policy_and_state_and_bars_the_failed_version(bench: Bench) -> None:
    slot = bench.slot
    assert bench.swap(1) and bench.swap(2)
    slot.current.step(observe(), PREVIOUS, True, None)
    before = slot.current.state
    turn = slot.rollback("NaN")
    assert turn is not None and turn.policy.version == 1 and not turn.fresh
    np.testing.assert_array_equal(slot.current.state["hidden"], before["hidden"])
    assert (slot.rollbacks, slot.last_rollback) == (1, "policy 2 failed, back to policy 1: NaN")
    assert slot.rollback("again") is None
    assert not bench.swap(2) and bench.swap(3)


def test_controller_rolls_back_within_the_tick(bench: Bench) -> None:
    rows: list[StepRecord] = []
    controller = Controller(SPEC, bench.slot, robot="r", boot="b", record=rows.append)
    speed = 0.0

    def tick() -> None:
        controller.tick(Sample(observe(speed), 1.0, False, len(rows)))
        controller.applied(len(rows))

    bench.offer(1)
    until(lambda: len(bench.slot._ready) == 1)
    tick()
    bench.offer(2, nan_above=10.0)
    until(lambda: len(bench.slot._ready) == 1)
    tick()
    state = bench.slot.current.state["hidden"]
    speed = 20.0
    tick()
    speed = 0.0
    tick()
    assert [r.policy_version for r in rows] == [1, 2, 1, 1]
    assert [r.is_first for r in rows] == [True, False, False, False]  # the episode went on
    assert bench.slot.rollbacks == 1 and not controller.guard.fault
    assert state.shape == (1, 3)


def test_deployed_bundle_without_a_predecessor_latches(tmp_path: Path) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "d", SPEC, nan_above=10.0), SPEC)
    controller = Controller(SPEC, PolicySlot(SPEC, OnnxPolicy(bundle)), robot="r", boot="b", record=None)
    assert not controller.tick(Sample(observe(0.0), 0.0, False, 0)).fault
    controller.applied(0)
    decision = controller.tick(Sample(observe(20.0), 0.0, False, 1))
    assert "action torque is not finite" in str(decision.fault)
    assert decision.command is not None
    np.testing.assert_array_equal(decision.command["torque"], [0.0, 0.0])


def test_first_bundle_mid_episode_starts_its_filter(bench: Bench) -> None:
    """The record's row is not first, but the model is told so: its filter has no past."""
    rows: list[StepRecord] = []
    controller = Controller(SPEC, bench.slot, robot="r", boot="b", record=rows.append)
    for t in range(3):
        if t == 2:
            bench.offer(1, gain=0.0)
            until(lambda: len(bench.slot._ready) == 1)
        controller.tick(Sample(observe(), 0.0, False, t))
        controller.applied(t)
    # with is_first the previous (random) action is masked: 1.5 + 0.01 Gumbel noise
    np.testing.assert_allclose(bench.slot.current.state["hidden"], np.full((1, 3), 1.5), atol=0.15)
    assert [r.is_first for r in rows] == [True, False, False]
    assert [r.policy_version for r in rows] == [-1, -1, 1]


def test_a_failing_first_bundle_latches_and_does_not_give_way_to_random_actions(bench: Bench) -> None:
    rows: list[StepRecord] = []
    controller = Controller(SPEC, bench.slot, robot="r", boot="b", record=rows.append)
    bench.offer(1, nan_above=10.0)
    until(lambda: len(bench.slot._ready) == 1)
    assert controller.tick(Sample(observe(0.0), 0.0, False, 0)).fault is None
    controller.applied(0)
    decision = controller.tick(Sample(observe(20.0), 0.0, False, 1))
    assert decision.fault is not None and decision.fault.rule == "policy"
    assert bench.slot.current.version == 1 and bench.slot.rollbacks == 0
    assert [r.policy_version for r in rows] == [1]


def test_a_gated_slot_takes_what_has_passed_and_refuses_the_rest(tmp_path: Path) -> None:
    gated = Bench(tmp_path, PolicySlot(SPEC, RandomPolicy(SPEC, 0), gated=True))
    pass_the_gate(make_bundle(tmp_path / "2.bundle", SPEC, 2))
    try:
        assert gated.swap(2) and not gated.swap(3)
        assert (
            "require_gate: " in gated.slot.last_refusal and "3.bundle.gate.json is missing" in gated.slot.last_refusal
        )
    finally:
        gated.slot.stop()
