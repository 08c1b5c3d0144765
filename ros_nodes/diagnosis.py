"""What `/diagnostics` says: each part of a policy node with a level, a line and its counters."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from robot_dreamer.link.robot import RobotLinkStatus
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec.safety import RULES
from ros_nodes.components import Components
from ros_nodes.health import bundle_age
from ros_nodes.realtime import Realtime
from ros_nodes.shield import ShieldedNode

_OK, _WARN, _ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_SAME = 10  # samples in a row without new data that are nothing to speak of
_STILL = 3.0  # seconds that a quantity may be the same to the last bit while commands change
_Judged = tuple[bytes, str, dict[str, Any]]  # level, line, counters


class Diagnosis:
    """Judges the components, again and again; remembers what it has already told."""

    def __init__(self, node: ShieldedNode, components: Components) -> None:
        self._node = node
        self._components = components
        self._failed = 0  # callbacks until the last report
        self._stall = _SAME  # the longest row of samples without new data until the last report
        self._samples = 0  # refused until the last report
        self._bundles = (0, 0, 0)  # swaps, refusals and rollbacks until the last report
        self._trouble = ""  # of the bundle that came last

    def report(self, link: RobotLinkStatus | None, complaint: str, acting: bool) -> DiagnosticArray:
        """All parts. `complaint`: what the runner waits for, empty if nothing; `acting`: the node is active."""
        parts: dict[str, _Judged] = {
            "control loop": self._loop(complaint or ("" if acting else "not active")),
            "sensors": self._sensors(),
            "guard": self._guard(),
            "take-over": self._person(),
            "policy": self._policy(),
            "episodes": self._episodes(),
            "callbacks": self._callbacks(),
        }
        if link is not None:
            parts["link"] = _link(link)
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        for name, (level, message, values) in parts.items():
            shown = [KeyValue(key=k, value=f"{v:.4g}" if isinstance(v, float) else str(v)) for k, v in values.items()]
            owner = self._node.get_fully_qualified_name().lstrip("/")  # of several robots all are called policy
            whole, robot = f"{owner}: {name}", self._components.robot_id
            array.status.append(
                DiagnosticStatus(level=level, name=whole, hardware_id=robot, message=message, values=shown)
            )
        return array

    def _loop(self, complaint: str) -> _Judged:
        components, runner = self._components, self._components.runner
        values: dict[str, Any] = {"rate": components.spec.rate, "ticks": runner.ticks, "misses": runner.misses}
        if isinstance(runner, Realtime):
            stats = runner.loop.stats()
            values |= {"phase": runner.phase.value, "period": stats.period, "jitter_p99": stats.jitter_p99}
            values |= {"jitter_max": stats.jitter_max, "busy_max": stats.busy_max}
        else:
            values |= {"repeats": runner.repeats}
        resetter = components.resetter
        values |= {"resets": resetter.resets, "reset_retries": resetter.retries}
        values |= {"draws_refused": resetter.draws_refused}
        values |= {f"worst_{stage}": seconds for stage, seconds in components.controller.stages.worst().items()}
        level = _ERROR if runner.failure else _WARN if complaint else _OK
        return level, runner.failure or complaint or "running", values

    def _sensors(self) -> _Judged:
        """Error: without fresh messages nobody can act. Warning: since the last report samples were refused, or many in
        a row were the same; ages cannot be told; a quantity does not change although commands do.
        """
        controller, observer = self._components.controller, self._components.observer
        values: dict[str, Any] = dict(observer.counters())
        values |= {f"refused_{kind}": n for kind, n in controller.refused.copy().items()}
        values |= {f"age {topic}": age for topic, age in observer.ages().items()}
        values |= {f"offset {topic}": offset for topic, offset in observer.offsets().items()}
        refused = sum(controller.refused.copy().values())
        before, self._samples = self._samples, refused
        realtime = isinstance(self._components.runner, Realtime)  # in lockstep only the runner knows what is late
        silent = ", ".join(observer.missing()) if realtime else self._components.runner.waiting_for()
        if silent:
            return _ERROR, silent, values
        warnings = (
            [f"{refused - before} samples refused; the last: {controller.last_refusal}"] if refused > before else []
        )
        stall, most = observer.worst_stall, self._stall
        self._stall = max(most, stall)
        if stall > most:
            warnings.append(f"{stall} samples in a row were the same: no new data from at least one sensor")
        still = {name: seconds for name, seconds in controller.guard.stillness.seconds.items() if seconds > _STILL}
        warnings += [f"{name} has not changed for {x:.0f} s, while commands did" for name, x in still.items()]
        if unjudged := observer.unjudged():
            warnings.append(f"ages cannot be told: {', '.join(unjudged)}")
        return _WARN if warnings else _OK, "; ".join(warnings), values

    def _guard(self) -> _Judged:
        components, guard = self._components, self._components.controller.guard
        values: dict[str, Any] = {"state": components.states.state.value, "e_stop_pressed": components.e_stop.pressed}
        values |= {"clipped": components.controller.clipped + guard.limits.clipped, "slewed": guard.limits.slewed}
        values |= {f"faults_{rule}": guard.faults[rule] for rule in RULES}
        fault = guard.fault
        return _ERROR if fault else _OK, str(fault) if fault else components.states.state.value, values

    def _person(self) -> _Judged:
        takeover, controller = self._components.takeover, self._components.controller
        values: dict[str, Any] = {"switched_on": takeover.on, "interventions": controller.interventions}
        return _OK, "", values | {"messages": takeover.received, "refused": takeover.refused}

    def _policy(self) -> _Judged:
        """Warning: the last bundle was refused or sent back, until one takes over; or another provider had to do."""
        slot, controller = self._components.slot, self._components.controller
        output, guard = controller.output, controller.guard
        policy = slot.current
        values: dict[str, Any] = {"version": policy.version, "swaps": slot.swaps, "refused": slot.refused}
        values |= {"age": bundle_age(self._components), "surprise_threshold": guard.surprise_threshold}
        if isinstance(policy, OnnxPolicy):
            values |= {"runs_on": policy.runs_on, "fallback": policy.fallback}
        if output is not None:
            values |= {"surprise": output.surprise, "value": output.value}
        values |= {"rollbacks": slot.rollbacks, "last_refusal": slot.last_refusal, "last_rollback": slot.last_rollback}
        counts, before = (slot.swaps, slot.refused, slot.rollbacks), self._bundles
        self._bundles = counts
        if counts[2] > before[2]:
            self._trouble = slot.last_rollback
        elif counts[1] > before[1]:
            self._trouble = f"bundle refused: {slot.last_refusal}"
        elif counts[0] > before[0]:
            self._trouble = ""
        fallback = policy.fallback if isinstance(policy, OnnxPolicy) else ""
        trouble = "; ".join(filter(None, (self._trouble, fallback)))
        return _WARN if trouble else _OK, trouble or ("random" if policy.version < 0 else "bundle"), values

    def _callbacks(self) -> _Judged:
        """Warning: one has raised since the last report, and its message is lost."""
        failed = self._node.failed.copy()
        before, self._failed = self._failed, failed.total()
        told = f"{failed.total() - before} failed; the last: {self._node.last_failure}"
        return _WARN if failed.total() > before else _OK, told if failed.total() > before else "", dict(failed)

    def _episodes(self) -> _Judged:
        controller = self._components.controller
        values: dict[str, Any] = {"episodes": controller.episodes, "abandoned": controller.abandoned}
        values |= {"steps": controller.steps, "last_return": controller.last_return}
        values |= {"running": controller.running, "return": controller.total, "length": controller.length}
        return _OK, "", values | {"rulings_lost": controller.rulings.lost}


def _link(link: RobotLinkStatus) -> _Judged:
    counts = {"spooled": link.spooled, "acknowledged": link.acknowledged, "dropped": sum(link.dropped.values())}
    counts["discards_waiting"] = link.discards
    trouble = link.fault or link.last_error or link.bundle_warning
    well = link.connected and not trouble and not any(link.dropped.values())
    return _ERROR if link.fault else _OK if well else _WARN, trouble or link.state, counts
