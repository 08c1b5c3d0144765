"""The reset service, called without waiting for it: asked again after a timeout, until the robot says it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from robot_dreamer.draws import Draws, read_draws
from robot_dreamer.onboard.messages import time_of
from robot_dreamer.spec import Episode
from ros_nodes.graph import servers
from ros_nodes.shield import ShieldedNode

_AFTER_REFUSAL = 1.0  # seconds before a robot that refused is asked again
_PATIENCE = 3.0  # seconds that a reset may take before somebody should know that it is waited for
_KIND = "std_srvs/srv/Trigger"
_TOO_SHORT = "episode.reset_timeout: raise it where a reset takes longer, whose answer comes too late to count"


class Resetter:
    """Client of the spec's reset service.

    `request` and `withdraw` may be called from any thread; everything else, the service's answer too, happens in the
    thread that calls `poll` and spins the node.

    Args:
      may: asked right before each request goes out; a robot with a fault, or one that is led, must not move itself.

    Attributes:
      available: the spec names a service.
      active: asked for and not done yet.
      resets, retries: resets done; times it had to be asked for again.
      first_stamp: of the sensors after the last reset, ns, if the answer's message says it, as the simulated robot's
        does; 0 if not.
      drawn: what was drawn for the episode that it began, a JSON object behind that stamp; empty if the answer does not
        say, and from the next request on.
      draws_refused: answers in which that was none, or too much of it; the episode begins without.
    """

    def __init__(
        self,
        node: ShieldedNode,
        episode: Episode,
        clock: Callable[[], float] = time.monotonic,
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self.available = bool(episode.reset_service)
        self.active = False
        self.resets = 0
        self.retries = 0
        self.first_stamp = 0
        self.drawn: Draws = {}
        self.draws_refused = 0
        self.on_done: Callable[[], None] = lambda: None
        self._node = node
        self._name = episode.reset_service
        self._timeout = episode.reset_timeout
        self._clock, self._may = clock, may
        self._client: Any = node.create_client(Trigger, self._name) if self.available else None
        self._future: Any = None
        self._withdrawn = False
        self._ask_at = 0.0  # not before
        self._sent_at = 0.0
        self._since = 0.0  # when it was asked for, and might be
        self._refusal = ""  # the last answer was none; why

    def request(self) -> None:
        """Reset the robot as soon as `poll` is called."""
        if self.available:
            self._since, self._refusal, self.drawn = self._clock(), "", {}
            self.active = True

    def take_drawn(self) -> Draws:
        """What was drawn for the episode that begins now; once, because the next one may begin without a reset."""
        drawn, self.drawn = self.drawn, {}
        return drawn

    def withdraw(self) -> None:
        """The robot is not to be reset any more; what was sent already, it may still do."""
        self._withdrawn, self.active = True, False

    def poll(self) -> None:
        """Send the request, or send it again when the answer does not come. Call it often; it never waits."""
        if self._withdrawn:
            self._withdrawn = False
            self._forget()
        if not self.active or self._client is None:
            return
        now = self._clock()
        if self._future is not None:
            ready = self._client.service_is_ready()
            if ready and now - self._sent_at < self._timeout:
                return
            late = f" in {self._timeout:g} s ({_TOO_SHORT})" if ready else ""
            self._node.get_logger().warning(f"no answer from reset service {self._name}{late}; asking again")
            self.restart()
        if now < self._ask_at:
            return
        if not self._client.service_is_ready():
            self._node.get_logger().warning(
                f"waiting for reset service {self._name} ({_KIND})",
                throttle_duration_sec=5.0,
                skip_first=True,
            )
            return
        if not self._may():
            self._since = now  # nobody has been asked: the loop withdraws it with its next tick, or soon it may
            return
        self._sent_at = now
        self._future = self._client.call_async(Trigger.Request())
        self._future.add_done_callback(self._node.shield(self._name, self._answered))

    def trouble(self) -> str:
        """Why a reset has been waited for too long, as far as the robot and the graph say; empty if it has not."""
        waited = self._clock() - self._since
        if not self.active or waited < _PATIENCE:
            return ""
        name = self._node.resolve_service_name(self._name)
        kinds = sorted({kind for offered in servers(self._node, self._name).values() for kind in offered})
        if not kinds:
            why = f"nobody offers it (expected {_KIND})"
        elif _KIND not in kinds:
            why = f"expected {_KIND}, found {', '.join(kinds)}"
        elif self._refusal:
            why = f"it refuses: {self._refusal}"
        else:
            why = f"no answer; asked again every {self._timeout:g} s ({_TOO_SHORT})"
        return f"waiting for reset service {name} for {waited:.0f} s: {why}"

    def restart(self) -> None:
        """Forget the request that is under way (the robot began again and cannot answer it); `poll` sends a new one."""
        if self._future is not None:
            self._forget()
            self.retries += 1

    def cancel(self) -> None:
        """No reset any more."""
        self._forget()
        self.active = False

    def destroy(self) -> None:
        self.cancel()
        if self._client is not None:
            self._node.destroy_client(self._client)

    def _forget(self) -> None:
        if self._future is not None:
            self._client.remove_pending_request(self._future)
            self._future = None

    def _answered(self, future: Any) -> None:
        if future is not self._future or self._withdrawn:
            return  # of a request that was given up
        self._future = None
        error = future.exception()
        if error is not None or not future.result().success:
            why = error if error is not None else future.result().message
            self._refusal = str(why) or "without a reason"
            self._node.get_logger().error(f"reset service {self._name} refused: {why}", throttle_duration_sec=5.0)
            self.retries += 1
            self._ask_at = self._clock() + _AFTER_REFUSAL
            return
        stamp, _, drawn = future.result().message.strip().partition(" ")
        self.first_stamp = time_of(stamp)
        self.drawn = self._read(drawn) if self.first_stamp and drawn.startswith("{") else {}  # all else is free text
        self.active = False
        self.resets += 1
        self.on_done()

    def _read(self, text: str) -> Draws:
        try:
            return read_draws(text)
        except ValueError as error:
            self.draws_refused += 1
            said = f"reset service {self._name}: what it says was drawn is left out of the episode: {error}"
            self._node.get_logger().warning(said, throttle_duration_sec=30.0)
            return {}
