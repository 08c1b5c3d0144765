"""Pictures that no network takes are refused when a robot's file is loaded, by the very rule of the encoder."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from robot_dreamer.config import load_config
from robot_dreamer.spec import SpecError, load_spec
from robot_dreamer.spec.robot import ROBOTS_DIRECTORY
from robot_dreamer.world_model.encoder import Encoder
from robot_dreamer.world_model.fields import fields_of

CARTPOLE = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text(encoding="utf-8")


def with_cameras(folder: Path, *sizes: tuple[int, int]) -> Path:
    entries = "".join(
        f"  - {{name: camera{i}, shape: [{h}, {w}, 3], dtype: uint8, "
        f"source: {{topic: c{i}, type: sensor_msgs/msg/Image, field: data}}}}\n"
        for i, (h, w) in enumerate(sizes)
    )
    path = folder / "robot.yaml"
    path.write_text(CARTPOLE.replace("observations:\n", f"observations:\n{entries}"), encoding="utf-8")
    return path


@pytest.mark.parametrize("side", [1, 16, 32, 47, 48, 49, 64, 80, 84, 96, 128, 240, 256, 272, 512])
@pytest.mark.parametrize("across", [False, True])
def test_a_size_is_refused_at_load_if_the_encoder_refuses_it(side: int, across: bool, tmp_path: Path) -> None:
    size = (64, side) if across else (side, 64)
    space = gymnasium.spaces.Dict({"camera": gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)})
    model = load_config("nano").model
    try:
        Encoder(fields_of(space), model)
    except ValueError:
        with pytest.raises(
            SpecError, match=rf"line 6, field observations\[0\].shape: no network learns from {size[0]} x"
        ):
            load_spec(with_cameras(tmp_path, size))
    else:
        load_spec(with_cameras(tmp_path, size))


def test_two_cameras_of_different_size_are_refused(tmp_path: Path) -> None:
    load_spec(with_cameras(tmp_path, (64, 64), (64, 64)))
    with pytest.raises(SpecError, match="expected 64 x 64 as camera0 has, found 96 x 96"):
        load_spec(with_cameras(tmp_path, (64, 64), (96, 96)))
