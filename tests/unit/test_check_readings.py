"""`robot-dreamer check` of numbers: which limits and units are looked for in which quantity."""

from __future__ import annotations

from types import SimpleNamespace

from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, Weight
from robot_dreamer.preflight.readings import reading_findings
from robot_dreamer.spec import parse_spec

GRIPPER = """
name: gripper
rate: 10.0
observations:
  - {name: tip, shape: [3], unit: UNIT, source: {topic: tip_pose, type: geometry_msgs/msg/PoseStamped, field: position}}
  - {name: opening, shape: [1], unit: m,
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [finger]}}
actions:
  - {name: fingers, unit: m, low: [0.0], high: [0.04], command: {topic: gripper/commands, names: [finger]}}
reward: {expression: "opening"}
episode: {max_steps: 100}
"""


def heard(finger: float, far: float = 0.6, unit: str = "m") -> list[Finding]:
    """Of an arm with its tip so far out, m, and its finger there."""
    evidence = Evidence(parse_spec(GRIPPER.replace("UNIT", unit)))
    for n in range(20):
        time = 1_700_000_000_000_000_000 + n * 100_000_000
        header = SimpleNamespace(stamp=SimpleNamespace(sec=time // 10**9, nanosec=time % 10**9), frame_id="")
        position = SimpleNamespace(x=far + 0.001 * n, y=0.0, z=0.3)
        evidence.hear("tip_pose", SimpleNamespace(header=header, pose=SimpleNamespace(position=position)), time)
        joints = SimpleNamespace(header=header, name=["finger"], position=[finger + 1e-5 * n], velocity=[])
        evidence.hear("joint_states", joints, time)
    return list(reading_findings(evidence))


def said(findings: list[Finding], weight: Weight) -> str:
    return "; ".join(f"{f.where}: {f.found}" for f in findings if f.weight is weight)


def test_where_a_tip_is_has_nothing_to_do_with_the_limits_of_a_gripper() -> None:
    findings = heard(finger=0.02)
    assert said(findings, Weight.STOP) == "" and "observation tip: x 0.6 to 0.619" in said(findings, Weight.NOTE)
    assert "observation opening: finger 0.3 to 0.3002; action fingers says 0 to 0.04" in said(heard(0.3), Weight.STOP)


def test_metres_without_a_unit_are_no_degrees() -> None:
    assert said(heard(finger=0.02, far=25.0, unit="''"), Weight.WARNING) == ""
