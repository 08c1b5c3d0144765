"""From the numbers of a source to an observation array: one function for the robot and for simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.pictures import PictureError, fit_picture
from robot_dreamer.spec import ObservationSpec
from robot_dreamer.spec.observation import IMAGE


class ObservationError(ValueError):
    """Values do not fit the observation; the message names it, what was expected and what was found."""


def encode_observation(spec: ObservationSpec, values: NDArray[Any]) -> NDArray[Any]:
    """Encode the values of `spec.source` as the observation, shape and dtype as in the spec.

    Args:
      spec: the observation.
      values: of a JointState [names] in the order of source.names; of a Float64MultiArray [names]; of an Imu or an
        Odometry [3], or [4] as x, y, z, w; of an Image
        uint8 [height, width, channels], before crop and resize.

    Raises:
      ObservationError: wrong shape or dtype, or a number that is not finite.
    """
    if spec.dtype == "uint8":
        encoded = np.asarray(values)
        if encoded.dtype != np.uint8:
            raise ObservationError(f"observation {spec.name}: expected uint8, found {encoded.dtype}")
        if spec.source.type == IMAGE:
            try:
                encoded = fit_picture(encoded, spec.shape, spec.picture)
            except PictureError as error:
                raise ObservationError(f"observation {spec.name}: {error}") from error
    else:
        encoded = spec.from_message(np.asarray(values, np.float64))
        if spec.encoding == "cos_sin":  # angle by angle: cos, sin, cos, sin, …
            encoded = np.stack([np.cos(encoded), np.sin(encoded)], -1).reshape(-1)
        encoded = encoded.astype(np.float32)
        if not np.isfinite(encoded).all():
            raise ObservationError(f"observation {spec.name}: expected finite numbers, found {values}")
    if encoded.shape != spec.shape:
        raise ObservationError(f"observation {spec.name}: expected {list(spec.shape)}, found {list(encoded.shape)}")
    return encoded
