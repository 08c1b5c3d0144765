"""RobotSpecs for environments that are no robots: their spaces as sources on one topic, `env`."""

from __future__ import annotations

import re
from itertools import chain, count

from robot_dreamer.spec import ActionSpec, Command, Episode, ObservationSpec, RobotSpec, Signal, Source

TOPIC = "env"
NO_TIME_LIMIT = 2**31 - 1  # max_steps of an environment that has none


def vector(name: str, size: int) -> ObservationSpec:
    """`size` float32 numbers."""
    return ObservationSpec(name, (size,), _scalars(*(f"{name}_{i}" for i in range(size))))


def picture(name: str, shape: tuple[int, int, int]) -> ObservationSpec:
    """A uint8 picture, [height, width, 1 or 3]."""
    return ObservationSpec(name, shape, Source(f"{TOPIC}/{name}", "sensor_msgs/msg/Image", "data"), dtype="uint8")


def continuous(name: str, low: list[float], high: list[float]) -> ActionSpec:
    """An action between finite limits."""
    return ActionSpec(name, Command(f"{TOPIC}/{name}"), low=tuple(low), high=tuple(high))


def discrete(name: str, classes: int, start: int = 0) -> ActionSpec:
    """A choice; the command is its number, counted from `start`."""
    return ActionSpec(name, Command(f"{TOPIC}/{name}"), values=tuple((float(start + i),) for i in range(classes)))


def make_spec(
    name: str, rate: float, observations: list[ObservationSpec], actions: list[ActionSpec], max_steps: int
) -> RobotSpec:
    """The RobotSpec of an environment; `name` may be any text."""
    return RobotSpec(
        name=clean(name),
        rate=rate,
        observations=tuple(observations),
        actions=tuple(actions),
        reward=_signal("reward"),
        terminal=_signal("terminal"),
        episode=Episode(max_steps=max_steps),
    )


def clean(name: str) -> str:
    """A name as RobotSpec wants it: lower case letters, digits and _, beginning with a letter."""
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:64]
    return text if text[:1].isalpha() else f"x_{text}"[:64]


def claim(name: str, taken: set[str]) -> str:
    """`clean` of any text, with a number behind it if somebody has that name already; it is taken then."""
    base = clean(name)
    numbered = (f"{base[: 63 - len(str(i))]}_{i}" for i in count(2))
    own = next(candidate for candidate in chain([base], numbered) if candidate not in taken)
    taken.add(own)
    return own


def _scalars(*names: str) -> Source:
    return Source(TOPIC, "sensor_msgs/msg/JointState", "position", names)


def _signal(name: str) -> Signal:
    return Signal(TOPIC, "sensor_msgs/msg/JointState", "position", (name,))
