"""A bundle holds its robot: it is evaluated and launched without a YAML file; what is named beside it is compared."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.commands.startable import require_startable
from robot_dreamer.data.source import open_store
from robot_dreamer.link.keys import create
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import read_bundle, spec_for
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.processes import Options, processes
from robot_dreamer.spec import ROBOTS_DIRECTORY, RobotSpec, SpecError, load_spec, parse_spec
from sim.gate.conditions import NOMINAL, Condition
from sim.gate.trial import run_trials
from tests.onboard_models import make_bundle, toy_spec
from tests.own_models import place

CARTPOLE = load_spec("cartpole")


def test_the_spec_is_the_one_named_or_the_bundles(tmp_path: Path) -> None:
    own = make_bundle(tmp_path / "own.zip", toy_spec())
    assert spec_for("", own) == toy_spec() and spec_for("", own).folder is None
    assert spec_for("cartpole", own) == CARTPOLE == spec_for("", None)
    shipped = spec_for("", make_bundle(tmp_path / "shipped.zip", CARTPOLE))
    assert shipped == CARTPOLE and shipped.folder is not None  # its model lies there
    with pytest.raises(BundleError, match=r"bundle .*none.zip: cannot be read"):
        spec_for("", tmp_path / "none.zip")


def test_what_is_refused_today_and_was_not_is_opened_and_does_not_act(tmp_path: Path) -> None:
    """STAND would begin from where the robot was when it last spoke; its experience is none the worse for that."""
    source = {"topic": "arm", "type": "sensor_msgs/msg/JointState", "field": "position", "names": ["a", "b"]}
    plain = msgspec.json.decode(toy_spec().to_json())
    plain["watched"] = [{"name": "place", "shape": [2], "source": source | {"hold": True}}]
    plain["safety"] = {"pose": {"torque": "place"}}
    refused = "safety.pose.torque: place must say where the robot is now"
    with pytest.raises(SpecError, match=f"line 1, field {refused}"):
        parse_spec(msgspec.json.encode(plain).decode())
    old = msgspec.convert(plain, RobotSpec)  # as files are read
    bundle, store = make_bundle(tmp_path / "old.zip", old), tmp_path / "old.sqlite"
    ExperienceStore(store, old).close()
    reader = open_store(store)
    assert reader.spec == old
    reader.close()
    with pytest.raises(BundleError, match=f"old.zip: its robot must not act so: {refused}.*; name the robot by a file"):
        spec_for("", bundle)
    assert read_bundle(bundle, toy_spec()).spec == toy_spec()


def test_evaluate_and_gate_take_the_robot_from_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = msgspec.structs.replace(CARTPOLE, episode=msgspec.structs.replace(CARTPOLE.episode, max_steps=3))
    bundle = str(make_bundle(tmp_path / "b.zip", short))
    assert main(["evaluate", "--bundle", bundle, "--episodes", "1"]) == 0
    assert "cartpole" in capsys.readouterr().out
    assert main(["evaluate", "--bundle", bundle, "--robot", "quadruped"]) == 2
    assert 'name: ours "quadruped", theirs "cartpole"' in capsys.readouterr().err
    ((episode,),) = run_trials("", [Path(bundle)], [0], [(0, Condition(NOMINAL, NOMINAL))], 1)  # the gate
    assert episode.length == 3


def test_a_model_beside_a_file_that_is_not_there_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_spec(place("arm", tmp_path))
    bundle = make_bundle(tmp_path / "b.zip", spec)
    assert main(["evaluate", "--bundle", str(bundle)]) == 2
    assert "give the YAML file of the robot, or the model's whole path" in capsys.readouterr().err


def deploy(bundle: Path, **options: object) -> Options:
    given = {"sim": False, "clock": "realtime", "learner": "", "bundle": str(bundle), **options}
    return Options(**given)  # type: ignore[arg-type]


def test_deploy_needs_nothing_but_the_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", toy_spec())
    (node,) = processes(deploy(bundle))
    assert node.parameters is not None and node.parameters["robot"] == ""
    (node,) = processes(deploy(bundle, learner="tcp://192.0.2.1:5757"))
    assert node.parameters is not None and str(node.parameters["logdir"]).endswith("robot-toy")
    with pytest.raises(ValueError, match="robot: expected a name or a file, found nothing"):
        deploy(bundle, sim=True)
    assert Options().spec == "cartpole"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"robot": "hexapod"}, "unknown robot 'hexapod'"),
        ({"preset": "dreamer_v9"}, "dreamer_v9"),
        ({"overrides": ("model.depp=1",)}, "depp"),
        ({"overrides": ("seed=1",)}, "the seed has an option of its own"),
        ({"robot": "diff_drive_camera", "clock": "realtime"}, "simulation"),
        ({"bind": "tcp://0.0.0.0:5757"}, "no keys were given"),
        ({"learner_keys": "/nowhere"}, "/nowhere"),
        ({"learner": "tcp://192.0.2.1:5757", "keys": "/nowhere.json"}, "/nowhere.json"),
        ({"learner": "tcp://192.0.2.1:5757"}, "no keys were given"),
    ],
)
def test_what_a_program_would_refuse_is_refused_before_any_starts(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        require_startable(Options(**options))  # type: ignore[arg-type]


def test_a_robot_that_ships_is_built_by_its_program_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any starts it would take seconds, for which all would wait; a file of one's own is worth them."""
    built = []
    monkeypatch.setattr("sim.robot.SimRobot", lambda spec, seed: built.append(spec.name))
    require_startable(Options())
    assert built == []
    mine = tmp_path / "mine.yaml"
    mine.write_text((ROBOTS_DIRECTORY / "cartpole.yaml").read_text())
    require_startable(Options(robot=str(mine)))
    assert built == ["cartpole"]


def test_what_can_start_is_not_refused(tmp_path: Path) -> None:
    (handout,) = create(tmp_path / "keys", ["arm1"])
    require_startable(Options(bind="tcp://0.0.0.0:5757", learner_keys=str(tmp_path / "keys"), keys=str(handout)))
    require_startable(deploy(make_bundle(tmp_path / "b.zip", toy_spec())))
