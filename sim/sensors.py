"""What a simulated robot's sensors show, topic by topic, read from MuJoCo's state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import encode_observation
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source, SpecError
from robot_dreamer.spec.source import IMAGE, IMU, JOINT_STATE, NUMBERS, ODOMETRY, POSE, TWIST_STAMPED
from sim.body_sensors import XYZW, OdometryReading, PoseReading, array_reader, odometry_reader, pose_reader
from sim.simulation import ImuModel, Simulation
from sim.units import Units, require_known
from sim.velocity_commands import TwistReading

_FIELDS = {IMU: "imus", ODOMETRY: "odometry", POSE: "poses", TWIST_STAMPED: "twists"}  # whose readings have fields
_TOPICS = {  # fields of `simulation` that say what topics of one type show
    "cameras": IMAGE,
    "imus": IMU,
    "odometry": ODOMETRY,
    "poses": POSE,
    "velocity_commands": TWIST_STAMPED,
    "arrays": NUMBERS,
    "task_observations": NUMBERS,
}


@dataclass(frozen=True, slots=True)
class JointReading:
    """What one JointState topic shows: names and, in their order, float64 arrays [joints] in SI units."""

    names: list[str]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    effort: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImuReading:
    """What one IMU topic shows; None where it has no such sensor. Orientation is x, y, z, w."""

    orientation: NDArray[np.float64] | None
    angular_velocity: NDArray[np.float64] | None
    linear_acceleration: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Readings:
    """What the sensors show at one moment, by topic.

    Attributes:
      images: uint8 [height, width, 1 or 3]; of depth float32 [height, width, 1], m.
    """

    joints: dict[str, JointReading]
    imus: dict[str, ImuReading]
    images: dict[str, NDArray[Any]]
    odometry: dict[str, OdometryReading]
    poses: dict[str, PoseReading]
    arrays: dict[str, NDArray[np.float64]]
    twists: dict[str, TwistReading]

    def values(self, source: Source) -> NDArray[Any]:
        """The numbers of a source: [names], [3 or 4] of an IMU, odometry, pose or velocity, or an image."""
        if source.type == IMAGE:
            return self.images[source.topic]
        if source.type == NUMBERS:
            return self.arrays[source.topic]
        if source.type in _FIELDS:
            group: Mapping[str, Any] = getattr(self, _FIELDS[source.type])
            reading: NDArray[np.float64] = getattr(group[source.topic], source.field)
            return reading
        joints = self.joints[source.topic]
        column: NDArray[np.float64] = getattr(joints, source.field)
        return column[_places(tuple(joints.names), source.names)]


@dataclass(frozen=True, slots=True)
class Sensors(Readings):
    """All that a robot says at one control tick.

    Attributes:
      joints: the topics of reward and terminal are among them.
      stamp: simulation time, ns; grows with every tick, over resets too.
      reward: sum since the previous tick; 0 after a reset.
      terminal: the task has ended for good.
      fault: why an expression of reward or terminal has no value here; the reward is 0 then. Whoever acts on it refuses
        it; empty: they have one.
    """

    stamp: int
    reward: float
    terminal: bool
    fault: str = ""

    def by_topic(self) -> Iterator[tuple[str, str, Any]]:
        """Topic, message type and reading of all sensors."""
        yield from ((topic, JOINT_STATE, reading) for topic, reading in self.joints.items())
        yield from ((topic, IMU, reading) for topic, reading in self.imus.items())
        yield from ((topic, IMAGE, reading) for topic, reading in self.images.items())
        yield from ((topic, ODOMETRY, reading) for topic, reading in self.odometry.items())
        yield from ((topic, POSE, reading) for topic, reading in self.poses.items())
        yield from ((topic, NUMBERS, reading) for topic, reading in self.arrays.items())
        yield from ((topic, TWIST_STAMPED, reading) for topic, reading in self.twists.items())


@functools.lru_cache
def _places(names: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.intp]:
    """Where some names are among others."""
    return np.array([names.index(name) for name in wanted], np.intp)


def require_simulated(spec: RobotSpec) -> None:
    """Raise SpecError for a quantity that no simulated robot shows."""
    shown = (JOINT_STATE, IMAGE, NUMBERS, *_FIELDS)
    for o in spec.quantities:
        if o.source.type not in shown:
            what = f"a {o.source.type}"
            raise SpecError(f"observation {o.name!r}: the simulation shows no such sensor ({what}), a robot does")


def require_read(spec: RobotSpec, simulation: Simulation) -> None:
    """Raise SpecError for a topic of `simulation` that no quantity reads: a slip there would be the default camera."""
    for field, kind in _TOPICS.items():
        read = topics_of(spec, kind)
        for topic in getattr(simulation, field):
            if topic not in read:
                near = get_close_matches(topic, read, 1)
                meant = f"; did you mean {near[0]}?" if near else f"; read are: {', '.join(read) or 'none'}"
                raise SpecError(f"simulation.{field}: nothing in the spec reads {topic!r} as {kind}{meant}")


def require_realtime(spec: RobotSpec) -> None:
    """Raise SpecError for a sensor that is stale before its next message: in real time each speaks once a period, or a
    little later."""
    sources = {f"observation {o.name!r}": o.source for o in spec.quantities} | spec.signals
    for what, source in sources.items():
        if source.max_age <= spec.period and not source.hold:
            raise SpecError(
                f"clock realtime: the simulated robot shows {source.topic!r} once in {spec.period:g} s, its control "
                f"period, and for {what} it counts for {source.max_age:g} s (max_age): stale before the next one. Use "
                "the clock lockstep, which with speed 1 takes the time that the robot does; or raise its max_age, if "
                "an older value will do"
            )


def observe(spec: RobotSpec, sensors: Sensors) -> dict[str, NDArray[Any]]:
    """The quantities that a spec makes of the sensors, as the ROS 2 side makes them of the messages."""
    return {o.name: encode_observation(o, sensors.values(o.source)) for o in spec.quantities}


class JointReader:
    """Reads the named hinge and slide joints, and puts reward and terminal into the fields that the spec gives them.

    Joints are shown as the driver would: in its units, where an observation has a scale or an offset.
    """

    def __init__(self, spec: RobotSpec, model: mujoco.MjModel) -> None:
        kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        scalar = [i for i in range(model.njnt) if model.jnt_type[i] in kinds and model.joint(i).name]
        self.names = [model.joint(i).name for i in scalar]
        self._qpos = model.jnt_qposadr[scalar]
        self._dof = model.jnt_dofadr[scalar]
        self._topics = topics_of(spec, JOINT_STATE)
        self._signals = spec.signals
        signal_topics = {s.topic for s in self._signals.values()}
        for topic, observations in self._topics.items():
            if topic in signal_topics:
                raise SpecError(
                    f"topic {topic!r} carries both joints and reward or terminal; give them a topic of their own"
                )
            require_known("joint", [n for o in observations for n in o.source.names], self.names, f"topic {topic!r}")
        self._units = {topic: Units(found, self.names, topic) for topic, found in self._topics.items()}
        self._signal_names = {t: [s.names[0] for s in self._signals.values() if s.topic == t] for t in signal_topics}

    def read(self, data: mujoco.MjData) -> dict[str, JointReading]:
        """Joint states by topic."""
        if not self._units:
            return {}
        position, velocity = data.qpos[self._qpos], data.qvel[self._dof]
        effort = data.qfrc_actuator[self._dof]
        return {
            topic: JointReading(
                self.names,
                units.driver("position", position),
                units.driver("velocity", velocity),
                units.driver("effort", effort),
            )
            for topic, units in self._units.items()
        }

    def judged(self, reward: float, terminal: bool) -> dict[str, JointReading]:
        """The topics of reward and terminal."""
        readings = {t: JointReading(names, *np.zeros((3, len(names)))) for t, names in self._signal_names.items()}
        for label, source in self._signals.items():
            reading = readings[source.topic]
            value = reward if label == "reward" else terminal
            getattr(reading, source.field)[reading.names.index(source.names[0])] = value
        return readings


def imu_readers(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, Callable[[mujoco.MjData], ImuReading]]:
    """A reader per IMU topic. Raises SpecError naming a sensor or body that the model lacks."""
    readers: dict[str, Callable[[mujoco.MjData], ImuReading]] = {}
    for topic, observations in topics_of(spec, IMU).items():
        imu = simulation.imus.get(topic, ImuModel())
        for observation in observations:
            if not getattr(imu, observation.source.field):
                field = observation.source.field
                raise SpecError(
                    f"observation {observation.name!r}: simulation.imus must name what gives {field} of {topic!r}"
                )
        gyro = _sensor(model, imu.angular_velocity, mujoco.mjtSensor.mjSENS_GYRO, "gyro", topic)
        accelerometer = _sensor(
            model, imu.linear_acceleration, mujoco.mjtSensor.mjSENS_ACCELEROMETER, "accelerometer", topic
        )
        bodies = [model.body(i).name for i in range(model.nbody)]
        require_known("body", [imu.orientation] if imu.orientation else [], bodies, f"IMU {topic!r}")
        body = bodies.index(imu.orientation) if imu.orientation else None
        readers[topic] = functools.partial(_read_imu, body, gyro, accelerometer)
    return readers


def _read_imu(body: int | None, gyro: slice | None, accelerometer: slice | None, data: mujoco.MjData) -> ImuReading:
    return ImuReading(
        orientation=None if body is None else data.xquat[body][XYZW],
        angular_velocity=None if gyro is None else data.sensordata[gyro].copy(),
        linear_acceleration=None if accelerometer is None else data.sensordata[accelerometer].copy(),
    )


def _sensor(model: mujoco.MjModel, name: str, kind: mujoco.mjtSensor, label: str, topic: str) -> slice | None:
    if not name:
        return None
    known = [model.sensor(i).name for i in range(model.nsensor) if model.sensor_type[i] == int(kind)]
    require_known(label, [name], known, f"IMU {topic!r}")
    start = int(model.sensor(name).adr[0])
    return slice(start, start + 3)


def odometry_readers(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, Callable[[mujoco.MjData], OdometryReading]]:
    """A reader per Odometry topic. Raises SpecError naming a body that is not given, or that the model lacks."""
    readers = {}
    for topic in topics_of(spec, ODOMETRY):
        if topic not in simulation.odometry:
            raise SpecError(f"odometry {topic!r}: simulation.odometry must name its body")
        readers[topic] = odometry_reader(model, simulation.odometry[topic], topic)
    return readers


def pose_readers(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, Callable[[mujoco.MjData], PoseReading]]:
    """A reader per PoseStamped topic. Raises SpecError naming a body that is not given, or that the model lacks."""
    readers = {}
    for topic in topics_of(spec, POSE):
        if topic not in simulation.poses:
            raise SpecError(f"pose {topic!r}: simulation.poses must name its body")
        readers[topic] = pose_reader(model, simulation.poses[topic], topic)
    return readers


def array_readers(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, Callable[[mujoco.MjData], NDArray[np.float64]]]:
    """A reader per Float64MultiArray topic. Raises SpecError naming sensors that are not given or do not fit."""
    readers = {}
    for topic, observations in topics_of(spec, NUMBERS).items():
        if topic in simulation.task_observations:
            continue
        if not simulation.arrays.get(topic):
            raise SpecError(f"array {topic!r}: simulation.arrays must name its sensors")
        readers[topic] = array_reader(model, simulation.arrays[topic], topic, observations)
    return readers


def topics_of(spec: RobotSpec, kind: str) -> dict[str, list[ObservationSpec]]:
    """Topics of one message type, with the observations that read them."""
    topics: dict[str, list[ObservationSpec]] = {}
    for observation in spec.quantities:
        if observation.source.type == kind:
            topics.setdefault(observation.source.topic, []).append(observation)
    return topics
