"""RobotSpec: the one contract about what a robot observes and does.

Names, shapes, dtypes, units, order, topics, rates and limits are written once, in a YAML file. The canonical
hash of that file travels in the wire handshake, the replay, the checkpoint and the bundle.

Needs numpy, PyYAML and msgspec only, so that the robot side can import it.
"""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from robot_dreamer import plain_yaml
from robot_dreamer.missing import advice
from robot_dreamer.spec.action import ActionSpec
from robot_dreamer.spec.check import FieldError, require, require_finite, require_name, require_range, require_topic
from robot_dreamer.spec.contract import as_spelled, contract, differences, digest, tuned, version_1
from robot_dreamer.spec.expression import Expression, ExpressionError
from robot_dreamer.spec.families import in_family, make_spec
from robot_dreamer.spec.known import explained
from robot_dreamer.spec.observation import PICTURE_SIDES, ObservationSpec
from robot_dreamer.spec.operator import Operator
from robot_dreamer.spec.safety import Safety, check_safety
from robot_dreamer.spec.signal import Signal, variable_of
from robot_dreamer.spec.source import TWIST, TWIST_STAMPED, Source

if TYPE_CHECKING:
    from gymnasium import spaces

ROBOTS_DIRECTORY = Path(__file__).parents[1] / "robots"

_LOG = logging.getLogger(__name__)


class SpecError(ValueError):
    """A RobotSpec is broken or unknown; the message names file, line and field where there are any."""


class SpecMismatch(SpecError):
    """Two sides hold different RobotSpecs; the message shows both."""


class Episode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How episodes end and begin. A time limit is is_last without is_terminal."""

    max_steps: int  # actions per episode; an episode of N actions has N+1 rows
    reset_service: str = ""  # std_srvs/srv/Trigger; empty: the robot goes on without a reset
    reset_timeout: float = 30.0  # seconds before the reset is asked for again: longer than one takes

    def __post_init__(self) -> None:
        if self.reset_service:
            require_topic(self.reset_service)
        require(self.max_steps >= 1, f"max_steps must be at least 1, found {self.max_steps}")
        require(0 < self.reset_timeout < math.inf, "reset_timeout must be positive seconds")


class RobotSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What one robot observes and does. Load with `load_spec`."""

    name: str
    rate: float  # control rate, Hz
    observations: tuple[ObservationSpec, ...]
    actions: tuple[ActionSpec, ...]
    reward: Signal
    episode: Episode
    terminal: Signal | None = None  # the task has ended for good
    reward_range: tuple[float, ...] = ()  # lowest and highest possible reward of a row; rows outside are refused
    operator: Operator = Operator()  # what the word of a person is worth
    watched: tuple[ObservationSpec, ...] = ()  # what guard and expressions see and the policy does not; see `contract`
    safety: Safety = Safety()
    description: str = ""
    simulation: dict[str, Any] = {}  # how sim/ builds this robot

    def __post_init__(self) -> None:
        require_name(self.name)
        require(0 < self.rate <= 1000, f"rate must be in (0, 1000] Hz, found {self.rate}")
        require(bool(self.observations), "observations must not be empty")
        require(bool(self.actions), "actions must not be empty")
        names = [x.name for x in self.quantities] + [x.name for x in self.actions]
        twice = sorted({n for n in names if names.count(n) > 1})
        require(not twice, f"names must be unique, found twice: {', '.join(twice)}")
        past = [o.name for o in self.watched if o.history > 1]
        require(not past, f"history is for observations, not for what is watched: {', '.join(past)}")
        _check_sources([o.source for o in self.quantities], self.signals)
        for action in self.actions:
            if action.filter is not None:
                text = f"filter of action {action.name}: cutoff must be below half the rate ({self.rate / 2:g} Hz)"
                require(action.filter.cutoff < self.rate / 2, f"{text}, found {action.filter.cutoff}")
        _ = self.expressions  # a wrong one is refused here
        require_finite(self.simulation, "simulation")
        require_range("reward_range", self.reward_range)
        for name in ("success", "failure"):
            value, (low, high) = getattr(self.operator, name), self.reward_range or (-math.inf, math.inf)
            require(low <= value <= high, f"operator.{name} must be within reward_range, found {value:g}")

    @property
    def quantities(self) -> tuple[ObservationSpec, ...]:
        """All that is read from sensors: the observations, then what guard and expressions see."""
        return (*self.observations, *self.watched)

    @property
    def recorded(self) -> tuple[ObservationSpec, ...]:
        """What rows are made of: the observations, then what only reward and terminal are computed from."""
        used = frozenset().union(*(e.names for e in self.expressions.values()))
        return (*self.observations, *(o for o in self.watched if o.name in used))

    @property
    def signals(self) -> dict[str, Source]:
        """`reward` and `terminal`, as far as they come from a topic."""
        given = (("reward", self.reward), ("terminal", self.terminal))
        return {name: s.source for name, s in given if s is not None and s.source is not None}

    @functools.cached_property
    def expressions(self) -> dict[str, Expression]:
        """`reward` and `terminal`, as far as they are computed from quantities and actions. Raises FieldError."""
        scope = {o.name: variable_of(o) for o in self.quantities if o.history == 1} | {
            a.name: variable_of(a) for a in self.actions
        }
        found = {}
        for name, signal in (("reward", self.reward), ("terminal", self.terminal)):
            if signal is not None and signal.expression:
                try:
                    found[name] = Expression(signal.expression, scope, condition=name == "terminal")
                except ExpressionError as error:
                    raise FieldError(f"{name}.expression", str(error)) from error
        return found

    @functools.cached_property
    def folder(self) -> Path | None:
        """Where the file lies that `load_spec` read; `simulation` names files from there. None: there is no file."""
        return None

    @property
    def period(self) -> float:
        """Seconds between two control ticks."""
        return 1.0 / self.rate

    def contract(self) -> dict[str, Any]:
        """The hashed part as plain JSON types; see `robot_dreamer.spec.contract`."""
        return contract(self)

    @functools.cached_property
    def hash(self) -> str:
        """sha256 (hex) of the contract."""
        return digest(self.contract())

    @functools.cached_property
    def hashes(self) -> tuple[str, ...]:
        """The hash, and those that the same spec had in files of older programs."""
        return self.hash, *dict.fromkeys((digest(version_1(self)), digest(as_spelled(self))))

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


def _check_sources(sensors: list[Source], signals: Mapping[str, Source]) -> None:
    """Raise ValueError unless sources of one topic agree how it is read, and one at least says when a row was."""
    require(not all(s.hold for s in sensors), "one observation at least must not hold: its stamp is that of the row")
    for first in sensors:
        for other in (s for s in sensors if s.topic == first.topic):
            same = (first.parts, first.hold) == (other.parts, other.hold)
            require(same, f"topic {first.topic}: parts and hold must be the same in all that reads it")
        shared = [name for name, source in signals.items() if source.topic == first.topic]
        text = f"topic {first.topic}: with parts or hold it cannot carry {' and '.join(shared)} too"
        require(not shared or not (first.parts or first.hold), text)


def known_robots() -> list[str]:
    """Names of the robots that ship with the package."""
    return sorted(p.stem for p in ROBOTS_DIRECTORY.glob("*.yaml"))


def load_spec(robot: str | Path) -> RobotSpec:
    """Load a RobotSpec by shipped name ("cartpole"), by path to a YAML file, or by family ("dmc:walker_walk").

    Raises:
      SpecError: unknown name (the message lists the known ones), a broken file (file, line, field), or pictures that no
        network takes.
    """
    path = Path(os.path.expanduser(robot))
    if in_family(str(robot)):
        return _made(str(robot))
    if path.suffix not in (".yaml", ".yml"):
        if str(robot) not in known_robots():
            raise SpecError(
                f"unknown robot {str(robot)!r}; known: {', '.join(known_robots())}; or give a path to a .yaml file, or "
                "a task of dm_control's suite, such as dmc:walker_walk"
            )
        path = ROBOTS_DIRECTORY / f"{robot}.yaml"
    try:
        text = plain_yaml.read_file(path)
    except OSError as error:
        raise SpecError(f"cannot read robot file {path}: {error.strerror}") from error
    except plain_yaml.PlainYamlError as error:
        raise SpecError(f"{path}, {error}") from error
    spec, document = _parse(text, str(path))
    found = unlearnable(spec)
    if found:
        field, problem = found
        raise SpecError(f"{path}, line {document.line_of(field)}, field {field}: {problem}")
    spec.__dict__["folder"] = path.absolute().parent  # what is cached, as it is no part of the spec
    return spec


def _made(robot: str) -> RobotSpec:
    try:
        return make_spec(robot)
    except ModuleNotFoundError as error:
        raise SpecError(f"robot {robot}: {advice(error) or error}") from error


def unlearnable(spec: RobotSpec) -> tuple[str, str] | None:
    """(field, problem) of a picture that no network takes; None if there is none.

    Such a robot could act by a bundle from elsewhere, but no learner here makes one.
    """
    first: ObservationSpec | None = None
    for i, observation in enumerate(spec.observations):
        if observation.dtype != "uint8":
            continue
        height, width, _ = observation.shape
        for side in (height, width):
            if side not in PICTURE_SIDES:
                near = sorted(PICTURE_SIDES, key=lambda known: abs(known - side))[:2]
                sides = f"{PICTURE_SIDES[0]} to {PICTURE_SIDES[-1]} in steps of 16, such as {min(near)} or {max(near)}"
                problem = f"no network learns from {height} x {width}: expected sides of {sides}"
                return f"observations[{i}].shape", problem
        if first is not None and observation.shape[:2] != first.shape[:2]:
            expected = f"{first.shape[0]} x {first.shape[1]} as {first.name} has"
            return (
                f"observations[{i}].shape",
                f"pictures must have one size: expected {expected}, found {height} x {width}",
            )
        first = first or observation
    return None


def parse_spec(text: str, file: str = "<text>") -> RobotSpec:
    """Parse YAML (or JSON) text, see `plain_yaml`. Raises SpecError with file, line and field."""
    return _parse(text, file)[0]


def _parse(text: str, file: str) -> tuple[RobotSpec, plain_yaml.Document]:
    try:
        document = plain_yaml.read(text)
    except plain_yaml.PlainYamlError as error:
        raise SpecError(f"{file}, {error}") from error
    try:
        spec = msgspec.convert(document.value, RobotSpec)
    except msgspec.ValidationError as error:
        problem, where = explained(error, RobotSpec)
        inner = error.__cause__.field if isinstance(error.__cause__, FieldError) else ""
        field = ".".join(filter(None, (where, inner))) or "top level"
        raise SpecError(f"{file}, line {document.line_of(field)}, field {field}: {problem}") from error
    try:
        check_safety(spec)
    except ValueError as error:
        line = document.line_of(str(error).partition(":")[0])
        raise SpecError(f"{file}, line {line}, field {error}") from error
    return spec, document


def require_same_spec(ours: RobotSpec, theirs: RobotSpec, whose: str) -> None:
    """Raise SpecMismatch that shows both sides unless the two contracts are the same.

    What merely tunes may differ; it is told in the log, once in a process.
    """
    if ours == theirs:
        return
    if ours.hash == theirs.hash:
        if found := tuned(ours, theirs):
            _tell(f"{whose} has the same contract, and differs in what merely tunes:\n" + _indented(found))
        return
    lines = _indented(differences(ours.contract(), theirs.contract()))
    raise SpecMismatch(
        f"{whose} was made for robot {theirs.name!r} (spec {theirs.hash[:12]}), "
        f"ours is {ours.name!r} (spec {ours.hash[:12]}):\n{lines}"
    )


def _indented(lines: list[str]) -> str:
    more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
    return "\n".join(f"  {line[:1000]}" for line in [*lines[:20], *more])


@functools.lru_cache(64)  # once: a learner's bundles come again and again
def _tell(text: str) -> None:
    _LOG.warning("%s", text)


def require_lockstep(spec: RobotSpec) -> None:
    """Raise SpecError unless every sensor has a stamp and every command can say which of them it answers; in lockstep
    the world waits for that."""
    for observation in spec.quantities:
        if observation.source.type == TWIST and not observation.source.hold:
            raise SpecError(
                f"observation {observation.name}: a {TWIST} has no stamp, so there is no lockstep with it; use "
                f"{TWIST_STAMPED}, or hold: true if it is a command that is sent when it changes"
            )
    for action in spec.actions:
        if not action.command.has_stamp:
            raise SpecError(
                f"action {action.name}: a {action.command.type} cannot say which sensors it answers, so there is no "
                f"lockstep with it; use the clock realtime, or another type of command"
            )


def require_own_topics(spec: RobotSpec) -> None:
    """Raise SpecError where actions share a command topic: a message there is a whole command."""
    topics = [topic for action in spec.actions for topic in action.command.topics]
    if shared := sorted({topic for topic in topics if topics.count(topic) > 1}):
        raise SpecError(f"two actions share the command topic {', '.join(shared)}; join them into one action")
