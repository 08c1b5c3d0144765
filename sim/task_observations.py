"""What dm_control's tasks observe, as arrays on topics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, SpecError
from robot_dreamer.spec.source import NUMBERS
from sim.simulation import Simulation
from sim.units import Units, require_known
from sim.worlds import World


class TaskObservations:
    """Reads the topics of `simulation.task_observations`.

    Raises:
      SpecError: the task does not observe that, or more or fewer numbers than the spec names.
    """

    def __init__(self, spec: RobotSpec, simulation: Simulation, world: World) -> None:
        self._world, self._named = world, simulation.task_observations
        shown = self._world.observe() if self._named else {}
        require_known("observation of its task", self._named.values(), shown, "simulation.task_observations")
        self._units: dict[str, Units] = {}
        for topic, name in self._named.items():
            readers = [o for o in spec.quantities if (o.source.topic, o.source.type) == (topic, NUMBERS)]
            for o in readers:
                if len(o.source.names) != len(shown[name]):
                    raise SpecError(
                        f"array {topic!r}: observation {o.name!r} names {len(o.source.names)} numbers, the task's "
                        f"{name} has {len(shown[name])}"
                    )
            if readers:
                self._units[topic] = Units(readers, list(readers[0].source.names), topic)

    def read(self) -> dict[str, NDArray[np.float64]]:
        """Numbers by topic, in the driver's units."""
        if not self._units:
            return {}
        shown = self._world.observe()
        return {topic: units.driver("data", shown[self._named[topic]]) for topic, units in self._units.items()}
