"""`robot-dreamer check` of sensors that come seldom: by the spec's rate, and by how old their messages may be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, Weight
from robot_dreamer.preflight.streams import stream_findings
from robot_dreamer.spec import parse_spec

TEXT = """
name: slow
rate: {rate}
observations:
  - {{name: place, shape: [1], source: {{topic: joints, type: sensor_msgs/msg/JointState, field: position, names: [a],
     max_age: {max_age}}}}}
  - {{name: speed, shape: [1], source: {{topic: joints, type: sensor_msgs/msg/JointState, field: velocity, names: [a],
     max_age: 60.0}}}}
actions:
  - {{name: u, low: [-1.0], high: [1.0], command: {{topic: u}}}}
reward: {reward}
episode: {{max_steps: 100}}
"""
COMPUTED, TOLD = '{expression: "place"}', "{topic: task, type: sensor_msgs/msg/JointState, field: position, names: [r]}"


def heard(
    rate: float, every: float, seconds: float, max_age: float = 0.5, rewards: float = 0.0, late: float = 0.002
) -> list[Finding]:
    """Of a robot whose sensor speaks every so many seconds, for so long; rewards: seconds between them, 0: computed;
    late: seconds from a stamp to its receipt."""
    reward = TOLD if rewards else COMPUTED
    evidence = Evidence(parse_spec(TEXT.format(rate=rate, max_age=max_age, reward=reward)))
    for topic, name, pause in (("joints", "a", every), ("task", "r", rewards)):
        for n in range(round(seconds / pause)) if pause else ():
            time = 1_700_000_000_000_000_000 + round((n + 0.5) * pause * 1e9)
            stamp = SimpleNamespace(sec=time // 10**9, nanosec=time % 10**9)
            message = SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=""), name=[name])
            message.position = message.velocity = [0.1 * n]
            evidence.hear(topic, message, time + round(late * 1e9))
    return list(stream_findings(evidence, seconds))


def said(findings: list[Finding], *weights: Weight) -> str:
    return "; ".join(f"{f.where}: {f.found}" for f in findings if f.weight in weights)


def test_a_robot_that_is_slow_and_says_so_is_as_it_should_be() -> None:
    findings = heard(rate=0.5, every=2.0, seconds=40.0, max_age=3.0)
    assert said(findings, Weight.STOP, Weight.WARNING) == ""
    assert "topic joints: 0.5 Hz" in said(findings, Weight.NOTE)


def test_a_slow_robot_that_was_heard_for_a_moment_is_to_be_heard_for_longer() -> None:
    findings = heard(rate=0.5, every=2.0, seconds=10.0, max_age=3.0)
    assert "5 messages in 10 s are too few to tell" in said(findings, Weight.WARNING)
    assert said(findings, Weight.STOP) == "" and "30 s at least" in "".join(f.advice for f in findings)
    assert "only 5 messages came" in said(heard(rate=20.0, every=2.0, seconds=10.0), Weight.STOP)


@pytest.mark.parametrize(("rate", "every"), [(1.0, 1.0), (0.5, 2.0), (1.5, 0.6)])
def test_what_is_stale_before_the_next_one_comes_is_named(rate: float, every: float) -> None:
    findings = heard(rate, every, seconds=60.0)
    assert f"a message comes every {every:g} s and counts for 0.5 s: stale" in said(findings, Weight.STOP)


def test_a_sensor_that_may_be_slow_repeats_its_values_and_others_are_too_slow() -> None:
    findings = heard(rate=10.0, every=2.0, seconds=60.0, max_age=5.0)
    assert "expected 10 Hz at least, found 0.5 Hz: values repeat" in said(findings, Weight.WARNING)
    assert said(findings, Weight.STOP) == ""
    assert "found 0.5 Hz" in said(heard(rate=10.0, every=2.0, seconds=60.0), Weight.STOP)
    assert "found 2.5 Hz" in said(heard(rate=10.0, every=0.4, seconds=60.0), Weight.STOP)
    assert "found 0.5 Hz" in said(heard(rate=10.0, every=2.0, seconds=60.0, max_age=0.9), Weight.STOP)


@pytest.mark.parametrize("every", [2.0, 60.0])
def test_a_reward_that_comes_seldom_is_stale_too(every: float) -> None:
    findings = heard(rate=10.0, every=0.1, seconds=60.0, rewards=every)
    assert f"topic task: a message comes every {every:g} s and counts for 0.5 s" in said(findings, Weight.STOP)
    (found,) = (f for f in findings if "stale before the next one" in f.found)
    assert "raise its max_age" in found.advice and "hold" not in found.advice  # which a reward does not have


def test_a_reward_is_as_old_as_its_receipt() -> None:
    """It counts when it comes, whatever its stamp says: so it is not stale between two of them."""
    assert "stale before" not in said(heard(rate=10.0, every=0.1, seconds=60.0, rewards=0.4, late=0.2), Weight.STOP)
