"""The policy node: sensors in, commands out, experience to the learner. `python -m ros_nodes.policy_node`.

A managed node: configure loads and proves everything and connects the link, activate starts the loop, deactivate cuts
the episode and leads the robot to the safe pose, cleanup flushes the link. With the parameter `autostart` it brings
itself up, with `automatic` the policy acts without being asked.
See docs/onboard.md.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from robot_dreamer.endings import ended_by
from robot_dreamer.link.errors import LinkError
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.spec import SpecError
from ros_nodes.components import Components
from ros_nodes.diagnosis import Diagnosis
from ros_nodes.distro import make_executor
from ros_nodes.e_stop import EStop
from ros_nodes.health import StatusLog, complain, figures
from ros_nodes.outside import OutsideFaults
from ros_nodes.parameters import ParameterError, declare, require_read
from ros_nodes.services import Services
from ros_nodes.shield import ShieldedNode
from ros_nodes.transitions import reported

_FAST, _SLOW = 0.05, 1.0  # seconds between two looks at the reset, and at everything else
_SPIN = 0.1  # longest wait before a signal is seen; without a limit EventsExecutor may hang


class PolicyNode(ShieldedNode):
    """See the module. `rclpy` must have been initialised.

    Attributes:
      components: what `configure` built; None while unconfigured.
      failure: why the process must end; empty while all is well.

    Raises:
      ParameterError: a parameter has an unknown name, or the wrong type or value.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("policy", **node_options)
        self._e_stop: EStop | None = None
        self.components: Components | None = None
        self._acting = self._shut_down = False
        self.parameters = declare(self, PolicyNodeSettings)  # if it refuses them, the context destroys what there is
        self.failure = ""
        self._ended: Callable[[], bool] = lambda: False
        self._diagnosis: Diagnosis | None = None
        self._outside: OutsideFaults | None = None
        self._status_log = StatusLog(self, self.parameters.learner)
        self._health = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._e_stop = e_stop = EStop(self, self.parameters.e_stop_timeout)
        Services(self, e_stop, lambda: self.components, lambda: self._acting)
        e_stop.companion.start()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # the node's own clock may be simulated
        self.create_timer(_FAST, self._look, clock=steady)
        self.create_timer(_SLOW, self._report, clock=steady)
        self.add_on_set_parameters_callback(self._on_set_parameters)

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build the components. What is wrong with the parameters is logged, and the node stays unconfigured."""
        p = self.parameters
        assert self._e_stop is not None
        try:
            self.components = components = Components(self, p, self._e_stop, self._ended)
        except (SpecError, LinkError, ValueError, OSError) as error:  # BundleError is a ValueError
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self._diagnosis = Diagnosis(self, components)
        self._outside = OutsideFaults(components, _FAST)
        spec, version = components.spec, components.slot.current.version
        self.get_logger().info(
            f"robot {components.robot_id} ({spec.name}, spec {spec.hash[:12]}), {spec.rate:g} Hz, {p.clock}, "
            f"learner {p.learner or 'none'}, policy {'random' if version < 0 else version}"
        )
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start acting."""
        assert self.components is not None
        try:
            self.components.claim()
        except ValueError as error:
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self.components.runner.start()
        self._acting = True
        return super().on_activate(state)

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Episode cut, neutral command out."""
        self._halt()
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back; rows are on disk afterwards."""
        return self._dismantle()

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state. Nothing follows but the end of the process."""
        self._shut_down = True
        return self._dismantle()

    @reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: the robot gets the neutral command, the node is unconfigured."""
        return self._dismantle()

    def _halt(self) -> None:
        if self._acting and self.components is not None:
            self._acting = False
            self.components.runner.stop()
            self.components.release()
            pairs = figures(self.components).items()
            shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in pairs)
            self.get_logger().info(f"stopped: {', '.join(shown)}")

    def _dismantle(self) -> TransitionCallbackReturn:
        self._halt()
        components, self.components = self.components, None
        if components is not None:
            components.close()
        return TransitionCallbackReturn.SUCCESS

    def _look(self) -> None:
        if self.components is None or self._outside is None:
            return
        self.components.resetter.poll()
        self.components.observer.contested = self.components.crowd.look()
        self._outside.judge_loop()
        if self._acting:
            self._outside.judge_claim()
        if self.components.runner.failure and not self.failure:
            self.failure = self.components.runner.failure
            self.get_logger().fatal(f"the control loop died:\n{self.failure}")

    def _report(self) -> None:
        """Once a second: fetch a bundle, say what is wrong, send figures."""
        components = self.components
        if components is None or self._diagnosis is None or self._outside is None:
            return
        status = None
        if components.link is not None:
            status = components.link.status()
            bundle = components.link.take_bundle()
            if bundle is not None:
                components.slot.offer(bundle)
            self._outside.judge_link(status)
            components.link.report(figures(components))
        self._outside.judge_bundle()
        complaint = complain(self, components) if self._acting else ""
        self._status_log.say(components, status, complaint)
        self._health.publish(self._diagnosis.report(status, complaint, self._acting))

    def _on_set_parameters(self, changes: list[Any]) -> SetParametersResult:
        for change in changes:
            if change.name == "deterministic" and self.components is not None:
                self.components.controller.deterministic = bool(change.value)
            if change.name == "teleop_timeout" and self.components is not None:
                self.components.takeover.timeout = float(change.value)
        return SetParametersResult(successful=True)

    def destroy_node(self) -> None:
        """With all that belongs to it; a robot that it drives is led to the safe pose first, as at a shutdown."""
        self._dismantle()
        if self._e_stop is not None:
            self._e_stop.destroy()
            self._e_stop = None
        super().destroy_node()

    def bring_up(self) -> bool:
        """Configure and activate; False if that failed (the log says why)."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS or self._ended():  # a robot that shall not move
            return False
        return bool(self.trigger_activate() == TransitionCallbackReturn.SUCCESS)

    def run(self, stop: threading.Event) -> int:
        """Spin until `stop` or a failure. At the end the neutral command is out and the link flushed. Exit status."""
        executor = make_executor(self)
        self._ended = stop.is_set
        try:
            if self.parameters.autostart and not self.bring_up():
                return 0 if stop.is_set() else 2
            while not stop.is_set() and not self.failure:
                executor.spin_once(timeout_sec=_SPIN)
            return 1 if self.failure else 0
        finally:
            if not self._shut_down:  # as a lifecycle manager may have done
                self.trigger_shutdown()
            executor.shutdown()


def main(args: list[str] | None = None) -> int:
    """Run until a signal that ends a program. Exit status 0; 1 after a failure; 2 if it could not be configured."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="[%(levelname)s] [%(name)s]: %(message)s")
    stop = threading.Event()
    with ended_by(lambda *_: stop.set()):
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)  # ours send the neutral command first
        try:
            require_read(args)
            node = PolicyNode()
            exit_status = node.run(stop)
            node.destroy_node()
        except ParameterError as error:
            print(f"policy node: {error}", file=sys.stderr)
            return 2
        finally:
            rclpy.try_shutdown()
    return exit_status


if __name__ == "__main__":
    sys.exit(main())
