"""What a simulated robot's sensors show, topic by topic, read from MuJoCo's state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import encode_observation
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source, SpecError

_JOINT_STATE = "sensor_msgs/msg/JointState"
_IMU = "sensor_msgs/msg/Imu"
_IMAGE = "sensor_msgs/msg/Image"


class ImuModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an IMU's readings come from: MuJoCo sensors, and the body whose orientation it shows."""

    angular_velocity: str = ""  # gyro sensor
    linear_acceleration: str = ""  # accelerometer sensor
    orientation: str = ""  # body


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `simulation` section of a RobotSpec."""

    model: str  # see sim.worlds
    cameras: dict[str, str | int] = {}  # image topic -> MuJoCo camera (name or index); default: camera 0
    imus: dict[str, ImuModel] = {}  # IMU topic -> its sensors
    actuators: dict[
        str, tuple[str, ...]
    ] = {}  # action -> joints or actuators that its numbers drive; default: its names


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
class Sensors:
    """All sensors at one control tick, by topic.

    Attributes:
      stamp: simulation time, ns; grows with every tick, over resets too.
      joints: joint states; the topics of reward and terminal are among them.
      imus, images: images are uint8 [height, width, 1 or 3].
      reward: sum since the previous tick; 0 after a reset.
      terminal: the task has ended for good.
    """

    stamp: int
    joints: dict[str, JointReading]
    imus: dict[str, ImuReading]
    images: dict[str, NDArray[np.uint8]]
    reward: float
    terminal: bool

    def values(self, source: Source) -> NDArray[Any]:
        """The numbers of a source: [names] of a JointState, [3 or 4] of an IMU, or an image."""
        if source.type == _IMAGE:
            return self.images[source.topic]
        if source.type == _IMU:
            reading: NDArray[np.float64] = getattr(self.imus[source.topic], source.field)
            return reading
        joints = self.joints[source.topic]
        column: NDArray[np.float64] = getattr(joints, source.field)
        return column[[joints.names.index(name) for name in source.names]]


def observe(spec: RobotSpec, sensors: Sensors) -> dict[str, NDArray[Any]]:
    """The quantities that a spec makes of the sensors, as the ROS 2 side makes them of the messages."""
    return {o.name: encode_observation(o, sensors.values(o.source)) for o in spec.quantities}


class JointReader:
    """Reads the hinge and slide joints, and puts reward and terminal into the fields that the spec gives them.

    Joints are shown as the driver would: in its units, where an observation has a scale or an offset.
    """

    def __init__(self, spec: RobotSpec, model: mujoco.MjModel) -> None:
        kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        scalar = [i for i in range(model.njnt) if model.jnt_type[i] in kinds]
        self.names = [model.joint(i).name for i in scalar]
        self._qpos = model.jnt_qposadr[scalar]
        self._dof = model.jnt_dofadr[scalar]
        self._topics = _topics(spec, _JOINT_STATE)
        self._signals = {"reward": spec.reward} | ({"terminal": spec.terminal} if spec.terminal else {})
        signal_topics = {s.topic for s in self._signals.values()}
        for topic, observations in self._topics.items():
            if topic in signal_topics:
                raise SpecError(
                    f"topic {topic!r} carries both joints and reward or terminal; give them a topic of their own"
                )
            require_known("joint", [n for o in observations for n in o.source.names], self.names, f"topic {topic!r}")
        self._units = _units(self._topics, self.names)
        self._signal_names = {t: [s.names[0] for s in self._signals.values() if s.topic == t] for t in signal_topics}

    def read(self, data: mujoco.MjData, reward: float, terminal: bool) -> dict[str, JointReading]:
        columns = {"position": data.qpos[self._qpos], "velocity": data.qvel[self._dof]}
        columns["effort"] = data.qfrc_actuator[self._dof]
        readings = {}
        for topic in self._topics:
            shown = {k: x.copy() for k, x in columns.items()}
            for field, index, scale, offset in self._units[topic]:
                shown[field][index] = (shown[field][index] - offset) / scale
            readings[topic] = JointReading(self.names, **shown)
        for topic, names in self._signal_names.items():
            readings[topic] = JointReading(names, *np.zeros((3, len(names))))
        for label, source in self._signals.items():
            reading = readings[source.topic]
            value = reward if label == "reward" else terminal
            getattr(reading, source.field)[reading.names.index(source.names[0])] = value
        return readings


def _units(
    topics: dict[str, list[ObservationSpec]], joints: list[str]
) -> dict[str, list[tuple[str, int, float, float]]]:
    """Field, joint, scale and offset of what each topic does not show in the model's own units."""
    units: dict[str, list[tuple[str, int, float, float]]] = {}
    for topic, observations in topics.items():
        known: dict[tuple[str, str], tuple[float, float]] = {}
        for o in observations:
            ones, zeros = (1.0,) * len(o.source.names), (0.0,) * len(o.source.names)
            for name, scale, offset in zip(o.source.names, o.scale or ones, o.offset or zeros, strict=True):
                if known.setdefault((o.source.field, name), (scale, offset)) != (scale, offset):
                    raise SpecError(
                        f"topic {topic!r}: two observations give {o.source.field} of joint {name} different units"
                    )
        units[topic] = [(f, joints.index(n), *unit) for (f, n), unit in known.items() if unit != (1.0, 0.0)]
    return units


def imu_readers(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, Callable[[mujoco.MjData], ImuReading]]:
    """A reader per IMU topic. Raises SpecError naming a sensor or body that the model lacks."""
    readers: dict[str, Callable[[mujoco.MjData], ImuReading]] = {}
    for topic, observations in _topics(spec, _IMU).items():
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
        orientation=None if body is None else data.xquat[body][[1, 2, 3, 0]],  # MuJoCo's is w, x, y, z
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


def camera_views(
    spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel
) -> dict[str, tuple[int, int, int, int]]:
    """Camera, height, width and channels of each image topic's picture, as the camera shows it, before any crop.

    Raises:
      SpecError: the model lacks a camera, or the observations of one topic want different pictures.
    """
    views: dict[str, tuple[int, int, int, int]] = {}
    names = [model.camera(i).name for i in range(model.ncam)]
    for topic, observations in _topics(spec, _IMAGE).items():
        sizes = {o.picture.size if o.picture else o.shape[:2] for o in observations}
        if len(sizes) > 1:
            raise SpecError(f"topic {topic!r}: its observations must have one picture size, found {sorted(sizes)}")
        camera = simulation.cameras.get(topic, 0)
        known = list(range(model.ncam)) if isinstance(camera, int) else names
        require_known("camera", [camera], known, f"topic {topic!r}")
        index = camera if isinstance(camera, int) else names.index(camera)
        height, width = sizes.pop()
        views[topic] = (index, height, width, max(o.shape[2] for o in observations))
    return views


def _topics(spec: RobotSpec, kind: str) -> dict[str, list[ObservationSpec]]:
    """Topics of one message type, with the observations that read them."""
    topics: dict[str, list[ObservationSpec]] = {}
    for observation in spec.quantities:
        if observation.source.type == kind:
            topics.setdefault(observation.source.topic, []).append(observation)
    return topics


def require_known(kind: str, wanted: Iterable[Any], known: Iterable[Any], where: str) -> None:
    """Raise SpecError with the list of known names unless all wanted ones are among them."""
    unknown = [str(x) for x in wanted if x not in known]
    if unknown:
        raise SpecError(
            f"{where}: the model has no {kind} {', '.join(unknown)}; it has: {', '.join(map(str, known)) or 'none'}"
        )
