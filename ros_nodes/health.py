"""How a policy node is doing: figures for the learner's display, what is wrong, and words for the log."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from rclpy.node import Node

from robot_dreamer.link.robot import RobotLinkStatus
from robot_dreamer.onboard.policy import ActingPolicy, OnnxPolicy
from robot_dreamer.onboard.states import DriveState
from ros_nodes.components import Components
from ros_nodes.graph import unheard

_WORDS = 256  # characters of a figure, at most
CLOCK_SKEW = 60.0  # seconds that the clocks of two computers may differ
_PATIENCE = 3  # seconds without the learner before saying so


def bundle_age(components: Components, policy: ActingPolicy | None = None) -> float:
    """Seconds since the learner published a policy's bundle (None: the acting one's), by its monotonic clock; 0 for the
    random policy.

    Of a bundle that no learner has spoken of since the node started: since it was made, by the wall clocks. One that
    says that it was made later than now, by more than the clocks of two computers differ, is of unknown age: infinity.
    """
    policy = policy or components.slot.current
    if not isinstance(policy, OnnxPolicy):
        return 0.0
    link = components.link.status() if components.link is not None else None
    if link is not None and link.bundle_age is not None and link.bundle_file == policy.source:
        return link.bundle_age
    age = (datetime.now(timezone.utc) - policy.created).total_seconds()
    return max(0.0, age) if age >= -CLOCK_SKEW else math.inf


def figures(components: Components) -> dict[str, float | int | str]:
    """What the learner's display shows of this robot."""
    controller = components.controller
    shown: dict[str, float | int | str] = {
        "bundle_version": components.slot.current.version,
        "loop_misses": components.runner.misses,
        "loop_ticks": components.runner.ticks,
        "episode_length": controller.last_length,
        "episodes": controller.episodes,
        "faults": controller.guard.faults.total(),
        "interventions": controller.interventions,
        "state": components.states.state.value,
        "swaps": components.slot.swaps,
        "refused_samples": controller.refused.total(),
        "steps": controller.steps,
    }
    age = bundle_age(components)
    if math.isfinite(age):
        shown["bundle_age_s"] = age
    fault = controller.guard.fault
    if fault is not None:
        shown["fault"] = str(fault)[:_WORDS]
    if not math.isnan(controller.last_return):
        shown["episode_return"] = controller.last_return
    return shown


def complain(node: Node, components: Components) -> str:
    """What the runner has been waiting for, with what the ROS graph knows about it; empty if nothing."""
    waiting = components.runner.waiting_for()
    about = unheard(node, components.observer.topics) if waiting else []
    about += components.outlets.deaf(components.runner.unheard()) if waiting else []
    outlets = components.outlets
    about += [outlets.rivals(), *outlets.mistaken(), components.resetter.trouble()]
    return "; ".join(filter(None, [waiting, *about]))


class StatusLog:
    """Says in the log what a person should know: what began, what is wrong, what is over. Throttled."""

    def __init__(self, node: Node, learner: str) -> None:
        self._logger = node.get_logger()
        self._learner = learner
        self._version: int | None = None
        self._fallback = ""
        self._complaint = ""
        self._away = 0  # seconds without the learner
        self._state: DriveState | None = None
        self._said: dict[str, int] = {}  # how many of what
        self._told: set[str] = set()  # remarks, each of them once

    def say(self, components: Components, link: RobotLinkStatus | None, complaint: str) -> None:
        """Call it once a second."""
        logger, policy = self._logger, components.slot.current
        version = policy.version
        if version != self._version:
            self._version = version
            logger.info("random actions, until a bundle comes" if version < 0 else f"policy {version} acts")
            fallback = policy.fallback if isinstance(policy, OnnxPolicy) else ""
            if fallback != self._fallback:
                self._fallback = fallback
                logger.warning(fallback or "policies run on the provider asked for")
        state = components.states.state
        if state is not self._state:
            self._state = state
            logger.info(f"state: {state.value}")
        fault = components.controller.guard.fault
        if fault is not None:
            text = f"fault: {fault}; reaction: {fault.reaction}, until ~/clear_fault is called"
            logger.error(text, throttle_duration_sec=5.0)
        self._say_new("samples refused", components.controller.refused.total(), components.controller.last_refusal)
        self._say_new("bundles refused", components.slot.refused, components.slot.last_refusal)
        self._say_new("policies rolled back", components.slot.rollbacks, components.slot.last_rollback)
        for about, remark in components.observer.remarks().items():
            if about not in self._told:
                self._told.add(about)
                logger.warning(remark)
        if complaint:
            logger.warning(complaint, throttle_duration_sec=5.0)
        elif self._complaint:
            logger.info("what was missing is back")
        self._complaint = complaint
        if link is None:
            return
        if link.connected:
            if self._away:
                logger.info(f"learner at {self._learner} is there")
            self._away = 0
            return
        self._away += 1
        if self._away >= _PATIENCE:  # it may just be about to answer
            why = f"{link.state}: {link.last_error}" if link.last_error else link.state
            text = f"no learner at {self._learner} ({why}); acting on, {link.spooled} rows are kept here"
            logger.warning(text, throttle_duration_sec=10.0)

    def _say_new(self, what: str, count: int, last: str) -> None:
        """The control loop only counts; it is said here, a second later."""
        if count > self._said.get(what, 0):
            self._logger.error(f"{what}: {count}; the last: {last}")
        self._said[what] = count
