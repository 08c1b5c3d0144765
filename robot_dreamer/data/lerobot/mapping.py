"""Which feature of somebody else's LeRobotDataset is which quantity of a RobotSpec.

    --map observation.state=joint_position      a feature that is one observation, action, reward or terminal
    --map observation.state[0:6]=joint_position  some of its numbers

What nobody maps is found by name: `observation.NAME` or `observation.images.NAME` for an observation, `action` for
the only action, `next.reward` or else `reward` for a reward that comes from a topic. Numbers go by the names in the
dataset where it has those of the spec, otherwise by their order, which is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.lerobot.choice import Choice
from robot_dreamer.data.lerobot.layout import PICTURES
from robot_dreamer.data.lerobot.reader import Dataset, Feature
from robot_dreamer.spec import RobotSpec

REWARD, TERMINAL = "reward", "terminal"


@dataclass(frozen=True)
class Route:
    """Where a quantity comes from: which numbers of a feature, in the order of the spec; empty: a picture."""

    feature: str
    indices: tuple[int, ...] = ()


def routes(dataset: Dataset, spec: RobotSpec, choices: Sequence[Choice]) -> tuple[dict[str, Route], list[str]]:
    """Route by quantity, and notes about what was guessed. Raises DataError: missing, unknown, or of another size."""
    needed = _needed(spec)
    chosen = {choice.name: choice for choice in choices}
    if len(chosen) < len(choices):
        names = [choice.name for choice in choices]
        raise DataError(f"mapped twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    unknown = sorted(set(chosen) - set(needed) - {REWARD, TERMINAL})
    if unknown:
        raise DataError(f"--map: {', '.join(unknown)} is nothing of robot {spec.name}; it has: {', '.join(needed)}")
    for name in (REWARD, TERMINAL):
        if name in chosen and name in spec.expressions:
            raise DataError(f"--map: {name} is computed from an expression of robot {spec.name}")
    found: dict[str, Route] = {}
    notes: list[str] = []
    judged = [n for n in (REWARD, TERMINAL) if n in chosen or (n == REWARD and n not in spec.expressions)]
    for name, elements in {**needed, **dict.fromkeys(judged, ("",))}.items():
        choice = chosen.get(name) or _by_name(dataset.info.features, spec, name)
        if choice is None:
            held = f"it has: {', '.join(dataset.info.features)}"
            raise DataError(f"{dataset.root}: nothing for {name!r}: say --map FEATURE={name}; {held}")
        found[name] = _route(dataset, choice, elements, notes)
    return found, notes


def _needed(spec: RobotSpec) -> dict[str, tuple[str, ...]]:
    """Quantities that rows are made of, each with what its numbers are called in a message; pictures have none."""
    seen = {o.name: o.source.elements if o.dtype != "uint8" else () for o in spec.recorded}
    acted = {a.name: a.command.names or tuple(map(str, range(a.size))) for a in spec.actions}
    return seen | acted


def _by_name(features: Mapping[str, Feature], spec: RobotSpec, name: str) -> Choice | None:
    likely = [f"observation.{name}", PICTURES + name]
    if [a.name for a in spec.actions] == [name]:
        likely = ["action"]
    elif name == REWARD:
        likely = ["next.reward", "reward"]
    return next((Choice(key, name) for key in likely if key in features), None)


def _route(dataset: Dataset, choice: Choice, elements: tuple[str, ...], notes: list[str]) -> Route:
    feature = dataset.feature(choice.feature)
    if not elements:
        if feature.dtype not in ("image", "video"):
            raise DataError(f"{dataset.root}: {choice.name} is a picture, {choice.feature!r} is of {feature.dtype}")
        return Route(choice.feature)
    if feature.dtype in ("image", "video"):
        raise DataError(f"{dataset.root}: {choice.name}: {choice.feature!r} is of {feature.dtype}, expected numbers")
    count = 1
    for side in feature.shape:
        count *= side
    if choice.start is None and len(elements) > 1 and set(elements) <= set(feature.elements):
        return Route(choice.feature, tuple(feature.elements.index(name) for name in elements))
    start, stop = choice.start or 0, count if choice.stop is None else choice.stop
    if not 0 <= start < stop <= count or stop - start != len(elements):
        names = f" ({', '.join(feature.elements)})" if feature.elements else ""
        raise DataError(
            f"{dataset.root}: {choice.name} needs {len(elements)} numbers ({', '.join(elements)}), "
            f"{choice.feature}[{start}:{stop}] has {stop - start} of {count}{names}; choose some: "
            f"--map '{choice.feature}[a:b]={choice.name}'"
        )
    if feature.elements and len(elements) > 1:
        theirs = ", ".join(feature.elements[start:stop])
        notes.append(f"{choice.name} by order: {theirs} of the dataset are {', '.join(elements)} of the spec")
    return Route(choice.feature, tuple(range(start, stop)))
