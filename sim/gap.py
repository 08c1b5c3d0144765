"""The gap between model and robot, as data: what varies (`simulation.vary`), what is late (`simulation.delay`), and
what motors can give (`simulation.motors`)."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import msgspec
import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, SpecError
from sim.delay import Channel
from sim.motors import Motors
from sim.physics import Before
from sim.pushes import PUSH, Pushes
from sim.quantities import QUANTITIES
from sim.sensor_noise import BIAS, NOISE, SensorNoise
from sim.sensors import Readings
from sim.simulation import Simulation
from sim.variation import Drawn, ModelVariation
from sim.worlds import World

Arrival = Callable[[], NDArray[np.float64]]  # makes control of a command, [actuators], when it arrives
_STREAM = 1  # of the seed; the world's own randomness has the seed itself
_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)  # the enumeration itself takes as long to pass as the state to copy


class Gap:
    """Varies a world, and lets time pass between it and who acts on it. Where nothing is asked of it, it does nothing.

    All that it draws depends on the seed and the number of the episode alone.

    Args:
      simulation: says what varies and what is late.
      example: what the world's sensors show, pictures aside.

    Attributes:
      drawn: of the present episode, as plain JSON types: what was drawn by quantity and name, the `delay` of sensors
        and commands, s, and `events`: what was drawn amid the episode, with the time since the reset, s.
      before_step: what the world must call before physics steps; None: nothing.
      control: of the last command that has arrived, [actuators].

    Raises:
      SpecError: the model has not what should vary, or it cannot vary so.
    """

    def __init__(self, simulation: Simulation, world: World, example: Readings, seed: int) -> None:
        self._world = world
        model, table = world.model, list(enumerate(simulation.vary))
        for number, vary in table:
            known = [*QUANTITIES, NOISE, BIAS, PUSH]
            if vary.quantity not in known:
                near = get_close_matches(vary.quantity, known, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                text = (
                    f"simulation.vary[{number}]: unknown quantity {vary.quantity!r}{meant}; known: {', '.join(known)}"
                )
                raise SpecError(text)
        self._model = ModelVariation([x for x in table if x[1].quantity in QUANTITIES], model)
        self._noise = SensorNoise([x for x in table if x[1].quantity in (NOISE, BIAS)], example)
        self._pushes = Pushes([x for x in table if x[1].quantity == PUSH], model)
        self._motors = Motors(model, simulation.motors)
        self._sensors = Channel(simulation.delay.sensors, model.opt.timestep)
        self._commands = Channel(simulation.delay.commands, model.opt.timestep)
        self._varies = bool(table) or self._sensors.used or self._commands.used or self._motors.used
        self._present = mujoco.MjData(model) if self._sensors.used else None
        self._state_size = mujoco.mj_stateSize(model, _STATE)
        self._history: deque[NDArray[np.float64]] = deque(maxlen=self._sensors.most + 1)
        self._pending: deque[tuple[int, Arrival]] = deque()
        self._events: list[tuple[tuple[float, float], Callable[[Generator], Drawn]]] = []  # interval, s; what happens
        for part in (self._model, self._noise):
            every = [(i, interval) for i, interval in enumerate(part.intervals) if np.isfinite(interval[0])]
            self._events += [(interval, functools.partial(part.redraw, i)) for i, interval in every]
        self._events += [(often, functools.partial(self._push, i)) for i, often in enumerate(self._pushes.intervals)]
        timed = self._sensors.used or self._commands.used or self._events or self._motors.used
        self.before_step: Before | None = self._before_step if timed else None
        self._due: list[int] = []  # the step of each next event
        self._shown: tuple[int, Readings] | None = None
        self.drawn: dict[str, Any] = {}
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Make the following episodes depend on this seed alone."""
        self._seeds = np.random.default_rng([seed, _STREAM])

    def restore(self) -> None:
        """Before the world is reset: the nominal model."""
        if self._varies:
            self._motors.release()
            self._model.restore()

    def begin(self, neutral: NDArray[np.float64]) -> None:
        """After the world was reset: draw the episode. neutral: control until the first command arrives."""
        self.control = neutral.copy()
        if not self._varies:
            return
        self._generator = np.random.default_rng(self._seeds.integers(2**63))
        self._now, self._shown = 0, None
        self._history.clear()
        self._pending.clear()
        self.drawn = {**self._model.draw(self._generator), **self._noise.draw(self._generator)}
        late = {"sensors": self._sensors, "commands": self._commands}
        delay = {name: channel.begin(self._generator) for name, channel in late.items() if channel.used}
        if delay:
            self.drawn["delay"] = delay
        self._motors.begin()
        self._pushes.begin()
        self._due = [self._later(interval) for interval, _ in self._events]
        if self._events:
            self.drawn["events"] = []
        if self._model.rows:
            self._world.settle()

    def _push(self, number: int, generator: Generator) -> Drawn:
        return self._pushes.push(number, self._world.data, self._now, generator)

    def _later(self, interval: tuple[float, float]) -> int:
        seconds = self._generator.uniform(*interval)
        return self._now + max(1, round(seconds / self._world.model.opt.timestep))

    def command(self, arrival: Arrival) -> None:
        """A command is sent."""
        if not self._commands.used:
            self.control = arrival()
            return
        step = self._commands.arrives(self._now, self._generator)
        if step is not None:
            self._pending.append((step, arrival))

    def _before_step(self, steps: int) -> int:
        """Before a physics step with so many to come; returns after how many something is to be done again."""
        model, data = self._world.model, self._world.data
        if steps <= self._sensors.most:  # what the sensors show after these steps is at most so old
            state = np.empty(self._state_size)
            mujoco.mj_getState(model, data, state, _STATE)
            self._history.append(state)
        arrived: Arrival | None = None
        while self._pending and self._pending[0][0] <= self._now:
            _, arrived = self._pending.popleft()
        if arrived is not None:  # of several at once the last one counts
            self.control = arrived()
        data.ctrl[:] = self.control
        self._pushes.pass_by(data, self._now)
        for i, (interval, happen) in enumerate(self._events):
            if self._due[i] <= self._now:
                self._motors.release()
                self.drawn["events"].append({"time": self._now * model.opt.timestep, **happen(self._generator)})
                self._motors.begin()
                self._due[i] = self._later(interval)
        if self._motors.used:
            self._motors.limit(data)
        number = self._calm(steps)
        self._now += number
        return number

    def _calm(self, steps: int) -> int:
        """How many of the physics steps to come pass before something is to be done."""
        if self._motors.used or steps <= self._sensors.most:
            return 1
        arrivals = [step for step, _ in self._pending]
        coming = (*arrivals, *self._pushes.ends, *self._due)
        return min([steps - self._sensors.most, *(step - self._now for step in coming)])

    def see(self, read: Callable[[], Readings]) -> Readings:
        """What the sensors show now, by `read` of the world's present state."""
        if not self._varies:
            return read()
        if not self._sensors.used:
            return self._noise.add(read(), self._generator)
        step = self._sensors.seen(self._now, self._generator)
        if self._shown is None or self._shown[0] != step:
            with self._looking_back(step):
                self._shown = step, self._noise.add(read(), self._generator)
        return self._shown[1]

    @contextlib.contextmanager
    def _looking_back(self, step: int) -> Iterator[None]:
        """The world's data as they were before a step, and then, to the last bit, as they are."""
        if step == self._now or self._present is None:
            yield
            return
        model, data = self._world.model, self._world.data
        mujoco.mj_copyData(self._present, model, data)
        mujoco.mj_setState(model, data, self._history[step - self._now], _STATE)
        mujoco.mj_forward(model, data)
        try:
            yield
        finally:
            mujoco.mj_copyData(data, model, self._present)


def drawn_once(spec: RobotSpec) -> str:
    """What a person should know who believes that it differs from episode to episode, although nobody resets this
    robot, whose episodes go on in one world; empty: nothing."""
    simulation = msgspec.convert(spec.simulation, Simulation)
    rows = [(f"vary[{i}] ({vary.quantity})", vary.range) for i, vary in enumerate(simulation.vary) if vary.once]
    rows += [("delay.sensors", simulation.delay.sensors.seconds), ("delay.commands", simulation.delay.commands.seconds)]
    names = [name for name, (low, high) in rows if low < high]
    if spec.episode.reset_service or not names:
        return ""
    return (
        f"robot {spec.name!r} has no episode.reset_service, so its episodes go on in one world: what simulation.vary "
        f"and delay say is drawn when that world begins, and not for each episode ({', '.join(names)}); name a "
        "reset_service, or let rows of vary be drawn amid an episode (when: seconds)"
    )
