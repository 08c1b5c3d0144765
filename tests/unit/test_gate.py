"""The gate says yes to a good bundle, no to spoiled ones, and the same whatever the number of processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robot_dreamer.cli import main
from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.manifest import BundleError, PassingProblem
from robot_dreamer.onboard.verdict import require_passed, verdict_path
from robot_dreamer.spec import load_spec
from sim.gate import command
from tests.gated import linear_bundle, mass_robot

pytest.importorskip("dm_control")
from sim.gate.conditions import _wander
from sim.robot import SimRobot

pytestmark = pytest.mark.usefixtures("proved_here")
CRITERIA = """
episodes: 2
nominal: {min_return: 33}
ladders:
  sensor_delay: {points: [1], up_to: 1}
  command_delay: {points: [300]}
  jitter: {points: []}
  loss: {points: [0.2], up_to: 0}
  noise: {points: [0.05]}
  push: {points: [0.1]}
  rate: {points: [-0.2, 0.2]}
"""
NO_LADDERS = ", ".join(
    f"{name}: {{points: []}}" for name in ("sensor_delay", "command_delay", "jitter", "noise", "rate")
)
FEW = (
    f"episodes: 2\nnominal: {{min_return: 33}}\nladders: {{{NO_LADDERS}, loss: {{points: []}}, push: {{points: []}}}}\n"
)


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    return mass_robot(tmp_path)


def gate(folder: Path, bundle: Path, robot: Path, *more: str, criteria: str = CRITERIA) -> tuple[int, dict[str, Any]]:
    (folder / "gate.yaml").write_text(criteria)
    line = ["gate", "--bundle", str(bundle), "--robot", str(robot), "--criteria", str(folder / "gate.yaml")]
    status = main([*line, "--no-film", "--jobs", "1", "--output", str(folder / "out"), *more])
    file = folder / "out/gate.json"
    return status, json.loads(file.read_text()) if file.exists() else {}


def test_a_good_bundle_passes_and_spoiled_ones_do_not(tmp_path: Path, robot: Path) -> None:
    good, flipped, late = (
        linear_bundle(tmp_path / f"{name}.zip", robot, **how)
        for name, how in (("good", {}), ("flipped", {"sign": -1.0}), ("late", {"lag": 2}))
    )
    status, found = gate(tmp_path, good, robot)
    assert (status, found["passed"]) == (0, True)
    names = [result["condition"]["name"] for result in found["results"]]
    assert {"nominal", "random", "strength", "damping", "mass", "delay", "all", "push 0.1", "loss 0.2"} <= set(names)
    assert "rate -17%" in names and "rate +25%" in names  # of five steps: six and four
    assert any("command_delay 300 is left out" in note for note in found["notes"])
    assert any("no simulation.vary" in note for note in found["notes"])
    assert not [check for check in found["checks"] if check["condition"] == "loss 0.2"]  # beyond up_to: shown only
    require_passed(good)
    page = (tmp_path / "out/gate.html").read_text()
    assert "passed" in page and "Sensors that come late" in page and "<svg" in page
    for spoiled in (flipped, late):
        status, found = gate(tmp_path, spoiled, robot, "--against", str(good), criteria=FEW)
        assert (status, found["passed"]) == (1, False)
        assert "nominal" in {check["condition"] for check in found["checks"] if not check["passed"]}
        nominal = found["against"]["differences"][0]
        assert nominal["condition"] == "nominal" and nominal["interval"][1] < 0
        with pytest.raises(BundleError, match=r"did not pass the gate .* nominal: min_return 33"):
            require_passed(spoiled)


def test_the_numbers_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    vary = "vary: [{quantity: mass, range: [0.5, 1.5]}, {quantity: noise, range: [0.0, 0.1]}]"
    robot = mass_robot(tmp_path, f"{vary}\ndelay: {{sensors: {{jitter: 0.1}}}}")
    bundle = linear_bundle(tmp_path / "good.zip", robot)
    criteria = f"episodes: 2\nladders: {{{NO_LADDERS}, loss: {{points: [0.3]}}, push: {{points: [0.5]}}}}\n"
    one, two = (gate(tmp_path, bundle, robot, "--jobs", jobs, criteria=criteria)[1] for jobs in ("1", "2"))
    assert one == two
    returns = {result["condition"]["name"]: result["returns"] for result in one["results"]}
    assert len(set(returns["mass"])) == 2 and returns["mass"] != returns["nominal"]
    assert {"mass", "noise", "delay", "all"} <= returns.keys() and one["notes"] == []


def test_a_learner_may_remove_the_bundle_meanwhile(
    tmp_path: Path, robot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, tried = linear_bundle(tmp_path / "good.zip", robot), command._try

    def meanwhile(*arguments: Any) -> Any:
        bundle.unlink()
        return tried(*arguments)

    monkeypatch.setattr(command, "_try", meanwhile)
    status, found = gate(tmp_path, bundle, robot, criteria=FEW)
    assert (status, found["passed"], found["bundle"]["file"]) == (0, True, "good.zip")


def test_a_trial_does_not_outlive_the_gate() -> None:
    program = "from sim.gate.trial import _begin; _begin(1, '', [], [])"  # of another master than its own
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 1


def test_faults_stop_an_episode_and_count(tmp_path: Path) -> None:
    robot = mass_robot(tmp_path)
    robot.write_text(robot.read_text().replace("place, shape: [1]", "place, range: [-0.45, 0.55], shape: [1]"))
    bundle = linear_bundle(tmp_path / "flipped.zip", robot, sign=-1.0)
    status, found = gate(tmp_path, bundle, robot, criteria=FEW)
    nominal = found["results"][0]
    assert status == 1 and nominal["faults"] == {"observation_range": 2} and max(nominal["lengths"]) < 60
    assert {"condition": "nominal", "criterion": "max_faults", "wanted": 0, "found": 2, "passed": False} in found[
        "checks"
    ]


def test_spreads_are_those_of_a_moving_robot_although_its_task_ends(
    robot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = robot.read_text().replace("rail: 0.5", "rail: [0.3, 0.7]")
    robot.write_text(text.replace("episode:", 'terminal: {expression: "norm(place) > 0.6"}\nepisode:'))
    simulated = SimRobot(load_spec(robot), 0)

    def places() -> list[float]:
        return [float(numbers["joint_states.position"][0]) for numbers in _wander(simulated, 0)]

    seen = places()
    assert len(seen) == len(set(seen)) == 60 and sum(abs(place) > 0.6 for place in seen) > 1
    step, calls = simulated.step, []

    def sometimes(commands: Any) -> Any:
        calls.append(1)
        if len(calls) % 5 == 0:
            raise EpisodeBroken("diverged", "lost")
        return step(commands)

    monkeypatch.setattr(simulated, "step", sometimes)
    assert len(set(places())) == 60
    robot.write_text(robot.read_text().replace("[0.3, 0.7]", "0.7"))
    assert list(_wander(SimRobot(load_spec(robot), 0), 0)) == []  # over at each reset


@pytest.mark.parametrize("row", ["{range: [0.5, 1.5]}", "{quantity: mas, range: [0.5, 1.5]}"])
def test_a_wrong_row_of_the_robots_table_is_named_before_anything_is_tried(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = mass_robot(tmp_path, f"vary: [{{quantity: mass, range: [0.5, 1.5]}}, {row}]")
    bundle = linear_bundle(tmp_path / "good.zip", robot)
    monkeypatch.setattr(command, "_try", None)
    assert gate(tmp_path, bundle, robot, criteria=FEW)[0] == 2
    assert "vary[1]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ("nominal: {min_retrun: 5}", ["gate.yaml, line 1, field nominal", "min_retrun"]),
        ("episodes: 1", ["field top level", "episodes must be at least 2", "found 1"]),
        ("ladders:\n  loss: {points: [1.5]}", ["line 1, field ladders", "points of loss", "1.5"]),
        ("each: {min_share: 2}", ["field each", "min_share must be from 0 to 1, found 2"]),
        ("all: {min_success: 0.5}", ["all.min_success needs success"]),
        ("each: {min_return: .nan}", ["min_return must be a finite number"]),
        ("- 1", ["expected a map"]),
        ("a: 'b", ["not valid YAML"]),
    ],
)
def test_wrong_criteria_are_named(
    criteria: str, words: list[str], tmp_path: Path, robot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(tmp_path, tmp_path / "none.zip", robot, criteria=criteria)[0] == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


def test_wrong_arguments_are_named(tmp_path: Path, robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--robot", str(robot)]) == 2
    assert "bundle: expected the file" in capsys.readouterr().err
    assert gate(tmp_path, tmp_path / "none.zip", robot)[0] == 2
    assert "none.zip" in capsys.readouterr().err


def test_a_verdict_holds_for_its_own_bytes(tmp_path: Path) -> None:
    bundle = tmp_path / "a.zip"
    bundle.write_bytes(b"some")
    with pytest.raises(BundleError, match=r"a\.zip\.gate\.json is missing; robot-dreamer gate"):
        require_passed(bundle)
    verdict_path(bundle).mkdir()
    with pytest.raises(PassingProblem, match=r"a\.zip\.gate\.json: Is a directory"):
        require_passed(bundle)
    verdict_path(bundle).rmdir()
    verdict_path(bundle).write_text("{}")
    with pytest.raises(BundleError, match=r"a\.zip\.gate\.json: .*missing required field"):
        require_passed(bundle)
    robot = mass_robot(tmp_path)
    linear_bundle(bundle, robot)
    gate(tmp_path, bundle, robot, criteria=FEW)
    require_passed(bundle)
    bundle.write_bytes(bundle.read_bytes() + b" ")
    with pytest.raises(BundleError, match="other bytes: expected sha256"):
        require_passed(bundle)


def test_the_docs_show_the_criteria_that_hold() -> None:
    root = Path(__file__).parents[2]
    _, criteria = (root / "sim/gate/criteria.yaml").read_text().split("\n", 1)
    assert criteria in (root / "docs/gate.md").read_text()
