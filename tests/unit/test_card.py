"""The model card: what a run's files say, in the form that the hub reads, and what they do not say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robot_dreamer import plain_yaml
from robot_dreamer.cli import main
from robot_dreamer.durable import sha256_of
from robot_dreamer.onboard.verdict import Verdict, write_verdict
from robot_dreamer.report.page import write_report
from robot_dreamer.report.run_files import read_run
from robot_dreamer.spec import load_spec
from tests.made_up_runs import make_run, write_lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "seed-0")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of what is small of it."""
    copy = tmp_path / "seed-0"
    (copy / "bundles").mkdir(parents=True)
    for path in finished.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    return copy


def written(run: Path, *options: str) -> tuple[dict[str, object], str]:
    """Front matter and text of the card."""
    assert main(["card", str(run), *options]) == 0
    _, front, text = (run / "README.md").read_text().split("---\n", 2)
    found = plain_yaml.read(front).value
    assert isinstance(found, dict)
    return found, text


def verdict(bundle: Path, passed: bool) -> Verdict:
    failed = () if passed else ("nominal: mean return below 500",)
    return Verdict(
        passed=passed,
        bundle_sha256=sha256_of(bundle),
        robot="cartpole",
        spec_hash="0" * 64,
        criteria_sha256="0" * 64,
        failed=failed,
        program="0",
        created="2026-01-02T03:04:05+00:00",
    )


def test_what_the_files_say_stands_in_it(run: Path) -> None:
    front, text = written(run, "--license", "apache-2.0")
    assert front["license"] == "apache-2.0" and front["pipeline_tag"] == "reinforcement-learning"
    (result,) = front["model-index"][0]["results"]  # type: ignore[index]
    assert result["metrics"][0]["value"] == 25.0 and result["dataset"]["name"] == "cartpole"
    spec = load_spec("cartpole")
    status = json.loads((run / "status.json").read_text())
    for expected in (
        spec.hash,
        "| this policy | 25 | 24 to 26 |",
        "| random actions | 9 | unknown |",
        f"| rows | {status['env_steps']:,} |",
        f"| robot minutes | {status['env_steps'] / spec.rate / 60:.1f} |",
        "| episodes | 12 |",
        "| robots | left |",
        "```\nrobot-dreamer train --preset nano\n```",
        "| seed | 0 |",
        "No verdict: `robot-dreamer gate` has not been run",
        "no bundle of it has passed the gate",
        "Another training seed: this is one run",
        "\napache-2.0\n",
    ):
        assert expected in text, expected


def test_a_reward_that_is_an_expression_is_shown(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    names = [o["name"] for o in content["spec"]["observations"]]
    content["spec"]["reward"] = {"expression": f"-{names[0]}[0]"}
    (run / "run.json").write_text(json.dumps(content))
    assert f"| reward | `-{names[0]}[0]` |" in written(run)[1]


def test_gate_verdicts_of_its_bundles_stand_in_it(run: Path) -> None:
    good, bad, other = (run / "bundles" / f"{name}.zip" for name in ("good", "bad", "other"))
    for path in (good, bad, other):
        path.write_text(path.name)
        write_verdict(path, verdict(path, passed=path != bad))
    other.write_text("changed since")
    _, text = written(run)
    assert "`good.zip` passed (2026-01-02T03:04:05+00:00)" in text
    assert "`bad.zip` did not pass: nominal: mean return below 500" in text
    assert "`other.zip` is not the bundle that was tried" in text
    assert "has passed the gate" not in text
    good.unlink()  # as training does with old ones: it has passed all the same
    _, text = written(run)
    assert "`good.zip` passed (2026-01-02T03:04:05+00:00); its file is no longer there" in text
    assert "has passed the gate" not in text
    good.write_text("another")
    assert "no bundle of it has passed the gate" in written(run)[1]


def test_other_seeds_of_a_sweep_stand_in_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"values": {"0": 10.0, "1": 14.0, "2": 12.0}, "interquartile_mean": 12.0, "interval": [10.5, 13.5]}
    (run.parent / "sweep.json").write_text(json.dumps(values))
    _, text = written(run)
    assert "Over 3 training seeds: interquartile mean 12, 95 % 10.5 to 13.5." in text
    assert "Another training seed" not in text
    monkeypatch.chdir(run)
    assert written(Path("."))[1] == text
    values["values"] |= {"3": None, "4": None}
    (run.parent / "sweep.json").write_text(json.dumps(values))
    told = "Over 3 training seeds: interquartile mean 12, 95 % 10.5 to 13.5; 2 more came to no return."
    assert told in written(run)[1]
    del values["values"]["0"]
    (run.parent / "sweep.json").write_text(json.dumps(values))
    assert "training seeds" not in written(run)[1]  # it says nothing of this one


def test_an_evaluation_from_before_the_run_went_on_is_not_told_as_of_today(run: Path) -> None:
    front, _ = written(run)
    assert "model-index" in front
    (run / "bundles" / "bundle-00000099.zip").write_bytes(b"")
    (run / "film.mp4").write_bytes(b"film")
    content = json.loads((run / "evaluation.json").read_text())
    for noted in ({"newest_bundle": 99}, {"evaluation": content["evaluation"] | {"version": 97}}):  # an older version
        (run / "evaluation.json").write_text(json.dumps(content | noted))
        assert "model-index" in written(run)[0] and "ZmlsbQ==" in write_report(run).read_text()
    (run / "evaluation.json").write_text(json.dumps(content | {"newest_bundle": 98}))
    front, text = written(run)
    assert "model-index" not in front and "Not evaluated" in text
    (sentence,) = [x for x in read_run(run).missing if "evaluation.json" in x]
    assert "of the run before it went on" in sentence
    page = write_report(run).read_text()
    assert "film.mp4: of the run before it went on" in page and "ZmlsbQ==" not in page


def test_what_is_not_known_is_said_to_be(run: Path) -> None:
    for name in ("evaluation.json", "status.json", "commands.jsonl", "run.json"):
        (run / name).unlink()
    write_lines(run / "episodes.jsonl", [])
    front, text = written(run)
    assert front["license"] == "unknown" and "model-index" not in front
    for expected in (
        "do not say for which robot",
        "Not evaluated",
        "| rows | ? |",
        "The commands were not written down",
        "no evaluation was made",
        "Not stated.",
    ):
        assert expected in text, expected


def test_wrong_input_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(tmp_path / "nowhere")]) == 2
    assert "expected the log directory of a run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["card", str(run), "--license", "My own: see below"])
    assert "is no identifier of a licence" in capsys.readouterr().err
    (run / "bundles" / "x.zip.gate.json").write_text("{}")
    assert main(["card", str(run)]) == 2 and "x.zip.gate.json is no verdict" in capsys.readouterr().err


def test_the_hub_reads_the_card(run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    written(run, "--license", "mit")
    data = hub.ModelCard.load(run / "README.md").data
    assert data.license == "mit" and data.library_name == "robot_dreamer"
    assert [(r.metric_type, r.metric_value) for r in data.eval_results] == [("mean_reward", 25.0)]


def test_episodes_that_failed_are_told_on_card_and_page(run: Path) -> None:
    content = json.loads((run / "evaluation.json").read_text())
    assert "simulation lost itself" not in written(run)[1] + write_report(run).read_text()
    content["evaluation"] |= {"failed": 2, "failed_seeds": [1003, 1007]}
    content["random"] |= {"failed": 1}  # an older version did not say which
    (run / "evaluation.json").write_text(json.dumps(content))
    told = "the simulation lost itself: 2 of this policy (seeds 1003, 1007), 1 of random actions (seeds ?)"
    assert told in written(run)[1] and told in write_report(run).read_text()


def test_a_table_is_not_broken_by_what_stands_in_it(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    content["machine"] = "one | two\nthree"
    (run / "run.json").write_text(json.dumps(content))
    assert re.search(r"^\| machine \| one \\\| two three \|$", written(run)[1], re.MULTILINE)
