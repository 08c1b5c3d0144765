"""The guard: limits on commands, faults that latch, and their reactions."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from robot_dreamer.onboard.guard import Fault, Guard
from robot_dreamer.spec import parse_spec
from robot_dreamer.spec.safety import RULES, TERMINAL_RULES, Rule
from tests.onboard_models import TOY, discrete_spec, toy_spec

SLOW_TEXT = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [10.0, 5.0], neutral: [0.0, 0.5]")
SLOW = parse_spec(SLOW_TEXT)  # per tick of 20 ms: 0.2 and 0.1; from neutral (0, 0.5)


def torque(*numbers: float) -> dict[str, np.ndarray]:
    return {"torque": np.array(numbers)}


def sent(guard: Guard, *numbers: float) -> list[float]:
    commands = guard.check(torque(*numbers)).commands
    assert commands is not None
    return commands["torque"].tolist()


def drive_to(guard: Guard, *numbers: float) -> None:
    """As if these commands were in force."""
    guard.limits.last = torque(*numbers)


def test_commands_within_limits_pass_unchanged() -> None:
    guard = Guard(toy_spec())
    assert sent(guard, 1.5, 0.5) == [1.5, 0.5]
    assert (guard.limits.clipped, guard.limits.slewed, guard.faults.total(), guard.fault) == (0, 0, 0, None)


def test_outside_limits_is_clipped_and_counted() -> None:
    guard = Guard(toy_spec())
    assert sent(guard, -9.0, 9.0) == [-2.0, 1.0]
    assert guard.limits.clipped == 1 and guard.fault is None


def test_rate_is_limited_from_the_last_command_sent() -> None:
    guard = Guard(SLOW)
    for expected in ([0.2, 0.4], [0.4, 0.3], [0.6, 0.2]):
        np.testing.assert_allclose(sent(guard, 2.0, 0.0), expected)
    assert guard.limits.slewed == 3
    np.testing.assert_allclose(guard.neutral()["torque"], [0.4, 0.3])
    np.testing.assert_allclose(sent(guard, 2.0, 0.0), [0.6, 0.2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_latches_until_cleared(bad: float) -> None:
    guard = Guard(SLOW)
    checked = guard.check(torque(bad, 0.0))
    assert checked.fault is guard.fault and checked.fault is not None and checked.fault.rule == "command"
    assert "torque is not finite" in str(checked.fault) and guard.faults == {"command": 1}
    assert sent(guard, 0.1, 0.5) == [0.0, 0.5]
    assert guard.latch("link", "another reason") is checked.fault  # the first one stays
    assert guard.faults == {"command": 1}
    assert guard.clear() is checked.fault and guard.clear() is None
    np.testing.assert_allclose(sent(guard, 0.1, 0.5), [0.1, 0.5])
    assert guard.latest is checked.fault


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "e_stop"])
def test_the_stop_goes_before_every_other_fault(rule: Rule) -> None:
    guard = Guard(parse_spec(f"{TOY}safety: {{reactions: {{e_stop: damp, {rule}: hold}}}}"))
    assert sent(guard, 1.0, 0.5) == [1.0, 0.5]
    first = guard.latch(rule, "the robot goes on with its last command")
    assert guard.react(first) is not None
    pressed = guard.latch("e_stop", "pressed")
    assert guard.fault is pressed is guard.latest and pressed.rule == "e_stop" and guard.react(pressed) is None
    assert guard.latch("e_stop", "again") is pressed and guard.latch(rule, "later") is pressed
    assert guard.faults == {rule: 1, "e_stop": 1}


def test_a_fault_cleared_while_it_is_checked_lets_no_nan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clear_fault service runs in another thread, and may come at the worst moment."""
    guard = Guard(SLOW)
    latch = guard.latch

    def hasty(*arguments: str) -> Fault:
        fault = latch(*arguments)
        guard.clear()
        return fault

    monkeypatch.setattr(guard, "latch", hasty)
    checked = guard.check(torque(np.nan, 0.0))
    assert checked.fault is not None and checked.commands is not None
    assert np.isfinite(checked.commands["torque"]).all()


def test_of_many_threads_one_latches_and_counts() -> None:
    guard = Guard(SLOW)
    barrier = threading.Barrier(8)
    faults: list[Fault] = []

    def latch(i: int) -> None:
        barrier.wait(10)
        faults.append(guard.latch("link", f"reason {i}"))

    threads = [threading.Thread(target=latch, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(faults) == 8 and {id(f) for f in faults} == {id(guard.fault)}
    assert guard.faults == {"link": 1}


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        ("ramp", [[0.96, 0.5], [0.92, 0.5]]),  # the range of 4 in 2 s: 0.04 per tick
        ("stop", [[0.8, 0.5], [0.6, 0.5]]),  # max_rate: 0.2 per tick
        ("hold", [[1.0, 0.5], [1.0, 0.5]]),
        ("damp", [None, None]),
    ],
)
def test_reactions(reaction: str, expected: list[list[float] | None]) -> None:
    text = f"{SLOW_TEXT}safety: {{ramp_seconds: 2.0, reactions: {{link: {reaction}}}}}"
    guard = Guard(parse_spec(text))
    drive_to(guard, 1.0, 0.5)
    guard.latch("link", "test")
    for numbers in expected:
        commands, fault = guard.check(torque(2.0, 0.0))
        assert fault is guard.fault
        if numbers is None:
            assert commands is None
        else:
            assert commands is not None
            np.testing.assert_allclose(commands["torque"], numbers)


def test_default_reactions_and_terminal_rules() -> None:
    safety = toy_spec().safety
    assert {rule: safety.reaction(rule) for rule in RULES} == dict.fromkeys(RULES, "ramp") | {"e_stop": "stop"}
    guard = Guard(toy_spec())
    for rule in RULES:
        assert guard.latch(rule, "test").terminal == (rule in TERMINAL_RULES)
        guard.clear()


def test_settle_sends_one_step_a_period_until_neutral() -> None:
    guard = Guard(SLOW)  # 0.2 and 0.1 per tick
    for _ in range(3):
        guard.check(torque(2.0, 0.0))
    out: list[list[float]] = []
    slept: list[float] = []
    assert guard.settle(lambda c: out.append(c["torque"].tolist()), slept.append)
    np.testing.assert_allclose(out[:3], [[0.4, 0.3], [0.2, 0.4], [0.0, 0.5]], atol=1e-12)
    assert out[-1] == [0.0, 0.5] and len(out) <= 4  # one more for the rounding of 0.6
    assert slept == [0.02] * (len(out) - 1)


@pytest.mark.parametrize(("ramp", "patience"), [(0.0, 2.0), (4.0, 5.0)])
def test_settle_gives_up_after_a_while(ramp: float, patience: float) -> None:
    text = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [0.1, 5.0]")
    guard = Guard(parse_spec(f"{text}safety: {{ramp_seconds: {ramp}}}"))
    drive_to(guard, 2.0, 0.0)
    slept: list[float] = []
    assert not guard.settle(lambda c: None, slept.append)
    assert sum(slept) == pytest.approx(patience)


def test_discrete_values_pass() -> None:
    guard = Guard(discrete_spec())
    assert guard.check({"gear": np.array([5.0])}) == ({"gear": np.array([5.0])}, None)
    guard.latch("e_stop", "test")
    np.testing.assert_array_equal(guard.neutral()["gear"], [0.0])


@pytest.mark.parametrize(("reaction", "sent"), [("stop", 1), ("ramp", 5), ("hold", 0), ("damp", 0)])
def test_a_fault_on_the_way_to_neutral_has_its_reaction(reaction: str, sent: int) -> None:
    guard = Guard(parse_spec(f"{TOY}safety: {{ramp_seconds: 0.16, reactions: {{e_stop: {reaction}}}}}"))
    out: list[list[float]] = []

    def sleep(_: float) -> None:
        if len(out) == 2:
            guard.latch("e_stop", "pressed on the way")

    guard.limits.last = {"torque": np.array([3.5, 0.0])}  # a step is 0.5
    assert guard.settle(lambda c: out.append(c["torque"].tolist()), sleep)
    assert len(out) == 2 + sent
    if sent:
        assert out[-1] == [0.0, 0.0]
