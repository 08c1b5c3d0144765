"""Atari and Crafter: prepared as the published scores were, described by a RobotSpec."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from robot_dreamer.environment import Environment, TimeStep
from robot_dreamer.spec import SpecError
from sim import atari_environment, crafter_environment
from sim.environments import make_environment


def act(number: int) -> dict[str, NDArray[np.float64]]:
    return {"action": np.array([number], np.float64)}


def play(environment: Environment, steps: int, seed: int = 0) -> list[TimeStep]:
    """One episode, or its first steps, with random actions."""
    rng, classes = np.random.default_rng(seed), len(environment.spec.actions[0].values)
    rows = [environment.reset()]
    while not rows[-1].is_last and len(rows) <= steps:
        rows.append(environment.step(act(int(rng.integers(classes)))))
    return rows


def same(ours: list[TimeStep], theirs: list[TimeStep]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(
        a.reward == b.reward and np.array_equal(a.observation["image"], b.observation["image"]) for a, b in pairs
    )


def test_atari_shows_the_larger_of_the_last_two_frames_of_an_action() -> None:
    ale_py = pytest.importorskip("ale_py")
    image = pytest.importorskip("PIL.Image")
    environment = make_environment("atari:space_invaders", seed=5, action_repeat=4)
    assert environment.spec.name == "atari_space_invaders" and environment.spec.rate == 15.0
    assert [(o.name, o.shape, o.dtype) for o in environment.spec.observations] == [("image", (64, 64, 3), "uint8")]
    assert environment.spec.actions[0].values == tuple((float(i),) for i in range(6))  # of 18
    game = ale_py.ALEInterface()
    game.setInt("random_seed", 5)
    game.setFloat("repeat_action_probability", 0.0)
    game.loadROM(ale_py.roms.get_rom_path("space_invaders"))
    game.reset_game()
    for _ in range(np.random.default_rng(5).integers(31)):
        game.act(0)
    environment.reset()
    differed = 0
    for number in [1, 3, 1, 4, 5, 2, 0, 1] * 4:
        reward, screens = 0.0, []
        for _ in range(4):
            reward += game.act(game.getMinimalActionSet()[number])
            screens.append(game.getScreenRGB())
        shown = environment.step(act(number))
        expected = image.fromarray(np.maximum(*screens[-2:])).resize((64, 64), image.Resampling.BILINEAR)
        assert np.array_equal(shown.observation["image"], np.asarray(expected))
        assert shown.reward == reward
        differed += int((screens[-1] != screens[-2]).any())
    assert differed > 0


def test_atari_ends_with_the_game_not_with_a_life() -> None:
    pytest.importorskip("ale_py")
    environment = make_environment("atari:breakout", seed=0, action_repeat=4)
    lives = {5}
    rows = [environment.reset()]
    rng = np.random.default_rng(0)
    while not rows[-1].is_last:
        rows.append(environment.step(act(int(rng.integers(4)))))
        lives.add(environment._game.lives())  # type: ignore[attr-defined]
    assert lives == {0, 1, 2, 3, 4, 5}
    assert rows[-1].is_terminal and not any(row.is_terminal for row in rows[:-1])
    with pytest.raises(RuntimeError, match="reset first"):
        environment.step(act(0))
    assert not environment.reset().is_last


def test_the_limit_of_frames_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ale_py")
    monkeypatch.setattr(atari_environment, "_FRAMES", 42)
    environment = make_environment("atari:pong", seed=0, action_repeat=4)
    assert environment.spec.episode.max_steps == 11
    rows = play(environment, 100)
    assert len(rows) == 12 and rows[-1].is_last and not rows[-1].is_terminal


def test_crafter_ends_terminally_only_with_death(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("crafter")
    environment = make_environment("crafter:reward", seed=0)
    assert environment.spec.episode.max_steps == 10_000 and len(environment.spec.actions[0].values) == 17
    rows = play(environment, 2000)
    assert rows[0].observation["image"].shape == (64, 64, 3) and rows[0].observation["image"].dtype == np.uint8
    assert rows[-1].is_last and rows[-1].is_terminal  # who acts at random starves
    assert any(row.reward > 0 for row in rows) and any(row.reward < 0 for row in rows)
    with pytest.raises(RuntimeError, match="reset first"):
        environment.step(act(0))
    monkeypatch.setattr(crafter_environment, "_STEPS", 20)
    rows = play(make_environment("crafter:noreward", seed=0), 100)
    assert len(rows) == 21 and rows[-1].is_last and not rows[-1].is_terminal
    assert not any(row.reward for row in rows)


@pytest.mark.parametrize(("package", "name"), [("ale_py", "atari:seaquest"), ("crafter", "crafter:reward")])
def test_same_seed_same_episode(package: str, name: str) -> None:
    pytest.importorskip(package)
    first, second, other = (play(make_environment(name, seed), 15) for seed in (3, 3, 4))
    assert same(first, second) and not same(first, other)


def test_unknown_games_are_refused() -> None:
    pytest.importorskip("ale_py")
    with pytest.raises(SpecError, match="unknown atari game 'tetris64'; known: .*pong"):
        make_environment("atari:tetris64", seed=0)
    with pytest.raises(SpecError, match="unknown crafter task 'x'; known: reward, noreward"):
        make_environment("crafter:x", seed=0)


DIGEST = """
import hashlib, sys
import numpy as np
ballast = [object() for _ in range(int(sys.argv[1]))]
from sim.environments import make_environment
environment, chance, digest = make_environment("crafter:reward", seed=3), np.random.default_rng(0), hashlib.sha256()
step = environment.reset()
for _ in range(1000):
    digest.update(step.observation["image"].tobytes() + np.float64(step.reward).tobytes())
    step = environment.reset() if step.is_last else environment.step({"action": np.array([chance.integers(17)])})
print(digest.hexdigest())
"""


def test_one_seed_of_crafter_is_one_world_in_any_process() -> None:
    pytest.importorskip("crafter")
    lines = [[sys.executable, "-c", DIGEST, str(ballast)] for ballast in (0, 12_345, 777_777)]
    found = {subprocess.run(line, capture_output=True, text=True, check=True).stdout for line in lines}
    assert len(found) == 1 and len(found.pop().strip()) == 64
