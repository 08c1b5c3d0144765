"""benchmarks/family.py: what it makes of the log directories of runs."""

import json
import sys

import msgspec
import pytest

from benchmarks import family
from robot_dreamer.config import load_config
from robot_dreamer.spec import load_spec
from tests.unit.test_report import status

PLANET, V3 = family.FAMILY[1], family.FAMILY[5]


def finished_run(out, member, seed, returns=(400.0, 500.0)):
    logdir = family.folder_of(out, member, seed)
    logdir.mkdir(parents=True)
    mean = sum(returns) / 2
    found = {"mean": mean, "interval": [min(returns), max(returns)]}
    random = {"mean": 60.0, "interval": [50.0, 70.0]}
    (logdir / "evaluation.json").write_text(json.dumps({"evaluation": found, "random": random}))
    now = status(updates=1234, env_steps=7500, elapsed_s=900.0)
    (logdir / "status.json").write_bytes(msgspec.json.encode(now))
    rows = [{"env_step": 125 * i, "return": 5.0 * i, "policy_version": 1} for i in range(1, 61)]
    (logdir / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return family.read(member, seed, logdir)


def test_every_member_is_a_preset_for_a_robot_that_is_shipped():
    for member in family.FAMILY:
        load_config(member.preset)
        load_spec(member.robot)


def test_the_table_has_a_row_for_each_run_and_one_for_several_seeds(tmp_path):
    outcomes = [finished_run(tmp_path, PLANET, 0), finished_run(tmp_path, PLANET, 1, (600.0, 700.0))]
    outcomes.append(family.Outcome(V3, 0, problem="exit status 1, see cpu_small_seed0/family.log"))
    lines = family.table(outcomes).splitlines()
    assert lines[2] == (
        "| PlaNet | `planet:cpu` | cartpole_slow | 0 | 15.0 | 10 | 1234 | 450 | 400 to 500 | 60 (50 to 70) | yes |"
    )
    assert "2 seeds | | | | 550 | -721 to 1821" in lines[4]
    assert "failed: exit status 1" in lines[5] and lines[5].endswith("| no |")


def test_an_interval_that_meets_the_random_one_is_no_proof(tmp_path):
    assert not finished_run(tmp_path, PLANET, 0, (69.0, 500.0)).learned
    assert finished_run(tmp_path, PLANET, 1, (71.0, 500.0)).learned


def test_the_picture_has_a_panel_for_each_generation_also_for_a_run_that_failed(tmp_path):
    outcomes = [finished_run(tmp_path, PLANET, 0), family.Outcome(V3, 0, problem="it fell")]
    family.draw(tmp_path, outcomes, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("returncode", [0, 3])
def test_a_run_that_fails_is_named_and_one_without_an_evaluation_too(tmp_path, monkeypatch, returncode):
    monkeypatch.setattr(family, "start", lambda command, output: returncode)
    monkeypatch.setattr(sys, "argv", ["family.py", "--only", "planet", "--out", str(tmp_path)])
    assert family.main() == 1
    expected = "exit status 3, see planet_cpu_seed0/family.log" if returncode else "no evaluation in planet_cpu_seed0"
    assert f"failed: {expected}" in (tmp_path / "table.md").read_text()


def test_what_is_finished_is_not_made_again(tmp_path, monkeypatch):
    finished_run(tmp_path, PLANET, 0)
    monkeypatch.setattr(family, "start", lambda command, output: pytest.fail("trained again"))
    monkeypatch.setattr(sys, "argv", ["family.py", "--only", "planet", "--out", str(tmp_path)])
    assert family.main() == 0


def test_a_run_of_fewer_minutes_or_whose_evaluation_is_past_goes_on(tmp_path, monkeypatch):
    finished_run(tmp_path, PLANET, 0)
    asked = []
    monkeypatch.setattr(family, "start", lambda command, output: asked.append(command) or 0)
    words = ["family.py", "--only", "planet", "--out", str(tmp_path), "--minutes"]
    monkeypatch.setattr(sys, "argv", [*words, "20"])
    assert family.main() == 0 and len(asked) == 1
    logdir = family.folder_of(tmp_path, PLANET, 0)
    (logdir / "bundles").mkdir()
    (logdir / "bundles" / "bundle-00000009.zip").touch()
    found = json.loads((logdir / "evaluation.json").read_text())
    (logdir / "evaluation.json").write_text(json.dumps(found | {"newest_bundle": 8}))
    monkeypatch.setattr(sys, "argv", [*words, "15"])
    assert family.main() == 1 and len(asked) == 2


def test_an_evaluation_without_an_interval_is_named(tmp_path):
    finished_run(tmp_path, PLANET, 0)
    file = family.folder_of(tmp_path, PLANET, 0) / "evaluation.json"
    for change in ({"random": None}, {"evaluation": {"mean": 5.0, "interval": None}}):
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        assert "no interval" in family.read(PLANET, 0, file.parent).problem
