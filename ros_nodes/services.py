"""The policy node's services: what a person may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from robot_dreamer.onboard.rulings import Ruling
from robot_dreamer.onboard.states import DriveState
from ros_nodes.components import Components
from ros_nodes.e_stop import EStop

_SILENT = 0.5  # seconds that the control loop may be overdue before nobody should rely on it
_UNCONFIGURED = "the node is not configured"


class Services:
    """Answers at once; the control loop acts on it at its next tick, on a fault within 50 ms. ~/e_stop is answered
    whatever the node is doing.

    Args:
      e_stop: of the node.
      components: what there is at the moment; None while the node is unconfigured.
      active: the node is active: its control loop runs.
    """

    def __init__(
        self, node: Node, e_stop: EStop, components: Callable[[], Components | None], active: Callable[[], bool]
    ) -> None:
        self._logger = node.get_logger()
        self._buttons = e_stop.buttons
        self._components = components
        self._active = active
        for state in (DriveState.PASSIVE, DriveState.STAND, DriveState.POLICY):
            node.create_service(Trigger, f"~/{state.value}", self._trigger(self._want(state)))
        e_stop.companion.serve(Trigger, "~/e_stop", self._stop)
        for ruling in Ruling:
            node.create_service(Trigger, f"~/{ruling.value}", self._trigger(partial(_rule, ruling)))
        node.create_service(Trigger, "~/discard", self._trigger(_discard))
        node.create_service(Trigger, "~/clear_fault", self._trigger(_clear))
        node.create_service(Trigger, "~/forget_e_stop", self._forget)
        node.create_service(SetBool, "~/take_over", self._take_over)

    def _trigger(self, ask: Callable[[Components], tuple[bool, str]]) -> Callable[[Any, Any], Any]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            components = self._components()
            response.success, response.message = ask(components) if components is not None else (False, _UNCONFIGURED)
            self._logger.info(response.message)
            return response

        return answer

    def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        fault = self._buttons.press("the service e_stop was called")
        components = self._components()
        overdue = components.runner.overdue if components is not None else 0.0
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

    def _want(self, state: DriveState) -> Callable[[Components], tuple[bool, str]]:
        def ask(components: Components) -> tuple[bool, str]:
            refusal = components.states.want(state) if self._active() else "the node is not active"
            return not refusal, refusal or f"{state.value} is wanted; it was {components.states.state.value}"

        return ask

    def _take_over(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        components = self._components()
        if components is None:
            response.success, response.message = False, _UNCONFIGURED
            return response
        components.takeover.on = bool(request.data)
        response.success = True
        response.message = "a person commands, until this is switched off" if request.data else "handed back"
        self._logger.info(response.message)
        return response


def _rule(ruling: Ruling, components: Components) -> tuple[bool, str]:
    if not components.controller.running:
        return False, f"no episode is running that {ruling.value} could end"
    components.controller.rulings.say(ruling)
    return True, f"{ruling.value}: the episode ends with its next row"


def _discard(components: Components) -> tuple[bool, str]:
    if components.link is None:
        return False, "there is no learner: nothing is recorded that could be learned from"
    which, episode = "running" if components.controller.running else "last", components.controller.episode
    if episode < 0:
        return False, "no episode has run yet"
    components.link.discard(episode)
    return True, f"the {which} episode, number {episode}, will not be learned from"


def _clear(components: Components) -> tuple[bool, str]:
    rivals = components.outlets.rivals()
    if rivals:
        return False, rivals
    try:
        fault = components.e_stop.clear()
    except ValueError as error:
        return False, str(error)
    return True, f"cleared: {fault}" if fault is not None else "there was no fault"
