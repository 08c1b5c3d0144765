"""The border to Gymnasium: what comes in is checked, copied and named, what goes out is within the space."""

from __future__ import annotations

import math
import traceback
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("mujoco")
from robot_dreamer.environment import EnvironmentFailed, EpisodeBroken
from robot_dreamer.spec import SpecError
from tests.gym_worlds import commands, told

BOX = spaces.Box(-10, 10, (3,), np.float64)
GREY, RGB = np.arange(64 * 64) % 251, np.arange(64 * 64 * 3) % 251
IMAGE = RGB.reshape(64, 64, 3).astype(np.uint8)
ALPHA = np.concatenate([IMAGE, np.full((64, 64, 1), 7, np.uint8)], 2)


def byte_box(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"x": x}, lambda x: (x, np.zeros(1))])
def test_what_leaves_the_adapter_is_the_callers_own(wrap: Any) -> None:
    """An environment that updates one vector in place."""
    buffer = np.zeros(3, np.float32)
    space: spaces.Space[Any] = {
        0: spaces.Box(-10, 10, (3,)),
        1: spaces.Dict({"x": spaces.Box(-10, 10, (3,))}),
        2: spaces.Tuple([spaces.Box(-10, 10, (3,)), spaces.Box(-1, 1, (1,), np.float64)]),
    }[0 if isinstance(wrap(1), int) else 1 if isinstance(wrap(1), dict) else 2]
    environment, _ = told(space, show=lambda step: wrap(buffer))
    before = environment.reset()
    buffer += 1
    after = environment.step(commands(environment))
    (name, *_) = before.observation
    assert before.observation[name].tolist() == [0, 0, 0] and after.observation[name].tolist() == [1, 1, 1]


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :, :1]])
def test_pictures_are_copied_too(image: Any) -> None:
    shown = image.copy()
    environment, _ = told(byte_box(*image.shape), show=lambda step: shown)
    before = environment.reset().observation["observation"]
    shown[:] = 0
    assert np.array_equal(before, image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_commands_stay_within_bounds_to_the_last_bit(dtype: Any) -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        low = (chance.standard_normal(3) * 10.0 ** chance.integers(-6, 6)).astype(dtype)
        high = (low + np.abs(chance.standard_normal(3)) + 1e-3).astype(dtype)
        environment, world = told(BOX, spaces.Box(low, high, dtype=dtype), show=lambda step: np.zeros(3))
        environment.reset()
        for action in (-1.0, 1.0, 0.3):
            environment.step(commands(environment, action))  # the world asserts that its space contains it


def test_the_example_of_one_rounding() -> None:
    environment, world = told(BOX, spaces.Box(-0.1, 0.3, (1,), np.float64))
    environment.reset()
    environment.step(commands(environment, 1.0))
    assert world.taken[0].tolist() == [0.3]


@pytest.mark.parametrize(
    "bound", [1e18, 1e30, float(np.finfo(np.float32).max), 1.8e307, float(np.finfo(np.float64).max), np.inf]
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_bounds_that_mean_none_are_refused(bound: float) -> None:
    with pytest.raises(SpecError, match="action 'action': bounds .* so wide that they mean none"):
        told(BOX, spaces.Box(-bound, bound, (2,), np.float64))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize(("low", "high"), [(0, 3), (-2, 2), (-7, -3), (0, 1)])
def test_whole_numbers_have_equal_shares(dtype: Any, low: int, high: int) -> None:
    environment, world = told(BOX, spaces.Box(low, high, (2,), dtype), show=lambda step: np.zeros(3))
    environment.reset()
    grid = np.linspace(-1, 1, 60 * (high - low + 1) + 1)
    for i, action in enumerate(grid):
        if i % 29 == 0:
            environment.reset()
        environment.step(commands(environment, action))
    values, counts = np.unique(np.stack(world.taken)[:, 0], return_counts=True)
    assert values.tolist() == list(range(low, high + 1)) and counts.max() - counts.min() <= 2


@pytest.mark.parametrize(
    ("space", "shown", "expected"),
    [
        (byte_box(64, 64, 3), IMAGE, IMAGE),
        (byte_box(3, 64, 64), np.moveaxis(IMAGE, 2, 0), IMAGE),
        (byte_box(64, 64, 4), ALPHA, IMAGE),
        (byte_box(64, 64), GREY.reshape(64, 64).astype(np.uint8), GREY.reshape(64, 64, 1)),
        (byte_box(1, 64, 64), GREY.reshape(1, 64, 64).astype(np.uint8), GREY.reshape(64, 64, 1)),
        (spaces.Box(0, 1, (64, 64, 3), np.float32), IMAGE / np.float32(255), IMAGE),
        (spaces.Box(0, 1, (3, 64, 64), np.float64), np.moveaxis(IMAGE, 2, 0) / 255, IMAGE),
        (spaces.Box(0, 255, (64, 64, 3), np.float32), IMAGE.astype(np.float32), IMAGE),
        (byte_box(256, 256, 4), np.full((256, 256, 4), 9, np.uint8), np.full((256, 256, 3), 9)),
    ],
    ids=str,
)
def test_pictures_in_every_layout(
    space: spaces.Box, shown: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        environment, _ = told(space, show=lambda step: shown)
    picture = environment.reset().observation["observation"]
    assert picture.dtype == np.uint8 and picture.flags.c_contiguous and np.array_equal(picture, expected)
    assert ("observation 'observation'" in caplog.text) == (
        space.shape != expected.shape or space.dtype == np.float32 and space.high.max() == 1
    )


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (byte_box(4, 84, 84), "four pictures one after the other, or RGBA"),
        (spaces.Box(-1, 1, (200, 200, 3)), "a vector of 120000 numbers, at most 16384"),
        (spaces.Discrete(300_000), "a vector of 300000 numbers"),
        (spaces.MultiBinary(20_000), "a vector of 20000 numbers"),
        (spaces.Box(-1, 1, (0,)), "nothing of its observation can be learned from: observation (Box)"),
        (spaces.Text(5), "nothing of its observation can be learned from: observation (Text)"),
        (spaces.Sequence(BOX), "spaces of type Sequence are not supported"),
    ],
    ids=str,
)
def test_what_remains_huge_or_of_no_use_is_refused(space: spaces.Space[Any], words: str) -> None:
    with pytest.raises(SpecError) as error:
        told(space)
    assert words in str(error.value) and "Told-v0" in str(error.value)


@pytest.mark.parametrize(("height", "width", "side"), [(210, 160, 64), (84, 84, 64), (128, 100, 64), (56, 80, 48)])
def test_a_picture_of_a_size_that_no_network_takes_is_shrunk(
    height: int, width: int, side: int, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with caplog.at_level("INFO"):
        environment, _ = told(byte_box(height, width, 3), show=lambda step: pixels)
    picture = environment.reset().observation["observation"]
    assert picture.shape == environment.spec.observations[0].shape == (side, side, 3)
    assert picture.mean() == pytest.approx(pixels.mean(), abs=1) and picture.std() < pixels.std()
    left, right = picture[:, : side // 2].mean(), picture[:, side // 2 :].mean()
    assert left == pytest.approx(pixels[:, : width // 2].mean(), abs=1)
    assert right == pytest.approx(pixels[:, width // 2 :].mean(), abs=1)
    assert f"is shrunk to {side} x {side}" in caplog.text


def test_a_small_map_is_a_vector() -> None:
    environment, _ = told(byte_box(7, 7, 3), show=lambda step: np.full((7, 7, 3), 200, np.uint8))
    assert environment.reset().observation["observation"].tolist() == [200.0] * 147


FLOATS = IMAGE.astype(np.float32)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (np.full((64, 64, 3), 0.9), "expected whole numbers from 0 to 255, found float64 from 0.9 to 0.9"),
        (np.full((64, 64, 3), -1), "expected a picture in [0, 255], found int64 from -1 to -1"),
        (np.full((64, 64, 3), 263), "found int64 from 263 to 263"),
        (ALPHA, "expected numbers of shape [64, 64, 3], found uint8[64, 64, 4]"),
        ("text", "expected numbers of shape [64, 64, 3], found <U4[]"),
        (None, "expected numbers of shape [64, 64, 3], found object[]"),
    ],
)
@pytest.mark.parametrize("at", [0, 2])
def test_values_outside_a_pictures_type_are_named(shown: Any, words: str, at: int) -> None:
    environment, _ = told(byte_box(64, 64, 3), show=lambda step: shown if step == at else IMAGE)
    with pytest.raises(EnvironmentFailed) as error:
        environment.reset()
        for _ in range(at):
            environment.step(commands(environment))
    for part in (words, "Told-v0", "observation 'observation'", f"step {at}"):
        assert part in str(error.value)


def test_whole_numbers_that_float32_rounds_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    environment, _ = told(spaces.Box(0, 2**40, (1,), np.int64), show=lambda step: np.array([2**24 + step]))
    environment.reset()
    environment.step(commands(environment))
    environment.step(commands(environment))
    assert caplog.text.count("whole numbers above 16777216, which float32 rounds") == 1


@pytest.mark.parametrize("shown", [np.zeros(4), np.zeros((3, 1)), np.zeros(0), 0.0, [1, [2]], {"x": 1}, None, "abc"])
@pytest.mark.parametrize("at", [0, 3])
def test_each_way_to_be_wrong_is_named(shown: Any, at: int) -> None:
    environment, _ = told(BOX, show=lambda step: shown if step == at else np.zeros(3))
    with pytest.raises(EnvironmentFailed, match=rf"Told-v0', observation 'observation': expected .*\[3\].*, step {at}"):
        environment.reset()
        for _ in range(at):
            environment.step(commands(environment))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_breaks_the_episode_by_name(number: float) -> None:
    environment, _ = told(BOX, show=lambda step: np.array([0.0, 0.0, number if step == 2 else 0.0]))
    environment.reset()
    environment.step(commands(environment))
    with pytest.raises(
        EpisodeBroken, match=r"observation 'observation'\[2\]: expected a number that float32 .* step 2"
    ):
        environment.step(commands(environment))
    environment.reset()


REWARDS = [(1, 1.0), (np.array([2.0]), 2.0), (np.array(3), 3.0), (True, 1.0), (np.float32(0.5), 0.5), ([[4]], 4.0)]


@pytest.mark.parametrize(("paid", "expected"), REWARDS)
def test_one_number_in_any_shape_is_a_reward(paid: Any, expected: float) -> None:
    environment, _ = told(BOX, pay=lambda step: paid)
    environment.reset()
    assert environment.step(commands(environment)).reward == expected


@pytest.mark.parametrize("paid", [None, "1", [1, 2], np.zeros(2), {}, 1j])
def test_other_rewards_are_refused_by_name(paid: Any) -> None:
    environment, _ = told(BOX, pay=lambda step: paid)
    environment.reset()
    with pytest.raises(EnvironmentFailed, match="Told-v0', reward of step 1: expected one number, found"):
        environment.step(commands(environment))


@pytest.mark.parametrize("paid", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_breaks_the_episode(paid: float) -> None:
    environment, _ = told(BOX, pay=lambda step: paid)
    environment.reset()
    with pytest.raises(EpisodeBroken, match="reward of step 1: expected a finite number"):
        environment.step(commands(environment))


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, KeyError, RuntimeError, TypeError, ZeroDivisionError])
@pytest.mark.parametrize("method", ["reset", "step", "close"])
def test_an_error_of_the_environment_keeps_its_traceback(kind: type[Exception], method: str) -> None:
    environment, world = told(BOX)

    def broken(*arguments: Any, **options: Any) -> None:
        raise kind("operands could not be broadcast")

    environment.reset()
    setattr(world, method, broken)
    with pytest.raises(EnvironmentFailed, match=f"Told-v0' raised in {method}, step (0|1): {kind.__name__}: ") as error:
        getattr(environment, method)(*([commands(environment)] if method == "step" else []))
    assert isinstance(error.value.__cause__, kind)
    assert "in broken" in "".join(traceback.format_exception(error.value.__cause__))


@pytest.mark.parametrize(("method", "found"), [("reset", np.zeros(3)), ("step", (np.zeros(3), 0.0, False, {}))])
def test_the_interface_of_old_is_named(method: str, found: Any) -> None:
    environment, world = told(BOX)
    environment.reset()
    setattr(world, method, lambda *arguments, **options: found)
    with pytest.raises(EnvironmentFailed, match=f"{method}: expected .*interface before Gymnasium 0.26"):
        getattr(environment, method)(*([commands(environment)] if method == "step" else []))


@pytest.mark.parametrize(
    ("space", "names", "taken"),
    [
        (spaces.MultiDiscrete([3, 1, 2]), ["action_0", "action_2"], [2, 0, 1]),
        (spaces.MultiDiscrete([3, 1], start=[-1, 7]), ["action_0"], [1, 7]),
        (spaces.Box(np.array([0.0, 2.0]), np.array([1.0, 2.0])), ["action"], [1.0, 2.0]),
    ],
    ids=str,
)
def test_what_is_fixed_is_filled_in(space: spaces.Space[Any], names: list[str], taken: list[float]) -> None:
    environment, world = told(BOX, space)
    assert [action.name for action in environment.spec.actions] == names
    environment.reset()
    environment.step(commands(environment, 1.0))
    assert world.taken[0].tolist() == taken


@pytest.mark.parametrize(
    "space", [spaces.Discrete(1), spaces.Box(1, 1, (2,)), spaces.MultiDiscrete([1, 1]), spaces.Dict()], ids=str
)
def test_where_nothing_can_be_chosen_it_is_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(SpecError, match="Told-v0': its actions leave nothing to choose"):
        told(BOX, space)


def test_actions_of_many_entries_go_in_and_out() -> None:
    space = spaces.Dict(
        {
            "arm": spaces.Tuple([spaces.Box(-2, 2, (2,)), spaces.Discrete(3, start=1)]),
            "base": spaces.Dict({"wheels": spaces.Box(0, 4, (1, 2), np.int32), "lamp": spaces.MultiBinary(2)}),
        }
    )
    environment, world = told(BOX, space)
    assert [a.name for a in environment.spec.actions] == ["arm_0", "arm_1", "base_lamp_0", "base_lamp_1", "base_wheels"]
    environment.reset()
    environment.step(commands(environment, 1.0))
    (taken,) = world.taken
    assert taken["arm"][0].tolist() == [2, 2] and taken["arm"][1] == 3
    assert taken["base"]["wheels"].tolist() == [[4, 4]] and taken["base"]["lamp"].tolist() == [1, 1]


def test_text_beside_what_can_be_observed_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    space = spaces.Dict({"image": byte_box(7, 7, 3), "direction": spaces.Discrete(4), "mission": spaces.Text(20)})
    with caplog.at_level("INFO"):
        environment, _ = told(space)
    assert {o.name for o in environment.spec.observations} == {"image", "direction"}
    assert "observation 'mission' is text and is left out" in caplog.text
    environment.reset()


def test_names_are_unique_and_say_what_they_were() -> None:
    long = "a" * 70
    space = spaces.Dict({n: BOX for n in ("位置", "速度", "Speed", "speed", f"{long}1", f"{long}2", "action")})
    environment, _ = told(space, spaces.Box(-1, 1, (1,)))
    names = [o.name for o in environment.spec.observations]
    assert len({*names, "action"}) == 8 and all(len(name) <= 64 for name in names)
    assert names == [o.name for o in told(space, spaces.Box(-1, 1, (1,)))[0].spec.observations]
    with pytest.raises(SpecError, match="observation '位置'"):
        told(spaces.Dict({"位置": spaces.Discrete(10**6)}))


@pytest.mark.parametrize(
    ("dt", "frames", "rate"),
    [
        (0.0005, 10, 1000.0),
        (np.float32(0.02), 10, 50.0),
        (math.inf, 10, 10.0),
        (0.0, 5000, 1000.0),
        (None, np.int64(25), 25.0),
        (True, 0, 1.0),
        (math.nan, None, 1.0),
        (1e-320, 30, 30.0),
    ],
)
def test_rates_of_environments_without_a_clock(
    dt: Any, frames: Any, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim.gym_environment import _rate

    _, world = told(BOX)
    world.dt, world.metadata = dt, {"render_fps": frames}  # type: ignore[attr-defined]
    assert _rate(world, "x") == pytest.approx(rate, rel=1e-6)
