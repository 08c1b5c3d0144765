"""bsuite as an environment, and its own scores of what was played."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from robot_dreamer.environment import Environment
from robot_dreamer.spec import SpecError

pytest.importorskip("bsuite")
from sim.environments import make_environment

ROOT = Path(__file__).parents[2]


def play(environment: Environment, episodes: int, choose) -> list[float]:
    """Returns of episodes."""
    found = []
    for _ in range(episodes):
        step, total = environment.reset(), 0.0
        while not step.is_last:
            step = environment.step({"action": np.array([choose(step.observation["observation"])], float)})
            total += step.reward
        found.append(total)
    return found


def catch(board: np.ndarray) -> int:
    """Moves the paddle below the ball."""
    ball, paddle = board.reshape(10, 5)[:-1].sum(0), board.reshape(10, 5)[-1]
    return 1 + int(np.sign(ball.argmax() - paddle.argmax())) if ball.any() else 1


def test_catch_is_played_and_scored_by_bsuite_itself(tmp_path: Path) -> None:
    for name, choose in (("good", catch), ("bad", lambda board: 0)):
        environment = make_environment("bsuite:catch/0", seed=3, records=tmp_path / name / "environment")
        assert environment.spec.observations[0].shape == (50,) and len(environment.spec.actions[0].values) == 3
        returns = play(environment, 40, choose)
        assert (min(returns) == 1.0) == (name == "good")
    scores = {}
    for name in ("good", "bad"):
        command = [sys.executable, str(ROOT / "benchmarks/bsuite_scores.py"), str(tmp_path / name)]
        done = subprocess.run(
            [*command, "--output", str(tmp_path / f"{name}.png")], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("| catch ")]
        scores[name] = float(line.split("|")[2])
        assert "| memory |" not in done.stdout and "| basic |" in done.stdout
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert scores["good"] > 0.95 > 0.5 > scores["bad"]


def test_a_seed_is_an_episode_and_a_terminal_is_told(tmp_path: Path) -> None:
    first, second, other = (make_environment("bsuite:cartpole/0", seed) for seed in (3, 3, 4))
    shown = [environment.reset().observation["observation"] for environment in (first, second, other)]
    assert np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])
    assert play(first, 2, lambda board: 0) == play(second, 2, lambda board: 0)
    step = other.reset()
    while not step.is_last:
        step = other.step({"action": np.zeros(1)})
    assert step.is_terminal
    with pytest.raises(RuntimeError, match="reset first"):
        other.step({"action": np.zeros(1)})


def test_pictures_that_cannot_be_fetched_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_args: object, **_keywords: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(urllib.request, "urlretrieve", no_network)
    monkeypatch.setattr("os.path.isfile", lambda path: False)  # mnist's, from an earlier run
    with pytest.raises(SpecError, match="mnist/0 needs files that bsuite cannot fetch or write: .*no network"):
        make_environment("bsuite:mnist/0", seed=0)


def test_what_bsuite_cannot_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown bsuite id 'catch'; known: .*catch/0 to 19"):
        make_environment("bsuite:catch", seed=0)
    with pytest.raises(SpecError, match="action_repeat 2 is not for bsuite"):
        make_environment("bsuite:catch/0", seed=0, action_repeat=2)
    (tmp_path / "bsuite_id_-_catch-0.csv").write_text("steps\n")
    with pytest.raises(ValueError, match="cannot be resumed; choose another --logdir"):
        make_environment("bsuite:catch/0", seed=0, records=tmp_path)
