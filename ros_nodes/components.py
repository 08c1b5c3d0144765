"""All that a configured policy node consists of, put together from its parameters."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.missing import advice
from robot_dreamer.onboard.bundle import BundleError, spec_for
from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.logbook import Logbook
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.onboard.policy import ActingPolicy, OnnxPolicy, RandomPolicy
from robot_dreamer.onboard.priority import give_back_memory
from robot_dreamer.onboard.probation import Probation
from robot_dreamer.onboard.proof import prove
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.onboard.states import StateMachine
from robot_dreamer.onboard.verdict import read_admitted
from robot_dreamer.ros_types import message_class
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.spec import require_lockstep
from ros_nodes.commander import Commander
from ros_nodes.crowd import Crowd
from ros_nodes.debug_topics import DebugTopics
from ros_nodes.e_stop import EStop
from ros_nodes.graph import require_types
from ros_nodes.heartbeat import KIND as BOOL
from ros_nodes.heartbeat import TOPIC as HEARTBEAT
from ros_nodes.heartbeat import Heartbeat
from ros_nodes.inlets import news, qualities
from ros_nodes.lockstep import Lockstep
from ros_nodes.outlets import Outlets
from ros_nodes.realtime import Realtime
from ros_nodes.reset import Resetter
from ros_nodes.runner import LoopParts, Runner
from ros_nodes.shield import ShieldedNode
from ros_nodes.takeover import TakeOver

_FLUSH = 2.0  # seconds for what can still be sent; ros2 launch loses patience after 5
_LOG = logging.getLogger(__name__)


class Components:
    """Spec, policy, link, controller, topics and the runner that drives them. The link runs as long as they exist.

    Args:
      node: owner of the topics.
      e_stop: of the node; it is told of this guard, and forgets it when they close.
      ended: whether the node is to end: then no proof of a bundle is waited for.

    Raises:
      SpecError, BundleError, LinkError, ValueError: something in the parameters cannot be used; nothing is left behind.
    """

    def __init__(
        self,
        node: ShieldedNode,
        parameters: PolicyNodeSettings,
        e_stop: EStop,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        give_back_memory()
        p = parameters
        if p.trusted_signers:
            _require_signed(Path(p.bundle), Path(p.trusted_signers))  # before anything of it is parsed
        self.spec = spec = spec_for(p.robot, Path(p.bundle) if p.bundle else None)
        if p.clock == "lockstep":
            require_lockstep(spec)
        self.robot_id = p.robot_id or spec.name
        logbook = Logbook(p.directory(self.robot_id) / "bundles") if p.learner else None
        policy = self._first_policy(p, logbook, ended)
        lineage = policy.lineage if p.bundle else None
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.link = self._make_link(p, stack)
            lockstep = p.clock == "lockstep"
            probation = Probation(None if lockstep else spec.period, p.rollback_episodes)
            self.slot = PolicySlot(
                spec, policy, p.threads, p.provider, probation, lineage, logbook, gated=p.require_gate
            )
            stack.callback(self.slot.stop)
            received = self.link.take_bundle() if self.link else None
            if received is not None and not (isinstance(policy, OnnxPolicy) and policy.source == received.name):
                self.slot.offer(received)
            self.controller = Controller(
                spec,
                self.slot,
                robot=self.robot_id,
                boot=self.link.boot if self.link else secrets.token_hex(8),
                record=self.link.record if self.link else None,
                deterministic=bool(node.get_parameter("deterministic").value),  # may have changed
                seed=p.seed,
            )

            def now() -> int:
                return int(node.get_clock().now().nanoseconds)

            self.observer = Observer(spec, need_reward=lockstep or self.link is not None, lockstep=lockstep, now=now)
            needed = {t: kind for t, kind in self.observer.topics.items() if t in self.observer.needed}
            require_types(node, needed)
            clock = ["/clock"] if node.get_parameter("use_sim_time").value else []
            judged = [s.topic for name, s in spec.signals.items() if name == "terminal"]
            single = {*needed, *judged, *clock} - self.observer.shared
            self.crowd = Crowd(node, single, spec.episode.reset_service)
            self.observer.contested = self.crowd.look()
            e_stop.require_type()
            self.states = StateMachine(spec, self.controller.guard, p.automatic)
            self.commander = commander = Commander(node, spec)
            stack.callback(commander.close)
            guard = self.controller.guard

            def may() -> bool:
                """In real time from the safe pose only: whoever resets the robot moves it too, or hears nothing."""
                return guard.fault is None and (lockstep or guard.limits.at_neutral)

            self.resetter = Resetter(node, spec.episode, may=may)
            stack.callback(self.resetter.destroy)
            self.takeover = TakeOver(node, spec, float(node.get_parameter("teleop_timeout").value))
            stack.callback(self.takeover.destroy)
            self.e_stop = e_stop
            e_stop.buttons.attach(self.controller.guard)
            stack.callback(e_stop.buttons.attach, None)
            self.debug = DebugTopics(node, spec, self.controller, p.debug_rate) if p.debug_rate else None
            if self.debug is not None:
                stack.callback(self.debug.destroy)
            self.heartbeat = heartbeat = Heartbeat(node, spec.rate, p.heartbeat_required)
            stack.callback(heartbeat.close)
            self.outlets = Outlets(node, {**commander.topics, HEARTBEAT: BOOL}, self.takeover.topics)
            parts = LoopParts(
                spec, self.observer, self.controller, self.states, commander, self.resetter, self.takeover, heartbeat,
                node.get_logger(),
            )  # fmt: skip
            self.runner: Runner
            if lockstep:
                self.runner = Lockstep(parts)
            else:
                self.runner = Realtime(parts, now, p.priority, p.core)
            for topic, kind in self.observer.topics.items():
                message, receive = message_class(kind), partial(self._receive, topic)
                for qos in qualities(self.observer, topic):
                    inlet = node.create_subscription(message, topic, receive, qos, event_callbacks=news(qos))
                    stack.callback(node.destroy_subscription, inlet)
            self._stack = stack.pop_all()

    def claim(self) -> None:
        """Become the one that commands this robot.

        Raises:
          ValueError: another node publishes there; names it.
        """
        self.outlets.require_free()
        self.commander.open()
        self.heartbeat.open()

    def release(self) -> None:
        """Another one may command this robot."""
        self.commander.close()
        self.heartbeat.close()

    def close(self) -> None:
        """Give everything back, the link last: what was recorded is on disk then."""
        self._stack.close()

    def _first_policy(self, p: PolicyNodeSettings, logbook: Logbook | None, ended: Callable[[], bool]) -> ActingPolicy:
        """`bundle`; or the one that acted last, where it is a newer one of the same run or no other is named."""
        named = read_admitted(Path(p.bundle), self.spec, p.require_gate) if p.bundle else None
        if logbook is not None and logbook.acting is not None:
            try:
                kept = read_admitted(logbook.acting, self.spec, p.require_gate)
                if named is None or kept.manifest.replaces(named.manifest):
                    return prove(logbook.acting, kept, p.threads, p.provider, ended)
            except BundleError as error:
                text = f"the bundle that acted last cannot act now: {error}"
                if named is None:  # what else there is are random actions
                    raise BundleError(f"{text}; name another one as `bundle`, or delete it") from error
                _LOG.error("%s", text)
        if named is not None:
            return prove(Path(p.bundle), named, p.threads, p.provider, ended)
        if not p.random_actions:
            until = "until the learner sends one" if p.learner else "for ever, since `learner` is empty too"
            text = f"`bundle` is empty and `logdir` keeps none that acted before: the robot would act at random {until}"
            raise ValueError(f"{text}; name a bundle, or say random_actions:=true")
        return RandomPolicy(self.spec, p.seed)

    def _make_link(self, p: PolicyNodeSettings, stack: ExitStack) -> RobotLink | None:
        if not p.learner:
            return None
        keys = Path(p.keys) if p.keys else None
        folder = p.directory(self.robot_id)
        folder.mkdir(parents=True, exist_ok=True)
        link = RobotLink(
            self.spec,
            self.robot_id,
            folder,
            p.learner,
            keys=keys,
            insecure=p.insecure,
            spool_limit=p.spool_megabytes << 20,
            when_full="stop" if p.spool_rule == "stop" else "drop_oldest",
        )
        stack.callback(_stop_link, link)
        link.start()
        return link

    def _receive(self, topic: str, message: Any) -> None:
        self.observer.receive(topic, message)
        self.runner.heard(topic)


def _require_signed(bundle: Path, trusted: Path) -> None:
    try:
        from robot_dreamer.policies.signature import require_signed
    except ModuleNotFoundError as error:  # an extra, which a robot that asks nobody does without
        raise ValueError(f"trusted_signers: {advice(error)}") from error
    signer, statement = require_signed(bundle, trusted)
    _LOG.info("%s is %s %d, signed by %s", bundle, statement.name, statement.sequence, signer)


def _stop_link(link: RobotLink) -> None:
    try:
        link.stop(_FLUSH)
    except LinkError as error:
        _LOG.error("link: %s", error)
