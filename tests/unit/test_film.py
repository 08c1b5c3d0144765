"""Films: a picture for each tick, of robots without eyes too; and what the policy sees beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from export.exporter import BundleExporter
from export.reconstruct import reconstructor
from robot_dreamer.cli import main
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.record import Arrays
from robot_dreamer.spec import load_spec
from robot_dreamer.world_model.rssm import Latents
from tests.onboard_models import make_bundle
from tests.pictures import taking_pictures
from tests.unit.test_trainer import make, train

pytest.importorskip("dm_control")
from sim.evaluate import evaluate
from sim.film import EYE, HEIGHT, SIDE, WIDTH, Film

CARTPOLE = load_spec("cartpole")
SHORT = msgspec.structs.replace(CARTPOLE, episode=msgspec.structs.replace(CARTPOLE.episode, max_steps=6))


def test_a_film_has_a_picture_for_each_tick_of_the_first_episode(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v2", reason="needs the extra film")
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra film")
    bundle = make_bundle(tmp_path / "toy.bundle", SHORT, version=7)
    with taking_pictures(), Film(tmp_path / "out.mp4", SHORT) as film:
        found = evaluate(bundle, SHORT, episodes=2, film=film)
    assert found.lengths == [6, 6]
    reader = imageio.get_reader(tmp_path / "out.mp4")
    pictures = np.stack([picture for picture in reader])  # list() would ask for its length
    assert pictures.shape == (6 + 1, HEIGHT, WIDTH, 3)
    assert pictures[..., :300, :].std() > 10  # the robot, rendered, though it has no camera
    assert np.abs(pictures[0].astype(int) - pictures[-1]).max() > 50


def test_without_ffmpeg_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert main(["evaluate", "--episodes", "1", "--video", str(tmp_path / "out.mp4")]) == 2
    assert "pip install 'robot_dreamer[film]'" in capsys.readouterr().err
    assert main(["evaluate", "--episodes", "1", "--checkpoint", str(tmp_path)]) == 2
    assert "--checkpoint: only with --video and --bundle" in capsys.readouterr().err


@pytest.mark.usefixtures("traced_once")
def test_a_state_becomes_what_the_model_says_of_it(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 60)
    trainer.save()
    rssm = trainer.agent.parts.world.rssm
    state = {"deter": np.full((1, rssm.deter), 0.3, np.float32), "stoch": np.zeros((1, *rssm.latent.shape), np.float32)}
    bundle = tmp_path / "a.zip"
    BundleExporter(trainer.agent.policy_step(), trainer.spec, trainer.config).export(bundle, 1, 1)
    found = reconstructor(tmp_path, trainer.spec, bundle)(state)
    with torch.no_grad():
        tensors = Latents(*(torch.from_numpy(state[name]) for name in ("deter", "stoch")))
        expected = trainer.agent.parts.modules["world_model"].readout(tensors).observation
    assert found.keys() == {o.name for o in trainer.spec.observations}
    assert all(np.allclose(found[name], value[0].numpy(), atol=1e-6) for name, value in expected.items())


def test_a_checkpoint_of_another_generation_is_refused_and_both_are_named(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 60)
    trainer.save()
    spec, bundle = trainer.spec, tmp_path / "a.zip"
    config = load_config(
        "planet:cpu", ["planner.candidates=4", "planner.elites=2", "planner.horizon=2", "planner.iterations=1"]
    )
    other = Agent(spec.observation_space(), spec.action_space(), config)
    BundleExporter(other.policy_step(), spec, config).export(bundle, 1, 1)
    with pytest.raises(ValueError, match=r"checkpoint .* is of 'nano.*bundle .*a.zip of 'planet:cpu planner"):
        reconstructor(tmp_path, spec, bundle)


@pytest.fixture
def film(tmp_path: Path) -> Iterator[Film]:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra film")
    with Film(tmp_path / "out.mp4", SHORT) as made:
        for values in made._traces.values():
            values += [0.0, 1.0]
        yield made


ROBOT = np.zeros((SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("cameras", range(6))
def test_what_is_observed_leaves_room_for_what_the_policy_thinks(film: Film, cameras: int) -> None:
    eyes: Arrays = {f"eye_{i}": np.full((64, 64, 3), 200, np.uint8) for i in range(cameras)}
    bare = np.asarray(film._frame(ROBOT, {}, {}))
    full = np.asarray(film._frame(ROBOT, eyes | {"joints": np.arange(30, dtype=np.float32)}, eyes))
    assert np.array_equal(full[SIDE:], bare[SIDE:])
    shown = (full[:, SIDE + 8 :] == 200).all(-1).any(1).sum()
    assert shown >= 40 * cameras


def test_a_picture_keeps_its_shape(film: Film) -> None:
    wide = np.full((48, 96, 1), 200, np.uint8)
    here = (np.asarray(film._frame(ROBOT, {"eye": wide}, {}))[:, SIDE:] == 200).all(-1)
    assert (here.any(1).sum(), here.any(0).sum()) == (EYE // 2, EYE)


def test_a_reconstructed_history_stands_beside_the_newest_reading(film: Film) -> None:
    seen = {"angle": np.array([1.0, 1.0, 3.0], np.float32)}  # of three ticks, the newest last
    film._frame(ROBOT, {"angle": np.array([1.0], np.float32)}, seen)
    frame = film._frame(ROBOT, {"angle": np.array([3.0], np.float32)}, seen)
    bars = (np.asarray(frame)[20:48, SIDE + 8 :] == (230, 159, 0)).all(-1)
    assert bars.any(0).sum() > 200  # of 237 pixels: as high as was observed
