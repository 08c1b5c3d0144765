"""The policy node's services: what a person may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from robot_dreamer.onboard.states import State
from ros_nodes.e_stop import EStop
from ros_nodes.rig import Rig

_SILENT = 0.5  # seconds that the control loop may be overdue before nobody should rely on it
_UNCONFIGURED = "the node is not configured"


class Services:
    """Answers at once; the control loop acts on it at its next tick. ~/e_stop is answered whatever the node is doing.

    Args:
      e_stop: of the node.
      rig: what there is at the moment; None while the node is unconfigured.
      active: the node is active: its control loop runs.
    """

    def __init__(self, node: Node, e_stop: EStop, rig: Callable[[], Rig | None], active: Callable[[], bool]) -> None:
        self._logger = node.get_logger()
        self._buttons = e_stop.buttons
        self._rig = rig
        self._active = active
        for state in (State.PASSIVE, State.STAND, State.POLICY):
            node.create_service(Trigger, f"~/{state.value}", self._trigger(self._want(state)))
        e_stop.companion.serve(Trigger, "~/e_stop", self._stop)
        node.create_service(Trigger, "~/clear_fault", self._trigger(_clear))
        node.create_service(Trigger, "~/forget_e_stop", self._forget)
        node.create_service(SetBool, "~/take_over", self._take_over)

    def _trigger(self, ask: Callable[[Rig], tuple[bool, str]]) -> Callable[[Any, Any], Any]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            rig = self._rig()
            response.success, response.message = ask(rig) if rig is not None else (False, _UNCONFIGURED)
            self._logger.info(response.message)
            return response

        return answer

    def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        fault = self._buttons.press("the service e_stop was called")
        rig = self._rig()
        overdue = rig.runner.overdue if rig is not None else 0.0
        response.success = fault is not None and overdue <= _SILENT
        if fault is None:  # the first guard that there is will be told all the same
            response.message = _UNCONFIGURED
        elif response.success:
            response.message = f"stopped: {fault}"
        else:
            way = "stop the robot by its own means"
            response.message = f"the control loop does not answer, for {overdue:.1f} s: {way}; {fault}"
        self._logger.info(response.message)
        return response

    def _forget(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            gone = self._buttons.forget()
            response.success = bool(gone)
            response.message = f"forgotten: {gone}" if gone else "no button that is gone was pressed"
        except ValueError as error:
            response.success, response.message = False, str(error)
        self._logger.info(response.message)
        return response

    def _want(self, state: State) -> Callable[[Rig], tuple[bool, str]]:
        def ask(rig: Rig) -> tuple[bool, str]:
            refusal = rig.states.want(state) if self._active() else "the node is not active"
            return not refusal, refusal or f"{state.value} is wanted; it was {rig.states.state.value}"

        return ask

    def _take_over(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        rig = self._rig()
        if rig is None:
            response.success, response.message = False, _UNCONFIGURED
            return response
        rig.takeover.on = bool(request.data)
        response.success = True
        response.message = "a person commands, until this is switched off" if request.data else "handed back"
        self._logger.info(response.message)
        return response


def _clear(rig: Rig) -> tuple[bool, str]:
    problem = rig.e_stop.problem()
    if problem:
        return False, problem
    fault = rig.controller.guard.clear()
    return True, f"cleared: {fault}" if fault is not None else "there was no fault"
