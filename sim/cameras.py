"""Cameras of a simulated robot: what picture each image topic shows, in colour, grey, or as depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, SpecError
from robot_dreamer.spec.source import IMAGE
from sim.physics import make_room
from sim.sensors import topics_of
from sim.simulation import Simulation
from sim.units import require_known
from sim.worlds import World

_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma


@dataclass(frozen=True, slots=True)
class View:
    """The picture of one topic, as its camera shows it, before any crop.

    Attributes:
      camera: its index in the model.
      channels: 3 of colours, 1 of grey and of depth.
      depth: it shows distances along the camera's axis, m, as float32.
    """

    camera: int
    height: int
    width: int
    channels: int
    depth: bool

    def take(self, world: World) -> NDArray[Any]:
        """The picture now, [height, width, channels]. Raises CannotRender."""
        if self.depth:
            return world.depth(self.camera, self.height, self.width)
        picture = world.render(self.camera, self.height, self.width)
        return picture if self.channels == 3 else np.rint(picture @ _GRAY).astype(np.uint8)[..., None]


def camera_views(spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel) -> dict[str, View]:
    """The view of each image topic, for which the model gets the room.

    Raises:
      SpecError: the model lacks a camera, or the observations of one topic want different pictures.
    """
    views: dict[str, View] = {}
    names = [model.camera(i).name for i in range(model.ncam)]
    for topic, observations in topics_of(spec, IMAGE).items():
        sizes = {o.picture.size if o.picture else o.shape[:2] for o in observations}
        if len(sizes) > 1:
            raise SpecError(f"topic {topic!r}: its observations must have one picture size, found {sorted(sizes)}")
        depth = {bool(o.range) for o in observations}
        if len(depth) > 1:
            raise SpecError(f"topic {topic!r}: it shows depth (observations with a range) or colours, not both")
        camera = simulation.cameras.get(topic, 0)
        known = list(range(model.ncam)) if isinstance(camera, int) else names
        require_known("camera", [camera], known, f"topic {topic!r}")
        index = camera if isinstance(camera, int) else names.index(camera)
        height, width = sizes.pop()
        make_room(model, height, width)
        views[topic] = View(index, height, width, max(o.shape[2] for o in observations), depth.pop())
    return views
