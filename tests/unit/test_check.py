"""`robot-dreamer check` without hearing the robot: spec, networks, simulation, bundle; one verdict and its status."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.commands.check_offline import spec_findings
from robot_dreamer.commands.startable import require_startable
from robot_dreamer.preflight.findings import note, stop, table, warning
from robot_dreamer.processes import Options
from robot_dreamer.spec import ROBOTS_DIRECTORY, known_robots, load_spec, parse_spec
from tests.onboard_models import TOY, make_bundle, toy_spec


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["check", *arguments])
    return status, " ".join(capsys.readouterr().out.split())


@pytest.fixture
def toy(tmp_path: Path) -> str:
    (tmp_path / "toy.yaml").write_text(TOY)
    return str(tmp_path / "toy.yaml")


def test_a_shipped_robot_is_go(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dm_control")
    status, out = check(capsys, "cartpole", "--preset", "nano")
    assert status == 0 and "names and limits fit the model" in out and " GO (" in out
    assert "its networks take these observations and actions" in out
    assert out.endswith("on paper: nothing was heard of the robot, see --live and --bag")


def test_the_gravest_comes_first_and_decides() -> None:
    findings = [note("a", "well"), warning("b", "odd", "look"), stop("c", "broken", "mend it")]
    lines = table(findings, "on paper").splitlines()
    assert [line.split()[0] for line in lines] == ["NO-GO", "->", "warning", "->", "note", "NO-GO"]
    assert lines[-1] == "NO-GO (1 to mend, 1 to look at) on paper"
    assert table(findings[:1], "on paper").endswith("\nGO (0 to look at) on paper")


def test_a_broken_spec_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.yaml").write_text(TOY.replace("rate: 50.0", "rate: 0"))
    status, out = check(capsys, str(tmp_path / "toy.yaml"))
    assert status == 1 and "toy.yaml" in out and "rate must be in (0, 1000] Hz, found 0" in out


def test_actions_that_share_a_command_topic_are_no_go_as_the_policy_node_refuses_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leg = "  - {name: leg, low: [-1.0], high: [1.0], command: {topic: motor/commands}}\n"
    (tmp_path / "toy.yaml").write_text(TOY.replace("reward:", f"{leg}reward:", 1))
    status, out = check(capsys, str(tmp_path / "toy.yaml"), "--preset", "nano")
    said = "two actions share the command topic motor/commands; join them into one action"
    assert status == 1 and said in out
    with pytest.raises(ValueError, match=said):
        require_startable(Options(str(tmp_path / "toy.yaml"), sim=False, clock="realtime"))


def test_pictures_that_these_networks_do_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = (
        "{name: eye, shape: [96, 96, 3], dtype: uint8, source: {topic: eye, type: sensor_msgs/msg/Image, field: data}}"
    )
    (tmp_path / "toy.yaml").write_text(TOY.replace("actions:", f"  - {camera}\nactions:"))
    assert check(capsys, str(tmp_path / "toy.yaml"), "--preset", "nano")[0] == 0
    status, out = check(capsys, str(tmp_path / "toy.yaml"), "--preset", "dreamer_v1:cpu")
    assert status == 1 and "preset dreamer_v1:cpu" in out and "96" in out


def test_a_preset_that_is_unknown(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = check(capsys, toy, "--preset", "huge")
    assert status == 1 and "unknown preset 'huge'" in out


def test_limits_that_exceed_those_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dm_control")
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text().replace("high: [1.0]", "high: [2.0]")
    (tmp_path / "cartpole.yaml").write_text(text)
    status, out = check(capsys, str(tmp_path / "cartpole.yaml"), "--preset", "nano")
    assert status == 1 and "exceed [-1.0, 1.0] of actuator" in out


def test_a_bundle_of_this_robot_and_one_of_another(
    tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(make_bundle(tmp_path / "toy.bundle", toy_spec()))
    assert check(capsys, toy, "--preset", "nano", "--bundle", bundle)[0] == 0
    Path(toy).write_text(TOY.replace("rate: 50.0", "rate: 40.0"))
    status, out = check(capsys, toy, "--preset", "nano", "--bundle", bundle)
    assert status == 1 and "rate: ours 40.0, theirs 50.0" in out


def test_live_takes_seconds_and_not_a_bag_too(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    for options, text in ((["--live", "0"], "from 1 to 600"), (["--live", "5", "--bag", "x"], "not allowed with")):
        with pytest.raises(SystemExit):
            main(["check", toy, *options])
        assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sim-time"], "--sim-time is read with --live alone"),
        (["--sim-time", "--bag", "x"], "--sim-time is read with --live alone"),
        (["--namespace", "/arm1"], "--namespace is read with --live or --bag alone"),
        (["--live", "1", "--namespace", "a b"], "--namespace: '/a b' is no ROS 2 name"),
        (["--live", "1", "--namespace", "~/arm1"], "--namespace: '/~/arm1' is no ROS 2 name"),
        (["--live", "1", "--namespace", "/not a/name//"], "--namespace: '/not a/name//' is no ROS 2 name"),
    ],
)
def test_an_option_that_nobody_would_read_is_refused_in_one_line(
    options: list[str], text: str, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", toy, "--preset", "nano", *options]) == 2
    out, err = capsys.readouterr()
    assert text in err and err.count("\n") == 1 and not out


LEAPS = "the first command is a leap", "a command may go from end to end", "the way to the neutral command is one step"
ARM = """
name: arm
rate: 20.0
observations:
  - {name: joints, shape: [1], unit: rad, source: {topic: joint_states, type: sensor_msgs/msg/JointState,
     field: position, names: [a]}}
actions:
  - {name: goal, unit: rad, low: [-1.0], high: [1.0], command: {topic: goal, names: [a]}}
reward: {expression: "-norm(joints)"}
episode: {max_steps: 100}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", LEAPS),
        ("topic: goal,", "topic: goal, type: trajectory_msgs/msg/JointTrajectory,", LEAPS),
        ("episode:", "safety: {pose: {goal: joints}}\nepisode:", LEAPS[1:]),
        ("episode:", "safety: {pose: {goal: joints}, ramp_seconds: 2.0}\nepisode:", LEAPS[1:2]),
        ("high: [1.0],", "high: [1.0], max_rate: [2.0],", LEAPS[:1]),
        ("high: [1.0],", "high: [1.0], filter: {cutoff: 1.5},", (LEAPS[0], LEAPS[2])),
        ("unit: rad, low", "unit: rad/s, low", ()),
        ("unit: rad, low", "unit: Nm, low", ()),
        ("low: [-1.0], high: [1.0]", "values: [[-1.0], [1.0]]", ()),
    ],
)
def test_a_robot_that_may_leap_is_warned_of(
    old: str, new: str, said: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "arm.yaml").write_text(ARM.replace(old, new) if old else ARM)
    status, out = check(capsys, str(tmp_path / "arm.yaml"), "--preset", "nano")
    assert status == 0 and tuple(leap for leap in LEAPS if leap in out) == said


STOP = "a press of the emergency stop is a motion"


@pytest.mark.parametrize(
    ("safety", "warned"),
    [
        ("{}", True),
        ("{reactions: {e_stop: stop}}", True),
        ("{reactions: {e_stop: hold}}", False),
        ("{reactions: {e_stop: damp}}", False),
    ],
)
def test_a_stop_that_moves_the_robot_is_warned_of(safety: str, warned: bool) -> None:
    spec = parse_spec(f"{ARM}safety: {safety}\n")
    assert any(STOP in finding.found for finding in spec_findings(spec)) == warned
    (action,) = spec.actions
    moved = msgspec.structs.replace(spec, actions=(msgspec.structs.replace(action, unit="rad/s"),))
    assert not any(STOP in finding.found for finding in spec_findings(moved))  # neutral is rest there


@pytest.mark.parametrize(
    ("old", "new", "warned"),
    [
        ("", "", False),
        ("unit: rad, low", "unit: rad/s, low", True),
        ("unit: rad, low", "unit: Nm, low", True),
        ("goal, names: [a]", "goal, type: geometry_msgs/msg/Twist, names: [linear.x]", True),
    ],
)
def test_a_hold_that_leaves_a_robot_in_motion_is_warned_of(old: str, new: str, warned: bool) -> None:
    text = ARM.replace(old, new) if old else ARM
    spec = parse_spec(f"{text}safety: {{reactions: {{e_stop: hold, tilt: hold}}}}\n")
    said = [x for x in spec_findings(spec) if "the robot goes on, after e_stop, tilt" in x.found]
    assert len(said) == warned


def test_shipped_robots_do_not_leap_nor_does_a_stop_move_them() -> None:
    found = [f.found for robot in known_robots() for f in spec_findings(load_spec(robot))]
    assert not [text for text in found if any(words in text for words in (*LEAPS, STOP))]
