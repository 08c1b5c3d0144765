"""RobotSpec: the one contract about what a robot observes and does.

Names, shapes, dtypes, units, order, topics, rates and limits are written once, in a YAML file. The canonical
hash of that file travels in the wire handshake, the replay, the checkpoint and the bundle.

Needs numpy, PyYAML and msgspec only, so that the robot side can import it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gymnasium import spaces

ROBOTS_DIRECTORY = Path(__file__).parent / "robots"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "sensor_msgs/msg/JointState": ("position", "velocity", "effort"),
    "sensor_msgs/msg/Imu": ("orientation", "angular_velocity", "linear_acceleration"),
    "sensor_msgs/msg/Image": ("data",),
}


class SpecError(ValueError):
    """A RobotSpec is broken or unknown; the message names file, line and field where there are any."""


class SpecMismatch(SpecError):
    """Two sides hold different RobotSpecs; the message shows both."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from: one field of one ROS 2 topic.

    JointState is also the carrier of stamped, named scalars such as the reward, because ROS 2's common
    messages have no other.
    """

    topic: str
    type: Literal["sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu", "sensor_msgs/msg/Image"]
    field: str
    names: tuple[str, ...] = ()  # joints (or scalars) to pick, in this order; JointState only
    max_age: float = 0.5  # seconds; older is stale

    def __post_init__(self) -> None:
        _require(bool(self.topic), "topic must not be empty")
        known = _FIELDS[self.type]
        _require(self.field in known, f"field {self.field!r} is not one of {', '.join(known)} of {self.type}")
        _require(0 < self.max_age < math.inf, f"max_age must be positive seconds, found {self.max_age}")
        if self.type == "sensor_msgs/msg/JointState":
            _require(bool(self.names), "names must list the joints to read from a JointState")
            _require(len(set(self.names)) == len(self.names), f"names has a duplicate: {', '.join(self.names)}")
        else:
            _require(not self.names, f"names is for JointState only, not for {self.type}")


class ObservationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One observation: an array of fixed shape and dtype, read from one source."""

    name: str
    shape: tuple[int, ...]
    source: Source
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""
    encoding: Literal["raw", "cos_sin"] = "raw"  # cos_sin: each angle becomes (cos, sin)

    def __post_init__(self) -> None:
        _require_name(self.name)
        _require(all(n > 0 for n in self.shape), f"shape must be positive, found {list(self.shape)}")
        if self.source.type == "sensor_msgs/msg/Image":
            _require(self.dtype == "uint8", "dtype of an image must be uint8")
            _require(
                len(self.shape) == 3 and self.shape[2] in (1, 3), "shape of an image must be [height, width, 1 or 3]"
            )
            _require(self.encoding == "raw", "encoding of an image must be raw")
            return
        _require(self.dtype == "float32", "dtype must be float32 for everything but images")
        width = len(self.source.names) or (4 if self.source.field == "orientation" else 3)
        width *= 2 if self.encoding == "cos_sin" else 1
        _require(
            self.shape == (width,), f"shape must be [{width}] to fit its source and encoding, found {list(self.shape)}"
        )


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an action goes: one topic of a ros2_control forward command controller."""

    topic: str
    type: Literal["std_msgs/msg/Float64MultiArray"] = "std_msgs/msg/Float64MultiArray"
    names: tuple[str, ...] = ()  # joints in the order of the array, for people and for checks


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action. Policy, replay and wire hold it normalised; only the command is in physical units.

    Continuous: `low` and `high` in `unit`; the normalised action is in [-1, 1], which maps linearly onto them.
    Discrete: `values`, a row of command numbers per class; the normalised action is the class index.
    """

    name: str
    command: Command
    unit: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    neutral: tuple[float, ...] = ()  # the safe command, in units; default: zero clipped into the limits
    max_rate: tuple[float, ...] = ()  # largest change of the command, units per second; default: unlimited
    values: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        _require_name(self.name)
        if self.values:
            _require(
                not self.low and not self.high, "give either low and high (continuous) or values (discrete), not both"
            )
            _require(len(self.values) >= 2, "values needs at least two rows (classes)")
            _require(len({len(row) for row in self.values}) == 1, "rows of values must have equal length")
            _require(all(math.isfinite(x) for row in self.values for x in row), "values must be finite")
            _require(not self.max_rate, "max_rate is for continuous actions only")
        else:
            _require(len(self.low) > 0, "give low and high (continuous) or values (discrete)")
            _require(len(self.low) == len(self.high), f"low has {len(self.low)} numbers, high has {len(self.high)}")
            _require(all(a < b for a, b in zip(self.low, self.high, strict=True)), "each low must be below its high")
        for field in ("low", "high", "neutral", "max_rate"):
            _require(all(math.isfinite(x) for x in getattr(self, field)), f"{field} must be finite")
        for field in ("neutral", "max_rate"):
            found = len(getattr(self, field))
            _require(found in (0, self.size), f"{field} needs {self.size} numbers, found {found}")
        _require(all(x > 0 for x in self.max_rate), "max_rate must be positive")
        _require(len(self.command.names) in (0, self.size), f"command.names needs {self.size} entries")
        if self.neutral and not self.values:
            inside = all(a <= x <= b for a, x, b in zip(self.low, self.neutral, self.high, strict=True))
            _require(inside, f"neutral {list(self.neutral)} must lie within low and high")

    @property
    def discrete(self) -> bool:
        return bool(self.values)

    @property
    def size(self) -> int:
        """Numbers in one command."""
        return len(self.values[0]) if self.values else len(self.low)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the normalised action: () for a class index, (size,) otherwise."""
        return () if self.discrete else (self.size,)

    @property
    def dtype(self) -> type[np.generic]:
        return np.int64 if self.discrete else np.float32

    def zero(self) -> NDArray[Any]:
        """The action of a row after which nothing was executed (an episode's last row)."""
        return np.zeros(self.shape, self.dtype)

    def to_command(self, action: NDArray[Any]) -> NDArray[np.float64]:
        """Normalised action -> command in units, shape (size,). Continuous actions are clipped to [-1, 1]."""
        if self.discrete:
            return np.asarray(self.values[int(action)], np.float64)
        low, high = np.asarray(self.low), np.asarray(self.high)
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) * 0.5
        return np.asarray(low + share * (high - low))

    def from_command(self, command: NDArray[np.float64]) -> NDArray[Any]:
        """Command in units -> normalised action; of a discrete one the nearest class."""
        if self.discrete:
            distance = np.square(np.asarray(self.values) - command).sum(-1)
            return np.asarray(distance.argmin(), np.int64)
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray((command - low) / (high - low) * 2.0 - 1.0, np.float32)

    def neutral_command(self) -> NDArray[np.float64]:
        """The safe command, shape (size,), in units."""
        if self.neutral:
            return np.asarray(self.neutral, np.float64)
        if self.discrete:
            return np.asarray(self.values[0], np.float64)
        return np.clip(np.zeros(self.size), self.low, self.high)


class Episode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How episodes end and begin. A time limit is is_last without is_terminal."""

    max_steps: int  # actions per episode; an episode of N actions has N+1 rows
    reset_service: str = ""  # std_srvs/srv/Trigger; empty: the robot goes on without a reset
    reset_timeout: float = 30.0  # seconds before the reset is asked for again

    def __post_init__(self) -> None:
        _require(self.max_steps >= 1, f"max_steps must be at least 1, found {self.max_steps}")
        _require(0 < self.reset_timeout < math.inf, "reset_timeout must be positive seconds")


class RobotSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What one robot observes and does. Load with `load_spec`."""

    name: str
    rate: float  # control rate, Hz
    observations: tuple[ObservationSpec, ...]
    actions: tuple[ActionSpec, ...]
    reward: Source  # one named scalar, summed since the previous row
    episode: Episode
    terminal: Source | None = None  # one named scalar; above 0.5 the task has ended for good
    description: str = ""  # not part of the contract
    simulation: dict[str, Any] = {}  # how sim/ builds this robot; not part of the contract

    def __post_init__(self) -> None:
        _require_name(self.name)
        _require(0 < self.rate <= 1000, f"rate must be in (0, 1000] Hz, found {self.rate}")
        _require(bool(self.observations), "observations must not be empty")
        _require(bool(self.actions), "actions must not be empty")
        names = [x.name for x in self.observations] + [x.name for x in self.actions]
        twice = sorted({n for n in names if names.count(n) > 1})
        _require(not twice, f"names must be unique, found twice: {', '.join(twice)}")
        for label, source in (("reward", self.reward), ("terminal", self.terminal)):
            if source is not None:
                _require(len(source.names) == 1, f"{label} must name exactly one scalar of a JointState")

    @property
    def period(self) -> float:
        """Seconds between two control ticks."""
        return 1.0 / self.rate

    def contract(self) -> dict[str, Any]:
        """The hashed part as plain JSON types."""
        built = json.loads(self.to_json())
        return {k: v for k, v in built.items() if k not in ("description", "simulation")}

    @functools.cached_property
    def hash(self) -> str:
        """sha256 (hex) of the canonical JSON of the contract."""
        text = json.dumps(self.contract(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The whole spec as JSON, for the handshake, the checkpoint and the bundle."""
        return msgspec.json.encode(self).decode()

    def observation_space(self) -> spaces.Dict:
        """Gymnasium space of the observations."""
        from gymnasium import spaces

        entries: dict[str, spaces.Space[Any]] = {}
        for obs in self.observations:
            low, high = (0, 255) if obs.dtype == "uint8" else (-np.inf, np.inf)
            entries[obs.name] = spaces.Box(low, high, obs.shape, np.dtype(obs.dtype).type)
        return spaces.Dict(entries)

    def action_space(self) -> spaces.Dict:
        """Gymnasium space of the normalised actions."""
        from gymnasium import spaces

        entries: dict[str, spaces.Space[Any]] = {}
        for action in self.actions:
            if action.discrete:
                entries[action.name] = spaces.Discrete(len(action.values))
            else:
                entries[action.name] = spaces.Box(-1.0, 1.0, action.shape, np.float32)
        return spaces.Dict(entries)


def known_robots() -> list[str]:
    """Names of the robots that ship with the package."""
    return sorted(p.stem for p in ROBOTS_DIRECTORY.glob("*.yaml"))


def load_spec(robot: str | Path) -> RobotSpec:
    """Load a RobotSpec by shipped name ("cartpole") or by path to a YAML file.

    Raises:
      SpecError: unknown name (the message lists the known ones), or a broken file (file, line, field).
    """
    path = Path(robot)
    if path.suffix not in (".yaml", ".yml"):
        if str(robot) not in known_robots():
            raise SpecError(
                f"unknown robot {str(robot)!r}; known: {', '.join(known_robots())}; or give a path to a .yaml file"
            )
        path = ROBOTS_DIRECTORY / f"{robot}.yaml"
    try:
        text = path.read_text()
    except OSError as error:
        raise SpecError(f"cannot read robot file {path}: {error.strerror}") from error
    return parse_spec(text, str(path))


def parse_spec(text: str, file: str = "<text>") -> RobotSpec:
    """Parse YAML (or JSON) text. Raises SpecError with file, line and field."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        plain = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise SpecError(f"{file}, line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{file}: not valid YAML: {error}") from error
    try:
        return msgspec.convert(plain, RobotSpec)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").lstrip(".") or "top level"
        raise SpecError(f"{file}, line {_line_of(node, field)}, field {field}: {problem}") from error


def require_same_spec(ours: RobotSpec, theirs: RobotSpec, whose: str) -> None:
    """Raise SpecMismatch that shows both sides unless the two contracts are the same."""
    if ours.hash == theirs.hash:
        return
    lines = "\n".join(f"  {x}" for x in _differences(ours.contract(), theirs.contract()))
    raise SpecMismatch(
        f"{whose} was made for robot {theirs.name!r} (spec {theirs.hash[:12]}), "
        f"ours is {ours.name!r} (spec {ours.hash[:12]}):\n{lines}"
    )


def _differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = list(dict.fromkeys([*ours, *theirs]))
        return [x for k in keys for x in _differences(ours.get(k), theirs.get(k), f"{path}.{k}".lstrip("."))]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            x for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for x in _differences(a, b, f"{path}[{i}]")
        ]
    return [] if ours == theirs else [f"{path}: ours {json.dumps(ours)}, theirs {json.dumps(theirs)}"]


def _line_of(node: yaml.Node | None, field: str) -> int:
    """Line (from 1) of a field such as observations[0].dtype, or of its nearest parent that exists."""
    line = 1
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
        if isinstance(node, yaml.MappingNode) and name:
            found = next(((k, v) for k, v in node.value if k.value == name), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_name(name: str) -> None:
    _require(
        _NAME.fullmatch(name) is not None,
        f"name {name!r} must be lower case letters, digits and _, starting with a letter",
    )
