"""Pictures: areas are averaged, the crop is where it should be, and what is not as the spec says is named."""

from __future__ import annotations

import numpy as np
import pytest

from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.onboard.pictures import fit_picture
from robot_dreamer.spec import ObservationSpec, Picture, Source

GENERATOR = np.random.default_rng(0)


def random_picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return GENERATOR.integers(0, 256, (height, width, channels), np.uint8)


def test_whole_areas_are_their_mean() -> None:
    pixels = random_picture(12, 20)
    expected = pixels.reshape(4, 3, 5, 4, 3).mean((1, 3))
    assert np.abs(fit_picture(pixels, (4, 5, 3), Picture((12, 20))) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("many", "few"), [((7, 9), (3, 4)), ((480, 640), (64, 64)), ((65, 64), (64, 64))])
def test_pixels_on_a_border_count_by_their_shares(many: tuple[int, int], few: tuple[int, int]) -> None:
    """Repeat every pixel so often that each area is whole, and take the mean."""
    pixels = random_picture(*many, channels=1)
    fine = pixels[:, :, 0].astype(float)
    for axis in (0, 1):
        fine = fine.repeat(few[axis], axis)
        shape = [*fine.shape[:axis], few[axis], many[axis], *fine.shape[axis + 1 :]]
        fine = fine.reshape(shape).mean(axis + 1)
    found = fit_picture(pixels, (*few, 1), Picture(many))[:, :, 0]
    assert np.abs(found - fine).max() <= 0.5 + 1e-3


def test_crop() -> None:
    pixels = random_picture(10, 20)
    np.testing.assert_array_equal(fit_picture(pixels, (4, 6, 3), Picture((10, 20), (2, 5, 4, 6))), pixels[2:6, 5:11])
    shrunk = fit_picture(pixels, (2, 3, 3), Picture((10, 20), (2, 5, 4, 6)))
    np.testing.assert_array_equal(shrunk, np.rint(pixels[2:6, 5:11].reshape(2, 2, 3, 2, 3).mean((1, 3))))


def test_colour_becomes_grey() -> None:
    pixels = np.zeros((1, 4, 3), np.uint8)
    pixels[0, :3] = np.eye(3) * 100
    pixels[0, 3] = 255
    np.testing.assert_array_equal(fit_picture(pixels, (1, 4, 1), None)[0, :, 0], [30, 59, 11, 255])


def image(shape: tuple[int, int, int], picture: Picture | None = None) -> ObservationSpec:
    return ObservationSpec("image", shape, Source("c", "sensor_msgs/msg/Image", "data"), "uint8", picture=picture)


def test_what_is_not_as_the_spec_says_is_named() -> None:
    small = image((4, 5, 3), Picture((12, 20)))
    assert encode_observation(small, random_picture(12, 20)).shape == (4, 5, 3)
    with pytest.raises(ObservationError, match="observation image: expected a picture of 20x12, found 5x4"):
        encode_observation(small, random_picture(4, 5))
    with pytest.raises(ObservationError, match="observation image: expected a picture of 5x4, found 20x12"):
        encode_observation(image((4, 5, 3)), random_picture(12, 20))
    with pytest.raises(ObservationError, match="observation image: expected colours, found a grey picture"):
        encode_observation(small, random_picture(12, 20, 1))


def test_joints_in_the_drivers_units() -> None:
    source = Source("j", "sensor_msgs/msg/JointState", "position", ("a", "b"))
    degrees = ObservationSpec("angle", (4,), source, encoding="cos_sin", scale=(np.pi / 180, -1.0), offset=(0.0, 1.0))
    found = encode_observation(degrees, np.array([60.0, 1.0]))
    np.testing.assert_allclose(found, [0.5, np.sqrt(0.75), 1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(degrees.to_message(degrees.from_message(np.array([60.0, 1.0]))), [60.0, 1.0])
