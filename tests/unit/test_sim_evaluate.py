"""Evaluation: reproducible by seed, episode by episode, and its exit status means what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.onboard.bundle import BundleError
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.report.console import plain_console
from robot_dreamer.spec import ROBOTS_DIRECTORY, load_spec, parse_spec
from tests.onboard_models import make_bundle, toy_spec

pytest.importorskip("dm_control")
from sim.episode import EpisodeStopped, run_episode
from sim.evaluate import _table, compare, evaluate
from sim.robot import SimRobot
from sim.sensors import Sensors

pytestmark = pytest.mark.usefixtures("proved_here")
TEXT = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
SHORT = TEXT.replace("max_steps: 250", "max_steps: 60")  # ticks of an episode
SPEC = parse_spec(SHORT)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy.bundle", SPEC, version=7)


def test_an_episode_depends_on_its_seed_alone(bundle: Path) -> None:
    for deterministic in (True, False):
        three = evaluate(bundle, SPEC, episodes=3, seed=4, deterministic=deterministic)
        last = evaluate(bundle, SPEC, episodes=1, seed=6, deterministic=deterministic)
        assert three.seeds == [4, 5, 6] and three.returns[2:] == last.returns
        assert len(set(three.returns)) == 3
        assert three.lengths == [SPEC.episode.max_steps] * 3
        assert (three.policy, three.version, three.deterministic) == ("toy.bundle", 7, deterministic)
        assert last.interval is None


def test_sampled_actions_differ_from_mean_actions(bundle: Path) -> None:
    mean, sampled = (evaluate(bundle, SPEC, episodes=1, seed=0, deterministic=d) for d in (True, False))
    assert mean.returns != sampled.returns


def test_random_policy_return_is_the_robots_reward() -> None:
    result = evaluate(None, SPEC, episodes=1, seed=3)
    robot, generator = SimRobot(SPEC, seed=0), np.random.default_rng(3)
    robot.reset(3)
    total = 0.0
    for _ in range(SPEC.episode.max_steps):
        action = generator.uniform(-1.0, 1.0, 1).astype(np.float32)
        total += robot.step({"force": np.float64(action)}).reward
    assert result.returns == [pytest.approx(total)]
    assert (result.policy, result.version, result.deterministic) == ("random", -1, False)


def test_bundle_of_another_robot_is_refused(tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other.bundle", toy_spec())
    with pytest.raises(BundleError, match="toy"):
        evaluate(other, SPEC, episodes=1)


def test_a_fault_of_the_policy_is_an_error_not_a_score(tmp_path: Path) -> None:
    # NaN when the sum of the observations exceeds 5.2: more than in the bundle's recording, less than the cart reaches
    whole = load_spec("cartpole")
    broken = make_bundle(tmp_path / "nan.bundle", whole, nan_above=5.2, gain=0.0)
    with pytest.raises(RuntimeError, match=r"seed \d stopped: .*not finite"):
        evaluate(broken, whole, episodes=10, seed=0, deterministic=False)


def test_a_policy_that_is_stopped_does_not_cost_the_others_their_comparison(tmp_path: Path) -> None:
    whole = load_spec("cartpole")
    broken = make_bundle(tmp_path / "nan.bundle", whole, nan_above=5.2, gain=0.0)
    sound = make_bundle(tmp_path / "sound.bundle", whole)
    said: list[str] = []
    found = compare([broken, sound], whole, 6, 0, deterministic=False, stopped=said.append)
    assert [result.policy for result in found] == ["sound.bundle"]
    assert len(said) == 1 and said[0].startswith("nan.bundle is not evaluated: ")
    assert compare([broken], whole, 6, 0, deterministic=False, stopped=said.append) == []
    with pytest.raises(RuntimeError, match="stopped"):
        compare([broken, sound], whole, 6, 0, deterministic=False)


def test_an_episode_that_is_over_at_its_reset_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the goal is drawn just where the robot stands."""
    robot, asked, over = SimRobot(SPEC, 0), list[int | None](), 2
    reset = robot.reset

    def reset_to_the_goal(seed: int | None = None) -> Sensors:
        asked.append(seed)
        return replace(reset(seed), terminal=len(asked) <= over)

    monkeypatch.setattr(robot, "reset", reset_to_the_goal)
    assert run_episode(robot, RandomPolicy(SPEC, 0), 5, True).length == 60 and asked == [5, None, None]
    over = 99
    with pytest.raises(EpisodeStopped, match="seed 6 stopped: the task was over at its reset, 10 times in a row"):
        run_episode(robot, RandomPolicy(SPEC, 0), 6, True)


def test_command(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "eval.json"
    (tmp_path / "robot.yaml").write_text(SHORT)
    command = ["evaluate", "--robot", str(tmp_path / "robot.yaml"), "--bundle", str(bundle), "--episodes", "2"]
    command += ["--seed", "5", "--against-random"]
    assert main([*command, "--output", str(output), "--min-return", "-1"]) == 0
    shown = capsys.readouterr().out
    assert "bundle " in shown and "random" in shown and "seeds 5 to 6" in shown
    written = json.loads(output.read_text())
    assert written["passed"] is True and written["evaluation"]["seeds"] == written["random"]["seeds"] == [5, 6]
    assert written["evaluation"]["mean"] == pytest.approx(np.mean(written["evaluation"]["returns"]))
    assert written["evaluation"]["spec_hash"] == SPEC.hash


def test_command_fails_below_min_return(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "robot.yaml").write_text(SHORT)
    command = ["evaluate", "--robot", str(tmp_path / "robot.yaml"), "--episodes", "1"]
    assert main([*command, "--min-return", "999"]) == 1
    assert "below --min-return 999" in capsys.readouterr().err


def test_small_returns_keep_digits_that_count(capsys: pytest.CaptureFixture[str]) -> None:
    rare = replace(evaluate(None, SPEC, episodes=2), returns=[0.02, 0.03], mean=0.025, interval=(0.0125, 0.0375))
    plain_console(width=120).print(_table([rare]))
    said = capsys.readouterr().out
    assert all(number in said for number in (" 0.02 ", " 0.03 ", " 0.025 ", "0.0125 to 0.0375"))


def test_no_digit_is_left_out_where_there_is_little_room(capsys: pytest.CaptureFixture[str]) -> None:
    large = replace(evaluate(None, SPEC, episodes=2), returns=[-1.5e12, 2.5e12], mean=5e11, interval=(-2.5e12, 3.5e12))
    plain_console(width=60).print(_table([large]))
    assert "…" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--bundle", "missing.bundle"], ["missing.bundle"]),
        (["--robot", "hexapod"], ["hexapod", "cartpole"]),
        (["--episodes", "0"], ["episodes", "0"]),
        (["--sample"], ["--sample: only with --bundle"]),
        (["--against-random"], ["--against-random: only with --bundle"]),
    ],
)
def test_wrong_arguments(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def test_a_seed_that_nothing_takes_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--seed", "-1"])
    assert "--seed: expected a whole number from 0 to 2147483647, found '-1'" in capsys.readouterr().err


def test_a_robot_that_harms_itself_ends_its_episode_as_on_the_real_one() -> None:
    limits = "safety: {limits: [{observation: cart_position, low: [-0.2], high: [0.2]}]}\n"
    result = evaluate(None, parse_spec(SHORT + limits), episodes=1, seed=3)
    whole = evaluate(None, SPEC, episodes=1, seed=3)
    assert 0 < result.lengths[0] < whole.lengths[0] and result.returns[0] < whole.returns[0]
