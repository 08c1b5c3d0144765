"""Faults whose cause is outside the control loop, which cannot see it: the learner's word, the disk, the loop itself.

bundle    the acting bundle is older than the spec's safety allows; the link must be asked how old it is
link      what the robot lives through would be lost: the link says why
contested another node publishes commands, or the heartbeat
deadline  the loop hangs: no tick for seconds. It cannot say so itself; its heartbeat has ended
"""

from __future__ import annotations

import math

from robot_dreamer.link.robot import RobotLinkStatus
from ros_nodes.components import Components
from ros_nodes.health import bundle_age

_HUNG = 2.0  # seconds that the control loop may be overdue, seen by every look: a paused machine pauses both


class OutsideFaults:
    """Latches them at the components' guard; for the thread that spins the node.

    Args:
      interval: seconds between two calls of `judge_loop`.
    """

    def __init__(self, components: Components, interval: float) -> None:
        self._components = components
        self._interval = interval
        self._overdue_looks = 0

    def judge_loop(self) -> None:
        """Whether the loop hangs. Then nobody shall wait for it: the safe pose is led to from the node's thread."""
        runner, period = self._components.runner, self._components.spec.period
        overdue = runner.overdue
        self._overdue_looks = self._overdue_looks + 1 if overdue > self._interval else 0
        if overdue > _HUNG and self._overdue_looks * self._interval > _HUNG and not runner.failure:
            reason = f"it hangs: no tick for {overdue:.1f} s, its period is {period:g} s"
            self._components.controller.guard.latch("deadline", reason)
            runner.give_up(reason)

    def judge_claim(self) -> None:
        """Whether another node commands the robot too."""
        problem = self._components.outlets.rivals()
        if problem:
            self._components.controller.guard.latch("contested", problem)

    def judge_link(self, status: RobotLinkStatus | None) -> None:
        """Whether rows would be lost. `status`: of the link; None: there is none."""
        if status is not None and status.fault:
            self._components.controller.guard.latch("link", status.fault)

    def judge_bundle(self) -> None:
        """Whether the bundle is too old that acts, or is ready to: it takes over in episodes, which this fault ends."""
        components, policy = self._components, self._components.slot.next
        allowed, age = components.spec.safety.bundle_seconds, bundle_age(components, policy)
        if allowed and age > allowed:
            how = f"is {age:.0f} s old" if math.isfinite(age) else "says that it was made later than now, so no age"
            text = f"bundle {policy.version} {how}, allowed {allowed:g} s"
            components.controller.guard.latch("bundle", text)
