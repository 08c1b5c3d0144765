"""Moves of an arm's tip in space, as targets of its joints: what stands between a Twist and position drives.

On a robot that is MoveIt Servo, or the arm's own controller. Each command is a velocity that is held for one control
period. The target moves by it, unless it would leave the workspace: then the whole move is refused, as by a servo that
knows where table and walls are. The joints follow by damped least squares on the chain's kinematics (Buss 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import ActionSpec, SpecError
from robot_dreamer.spec.action import TWIST_FIELDS, TWIST_STAMPED
from sim.simulation import Cartesian
from sim.units import require_known

_MOST_STEPS = 100  # of the solver; a move of some centimetres takes about five
_DAMPING = 1e-4  # added to the eigenvalues of J J^T; m^2 and rad^2
_NEAR = 1e-4  # m and rad: solved


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the tip should be, and the joints [joints], rad, that bring it there; the orientation is w, x, y, z."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    joints: NDArray[np.float64]


class CartesianServo:
    """The servo of one arm, which is fixed to the world.

    Args:
      setting: what `simulation.cartesian` says.
      action: whose commands come in: a TwistStamped in the world's frame, m/s and rad/s.
      period: seconds that a command holds.

    Raises:
      SpecError: the model lacks the body or a joint, or the action is no TwistStamped.
    """

    def __init__(self, model: mujoco.MjModel, setting: Cartesian, action: ActionSpec, period: float) -> None:
        where = f"simulation.cartesian.{action.name}"
        if action.command.type != TWIST_STAMPED:
            raise SpecError(f"{where}: its command must be a {TWIST_STAMPED}, found {action.command.type}")
        require_known("body", [setting.body], [model.body(i).name for i in range(model.nbody)], where)
        hinges = [i for i in range(model.njnt) if model.jnt_type[i] == int(mujoco.mjtJoint.mjJNT_HINGE)]
        require_known("hinge joint", setting.joints, [model.joint(i).name for i in hinges], where)
        joints = [model.joint(name) for name in setting.joints]
        self._model, self._data = model, mujoco.MjData(model)  # a scratch pad, to see where joints lead
        self._body, self._setting, self._period = model.body(setting.body).id, setting, period
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._low, self._high = np.array([joint.range if joint.range.any() else (-9e9, 9e9) for joint in joints]).T
        self._fields = [TWIST_FIELDS.index(name) for name in action.command.names]

    def begin(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """An episode begins in the state of `data`: joint targets that keep it there, [joints], rad."""
        self._data.qpos[:] = data.qpos
        here = data.xpos[self._body].copy(), data.xquat[self._body].copy(), data.qpos[self._qpos].copy()
        self._target = self._before = _Target(*here)
        self._moved_at, self._way = data.time, 0.0  # the last command came, s; m from the tip to its target then
        return self._target.joints

    def move(self, command: NDArray[np.float64], data: mujoco.MjData) -> NDArray[np.float64]:
        """Joint targets [joints], rad, for a command [fields], m/s and rad/s.

        A tip that something has held back (it is farther from its target than `slack`) gives up that move: it goes from
        where the move began. While the period of that move is not over (this command was less late) the tip may be
        farther, by what it still has to go. A move that leads out of the workspace, or out of reach, is none.
        """
        tip, slack = data.xpos[self._body], self._setting.slack
        ahead = self._way * max(0.0, 1.0 - (data.time - self._moved_at) / self._period)
        behind = float(np.linalg.norm(tip - self._target.position))
        if behind <= slack:
            self._before = self._target
        elif behind > slack + ahead:
            self._target = self._before
        twist = np.zeros(6)
        twist[self._fields] = command
        position = self._target.position + twist[:3] * self._period
        orientation = self._target.orientation.copy()
        mujoco.mju_quatIntegrate(orientation, _as_seen_by(orientation, twist[3:]), self._period)
        boxes = self._setting.workspace
        allowed = any((position >= box.low).all() and (position <= box.high).all() for box in boxes)
        joints = self._solve(position, orientation) if allowed and command.any() else None
        if joints is not None:
            self._target = _Target(position, orientation, joints)
        self._moved_at, self._way = data.time, float(np.linalg.norm(tip - self._target.position))
        return self._target.joints

    def _solve(self, position: NDArray[np.float64], orientation: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Joints that bring the body there, from where they are; None: it is out of their reach."""
        model, data, joints = self._model, self._data, self._target.joints
        jacobian, error = np.empty((6, model.nv)), np.empty(6)
        for _ in range(_MOST_STEPS):
            data.qpos[self._qpos] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            error[:3] = position - data.xpos[self._body]
            mujoco.mju_subQuat(error[3:], orientation, data.xquat[self._body])
            error[3:] = data.xmat[self._body].reshape(3, 3) @ error[3:]  # it is in the body's frame
            if np.abs(error).max() < _NEAR:
                return joints
            mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], self._body)
            chain = jacobian[:, self._dof]
            change = chain.T @ np.linalg.solve(chain @ chain.T + _DAMPING * np.eye(6), error)
            joints = np.clip(joints + change, self._low, self._high)
        return None


def _as_seen_by(orientation: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector of the world [3] in the frame of a body of this orientation: w, x, y, z."""
    back, seen = np.empty(4), np.empty(3)
    mujoco.mju_negQuat(back, orientation)
    mujoco.mju_rotVecQuat(seen, vector, back)
    return seen
