"""Asks a policy node for something, by one of its services, where ROS 2's own command line is not there."""

from __future__ import annotations

from typing import Any

from std_srvs.srv import SetBool, Trigger

from ros_nodes.own_node import own_node

_HAND_BACK = "hand_back"  # the other word of take_over
STOP_YOURSELF = "stop the robot by its own means if it must stop"


def request_of(word: str, node_name: str) -> tuple[str, Any, Any]:
    """A word as ROS 2 has it: name of the service, its type, the request. `take_over` and `hand_back` are one service.

    Args:
      node_name: of the policy node, with its namespace.
    """
    switch = word in ("take_over", _HAND_BACK)
    service = f"{node_name.rstrip('/')}/{'take_over' if switch else word}"
    if switch:
        return service, SetBool, SetBool.Request(data=word != _HAND_BACK)
    return service, Trigger, Trigger.Request()


def ask(word: str, node_name: str, seconds: float) -> tuple[bool, str]:
    """Whether the node did it, and its words.

    Args:
      word: name of the service, or `hand_back`.
      node_name: of the policy node, with its namespace.
      seconds: to wait for the service, and then for its answer.
    """
    service, kind, request = request_of(word, node_name)
    with own_node("robot_dreamer_call") as (node, executor):
        client: Any = node.create_client(kind, service)
        if not client.wait_for_service(seconds):
            return (
                False,
                f"nobody offers {service} within {seconds:g} s: is the policy node running, and is it called so?",
            )
        future = client.call_async(request)
        executor.spin_until_future_complete(future, seconds)
        if not future.done():
            return False, f"{service} did not answer within {seconds:g} s; {STOP_YOURSELF}"
        answer: Any = future.result()
        return answer.success, answer.message
