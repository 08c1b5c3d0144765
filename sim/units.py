"""Numbers as a driver would send them, where observations have a scale and an offset; and names that must be known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import ObservationSpec, SpecError


class Units:
    """Units of one topic's numbers.

    Args:
      observations: those that read the topic.
      names: of its numbers, in order.

    Raises:
      SpecError: two observations give a number different units.
    """

    def __init__(self, observations: Iterable[ObservationSpec], names: list[str], topic: str) -> None:
        known: dict[tuple[str, str], tuple[float, float]] = {}
        for o in observations:
            ones, zeros = (1.0,) * len(o.source.names), (0.0,) * len(o.source.names)
            for name, scale, offset in zip(o.source.names, o.scale or ones, o.offset or zeros, strict=True):
                if known.setdefault((o.source.field, name), (scale, offset)) != (scale, offset):
                    raise SpecError(
                        f"topic {topic!r}: two observations give {o.source.field} of {name} different units"
                    )
        self._changed = [(f, names.index(n), *unit) for (f, n), unit in known.items() if unit != (1.0, 0.0)]

    def driver(self, field: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """A field's numbers in the driver's units; the same array where these are its own."""
        shown = values
        for changed, index, scale, offset in self._changed:
            if changed == field:
                shown = values.copy() if shown is values else shown
                shown[index] = (shown[index] - offset) / scale
        return shown


def require_known(kind: str, wanted: Iterable[Any], known: Iterable[Any], where: str) -> None:
    """Raise SpecError with the list of known names unless all wanted ones are among them."""
    unknown = [str(x) for x in wanted if x not in known]
    if unknown:
        raise SpecError(
            f"{where}: the model has no {kind} {', '.join(unknown)}; it has: {', '.join(map(str, known)) or 'none'}"
        )
