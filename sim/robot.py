"""SimRobot: a MuJoCo robot as its RobotSpec describes it: commands in units go in, what the sensors show comes out."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.draws import Draws
from robot_dreamer.onboard.encoding import all_finite, encode_observation
from robot_dreamer.spec import ExpressionFault, RobotSpec, SpecError
from robot_dreamer.spec.known import known_there
from sim.actuators import driven_actuators
from sim.cameras import camera_views
from sim.cartesian import CartesianServo
from sim.gap import Gap
from sim.sensors import (
    JointReader,
    Readings,
    Sensors,
    array_readers,
    imu_readers,
    odometry_readers,
    pose_readers,
    require_read,
    require_simulated,
)
from sim.simulation import Simulation
from sim.task_observations import TaskObservations
from sim.velocity_commands import VelocityCommands
from sim.worlds import make_world

_RESET_TIME = 1.0  # s, at least; the stamps leap, so that a reset which the policy did not ask for passes as no step


class SimRobot:
    """A simulated robot.

    Args:
      spec: the robot; its `simulation` section says which model.
      seed: of everything random in the world. The same seed and commands give the same sensors.
      control_steps: of the world in a control period, where it goes on faster or slower than those on board believe;
        None: as many as the spec's rate says.

    Raises:
      SpecError: the spec asks for something that the model does not have; the message lists what it has.
    """

    def __init__(self, spec: RobotSpec, seed: int, control_steps: int | None = None) -> None:
        self.spec = spec
        try:
            if not spec.simulation:
                raise SpecError("its spec has no section `simulation`")
            require_simulated(spec)
            simulation = msgspec.convert(spec.simulation, Simulation)
            require_read(spec, simulation)
            self._world = make_world(simulation, spec.folder, seed)
            if not self._world.has_task:
                _require_judged(spec)
            nominal = _whole_multiple(spec, self._world.control_step)
            self._substeps = control_steps or nominal
            self._reward_scale = nominal / self._substeps  # a task's reward is a sum over control steps
            driven = driven_actuators(spec, simulation, self._world.model)
            self._actuators = {name: np.array(indices) for name, indices in driven.items()}
            held = self._substeps * self._world.control_step  # seconds that a command holds
            self._servos = {
                a.name: CartesianServo(self._world.model, simulation.cartesian[a.name], a, held)
                for a in spec.actions
                if a.name in simulation.cartesian
            }
            self._joints = JointReader(spec, self._world.model)
            self._imus = imu_readers(spec, simulation, self._world.model)
            self._odometry = odometry_readers(spec, simulation, self._world.model)
            self._poses = pose_readers(spec, simulation, self._world.model)
            self._arrays = array_readers(spec, simulation, self._world.model)
            self._task = TaskObservations(spec, simulation, self._world)
            self._asked = VelocityCommands(spec, simulation, seed)
            self._cameras = camera_views(spec, simulation, self._world.model)
            self._gap = Gap(simulation, self._world, self._read(pictures=False), seed)
        except (SpecError, msgspec.ValidationError) as error:
            model = f" as {spec.simulation['model']}" if "model" in spec.simulation else ""
            known = known_there(error, Simulation) if isinstance(error, msgspec.ValidationError) else ""
            raise SpecError(f"robot {spec.name!r} cannot be simulated{model}: {error}{known}") from error
        self._control = np.zeros(self._world.model.nu)
        self._neutral = np.zeros(self._world.model.nu)
        for action in spec.actions:
            if action.name not in self._servos:
                self._neutral[self._actuators[action.name]] = action.neutral_command()
        self._tick = 0
        self._leap = _leap(spec)
        used = frozenset().union(*(e.names for e in spec.expressions.values()))
        self._seen = [o for o in spec.quantities if o.name in used]  # by the expressions
        self._judged: dict[str, NDArray[Any]] = {}  # what the expressions saw in the row before; empty: there is none
        self._terminal: bool | None = None  # None: before the first reset

    @property
    def joint_names(self) -> list[str]:
        """Hinge and slide joints of the model, in its order."""
        return list(self._joints.names)

    @property
    def control_steps(self) -> int:
        """The world's control steps in a control period."""
        return self._substeps

    @property
    def drawn(self) -> dict[str, Any]:
        """How this episode differs from the nominal model, as plain JSON types; see `sim.gap`."""
        return self._gap.drawn

    @property
    def drawn_at_reset(self) -> Draws:
        """`drawn` without what was drawn amid the episode: what the first row of its experience carries."""
        return {name: entry for name, entry in self._gap.drawn.items() if name != "events"}

    @property
    def physics(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """MuJoCo's model and state, for those who look on."""
        return self._world.model, self._world.data

    def reset(self, seed: int | None = None) -> Sensors:
        """Begin an episode, a second later or more. With a seed, what follows depends on it alone, not on what went
        before."""
        if seed is not None:
            self._world.seed(seed)
            self._gap.seed(seed)
            self._asked.seed(seed)
        self._gap.restore()
        self._world.reset()
        for name, servo in self._servos.items():
            self._neutral[self._actuators[name]] = servo.begin(self._world.data)
        self._gap.begin(self._neutral)
        self._asked.begin()
        self._terminal, self._judged = False, {}
        self._tick += self._leap
        return replace(self._sense(0.0, {a.name: a.to_command(a.zero()) for a in self.spec.actions}), reward=0.0)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> Sensors:
        """Hold the commands (by action name, in units, shape (size,)) for one control period.

        A world that has ended (terminal) stands still until it is reset; only time goes on.
        """
        if self._terminal is None:
            raise RuntimeError("step before the first reset")
        sent: dict[str, NDArray[np.float64]] = {}
        for action in self.spec.actions:
            command = np.array(commands[action.name], np.float64)
            if command.shape != (action.size,) or not all_finite(command):
                raise ValueError(f"command {action.name}: expected {action.size} finite numbers, found {command}")
            sent[action.name] = command
        self._gap.command(functools.partial(self._drive, sent))
        reward = 0.0
        if not self._terminal:
            reward, self._terminal = self._world.step(self._gap.control, self._substeps, self._gap.before_step)
            self._asked.advance(self.spec.period, self._world.data.time)
        return self._sense(reward * self._reward_scale, commands)

    def _drive(self, commands: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """What actuators get of commands that have arrived: a late one is late for the robot's own servos too."""
        for name, command in commands.items():
            servo = self._servos.get(name)
            target = command if servo is None else servo.move(command, self._world.data)
            self._control[self._actuators[name]] = target
        return self._control

    def _sense(self, reward: float, commands: Mapping[str, NDArray[np.float64]]) -> Sensors:
        self._tick += 1  # from 1: a stamp of 0 means "no time yet" in ROS
        seen, terminal = self._gap.see(self._read), bool(self._terminal)
        signals = self._joints.judged(reward, terminal)
        fault = ""
        if self.spec.expressions:
            try:
                reward, terminal = self._judge(seen, commands, reward, terminal)
            except ExpressionFault as error:  # on board the sample is refused, and the next one is a first
                reward, fault, self._judged = 0.0, str(error), {}
            self._terminal = terminal
        return Sensors(
            joints=seen.joints | signals,
            imus=seen.imus,
            images=seen.images,
            odometry=seen.odometry,
            poses=seen.poses,
            twists=seen.twists,
            arrays=seen.arrays,
            stamp=round(self._tick * 1e9 / self.spec.rate),
            reward=reward,
            terminal=terminal,
            fault=fault,
        )

    def _read(self, pictures: bool = True) -> Readings:
        data = self._world.data
        return Readings(
            joints=self._joints.read(data),
            imus={topic: read(data) for topic, read in self._imus.items()},
            images={topic: view.take(self._world) for topic, view in self._cameras.items() if pictures},
            odometry={topic: read(data) for topic, read in self._odometry.items()},
            poses={topic: read(data) for topic, read in self._poses.items()},
            twists=self._asked.read(data.time),
            arrays={topic: read(data) for topic, read in self._arrays.items()} | self._task.read(),
        )

    def _judge(
        self, seen: Readings, commands: Mapping[str, NDArray[np.float64]], reward: float, terminal: bool
    ) -> tuple[float, bool]:
        """The reward as the spec computes it, in place of the world's own, and the task's end, if either says so."""
        values = {o.name: encode_observation(o, seen.values(o.source)) for o in self._seen}
        values |= commands
        before, self._judged = self._judged or values, values
        found = {name: expression(values, before) for name, expression in self.spec.expressions.items()}
        return found.get("reward", reward), terminal or bool(found.get("terminal", 0.0))

    def picture(self, side: int) -> NDArray[np.uint8]:
        """A picture (side, side, 3) of the robot for a person, by the model's first camera, also of one without eyes.

        Raises CannotRender.
        """
        return self._world.render(0 if self._world.model.ncam else -1, side, side)


def _require_judged(spec: RobotSpec) -> None:
    """Raise SpecError unless the spec computes what no task of the model says."""
    for name in spec.signals:
        raise SpecError(
            f"{name}: a model of one's own has no task that publishes it on topic {spec.signals[name].topic!r}; "
            f"write {name}: {{expression: …}} (docs/rewards.md)"
        )


def _leap(spec: RobotSpec) -> int:
    """Ticks by which a reset is later than what was before it: more than passes for a step on board, which is less than
    2.5 periods in lockstep, and up to twice what a sensor counts for in real time (`Feed`)."""
    counts = min(o.source.max_age for o in spec.quantities if not o.source.hold)
    return max(2, math.ceil(max(_RESET_TIME, 2 * counts) * spec.rate))


def _whole_multiple(spec: RobotSpec, control_step: float) -> int:
    steps = spec.period / control_step
    if steps < 0.999 or abs(steps - round(steps)) > 1e-6:
        near = range(max(1, math.floor(steps) - 1), math.floor(steps) + 3)
        fitting = ", ".join(f"{1 / (control_step * n):.10g}" for n in near)  # digits enough to be taken when typed
        raise SpecError(
            f"rate {spec.rate:g} Hz: its period {spec.period:.6g} s is not a whole multiple of the model's control "
            f"step {control_step:g} s; rates near it that fit: {fitting}; or change that step in the model"
        )
    return round(steps)
