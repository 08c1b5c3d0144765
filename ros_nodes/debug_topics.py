"""What the policy sees and thinks, as topics for a person: ~/debug/image and ~/debug/state. Off unless asked for.

A timer of the node publishes the latest that the control loop left behind; the loop itself neither waits nor publishes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from robot_dreamer.onboard.controller import Controller
from robot_dreamer.spec import RobotSpec

_ENCODINGS = {1: "mono8", 3: "rgb8"}


class DebugTopics:
    """Publishes `rate` times a second what the controller acted on last.

    ~/debug/image: each picture after crop and resize; of several cameras ~/debug/image_<observation>. ~/debug/state:
    a JointState whose names are <observation>/<component>, surprise (nats), value and reward, with the numbers as
    positions; what the policy does not say is NaN, so that the three are always the last ones.

    Args:
      node: owner of the topics and of the timer.
      rate: Hz, above 0.
    """

    def __init__(self, node: Node, spec: RobotSpec, controller: Controller, rate: float) -> None:
        self._node, self._controller = node, controller
        cameras = [o for o in spec.observations if o.dtype == "uint8"]
        self._images = {
            o.name: node.create_publisher(Image, "~/debug/image" + (f"_{o.name}" if len(cameras) > 1 else ""), 1)
            for o in cameras
        }
        self._names = {o.name: [f"{o.name}/{c}" for c in o.components] for o in spec.observations if o not in cameras}
        self._state = node.create_publisher(JointState, "~/debug/state", 1)
        self._steps = -1
        # the node's own clock may be simulated, or stand still
        self._timer = node.create_timer(1 / rate, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """Take the topics back."""
        self._node.destroy_timer(self._timer)
        for publisher in (self._state, *self._images.values()):
            self._node.destroy_publisher(publisher)

    def _publish(self) -> None:
        observation, output, steps = self._controller.seen, self._controller.output, self._controller.steps
        if observation is None or output is None or steps == self._steps:
            return  # nothing new: silence is what a person should see then
        self._steps = steps
        stamp = self._node.get_clock().now().to_msg()
        for name, publisher in self._images.items():
            message = image_message(observation[name])
            message.header.stamp, message.header.frame_id = stamp, name
            publisher.publish(message)
        numbers = {
            component: float(x)
            for name, components in self._names.items()
            for component, x in zip(components, observation[name].ravel(), strict=True)
        }
        numbers |= {name: float(getattr(output, name)) for name in ("surprise", "value", "reward")}
        state = JointState(name=list(numbers), position=list(numbers.values()))
        state.header.stamp = stamp
        self._state.publish(state)


def image_message(picture: NDArray[np.uint8]) -> Image:
    """(height, width, 1 or 3) -> message without header."""
    height, width, channels = picture.shape
    return Image(
        height=height, width=width, encoding=_ENCODINGS[channels], step=width * channels, data=picture.tobytes()
    )
