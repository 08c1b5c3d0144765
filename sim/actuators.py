"""Which actuators of the model each action drives."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import ActionSpec, RobotSpec, SpecError
from robot_dreamer.spec.action import TWIST, TWIST_STAMPED
from sim.simulation import Simulation
from sim.units import require_known


def driven_actuators(spec: RobotSpec, simulation: Simulation, model: mujoco.MjModel) -> dict[str, list[int]]:
    """Actuator indices of each action. An action names joints (or actuators), or stands alone for all actuators; one
    that moves a tip in space has those of its joints."""
    by_name = {model.actuator(i).name: i for i in range(model.nu) if model.actuator(i).name}
    joint_driven = [i for i in range(model.nu) if model.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_JOINT)]
    by_joint = {model.joint(model.actuator_trnid[i, 0]).name: i for i in joint_driven}
    driven = by_name | by_joint
    labels = {i: name for name, i in (by_joint | by_name).items()}
    for field in ("actuators", "cartesian"):
        strangers = sorted(set(getattr(simulation, field)) - {a.name for a in spec.actions})
        if strangers:
            raise SpecError(f"simulation.{field}: the robot has no action {', '.join(strangers)}")
    indices: dict[str, list[int]] = {}
    for action in spec.actions:
        if action.name in simulation.cartesian:
            moved = simulation.cartesian[action.name].joints
            require_known("actuated joint", moved, by_joint, f"simulation.cartesian.{action.name}")
            indices[action.name] = [by_joint[name] for name in moved]
            continue
        names = simulation.actuators.get(action.name, action.command.names)
        if len(names) not in (0, action.size):
            raise SpecError(f"simulation.actuators of {action.name!r} needs {action.size} entries, found {len(names)}")
        if not names and (len(spec.actions) > 1 or action.size != model.nu):
            raise SpecError(
                f"action {action.name!r}: command.names or simulation.actuators must say which of these it drives: "
                f"{', '.join(driven)}"
            )
        require_known("actuated joint or actuator", names, driven, f"action {action.name!r}")
        indices[action.name] = [driven[n] for n in names] if names else list(range(model.nu))
        _require_twist(action, [(labels.get(i, str(i)), i) for i in indices[action.name]], model)
        low, high = _limits(action)
        for i, a, b in zip(indices[action.name], low, high, strict=True):
            least, most = model.actuator_ctrlrange[i]
            if model.actuator_ctrllimited[i] and (a < least or b > most):
                label = labels.get(i, i)
                raise SpecError(
                    f"action {action.name!r}: limits [{a}, {b}] exceed [{least}, {most}] of actuator {label!r}"
                )
    used = sorted(i for row in indices.values() for i in row)
    if used != list(range(model.nu)):
        once = [str(labels.get(i, i)) for i in range(model.nu) if used.count(i) != 1]
        raise SpecError(f"every actuator must be driven by exactly one action; these are not: {', '.join(once)}")
    return indices


def _require_twist(action: ActionSpec, driven: list[tuple[str, int]], model: mujoco.MjModel) -> None:
    """Raise SpecError where a Twist is handed to wheels: m/s of the base to a hinge, or rad/s of it to a slide.

    driven: labels and indices of its actuators.
    """
    if action.command.type not in (TWIST, TWIST_STAMPED):
        return
    for name, (label, i) in zip(action.command.names, driven, strict=True):
        linear = name.startswith("linear")
        odd = mujoco.mjtJoint.mjJNT_HINGE if linear else mujoco.mjtJoint.mjJNT_SLIDE
        on_joint = model.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_JOINT)
        if on_joint and model.jnt_type[model.actuator_trnid[i, 0]] == int(odd):
            unit, does = ("m/s", "turns") if linear else ("rad/s", "slides")
            raise SpecError(
                f"action {action.name!r}: {name} is in {unit}, and {label!r} {does}: a base's driver makes "
                "speeds of its wheels of a Twist, so must the model, by tendons over them (sim/models/turtlebot.xml)"
            )


def _limits(action: ActionSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if action.discrete:
        values = np.asarray(action.values)
        return values.min(0), values.max(0)
    return np.asarray(action.low), np.asarray(action.high)
