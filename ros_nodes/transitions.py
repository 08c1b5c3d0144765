"""Lifecycle callbacks that fail visibly: rclpy turns an exception in one into an error state and says nothing."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

_Node = TypeVar("_Node", bound=Any)
_Callback = Callable[[_Node, LifecycleState], TransitionCallbackReturn]


def reported(callback: _Callback[_Node]) -> _Callback[_Node]:
    """A callback that logs what it raises, with its traceback, and returns ERROR: `on_error` follows."""

    @functools.wraps(callback)
    def wrapped(node: _Node, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(node, state)
        except Exception:
            node.get_logger().fatal(f"{callback.__name__} failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    return wrapped
