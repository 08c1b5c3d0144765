"""How often messages of a topic come, and how fast their stamps run beside."""

from __future__ import annotations

_PAUSE = 1.0  # seconds, or so many periods; longer steps, and backward ones, do not count for a rate
_PERIODS = 3


class Pace:
    """How often messages come and how fast their stamps run; pauses and backward steps are left out.

    Args:
      period: in which a message is expected, seconds; 0: not known.

    Attributes:
      unstamped, backwards: messages without a stamp; stamps that are older than the one before.
    """

    def __init__(self, period: float = 0.0) -> None:
        self._pause = round(1e9 * max(_PAUSE, _PERIODS * period))
        self.unstamped = 0
        self.backwards = 0
        self._last = 0  # time of the message before
        self._steps, self._time = 0, 0
        self._moved = (0, 0)  # time and stamp of the newest message with a stamp of its own
        self._stamps, self._meanwhile = 0, 0  # ns that the stamps advanced, and the bag's time beside them

    def add(self, time: int, stamp: int | None) -> None:
        """Time and stamp in ns; None for a message that cannot have one."""
        if self._last and time - self._last <= self._pause:
            self._steps += 1
            self._time += time - self._last
        self._last = time
        if not stamp:
            self.unstamped += stamp is not None
            return
        before, older = self._moved
        if stamp == older:
            return
        self._moved = (time, stamp)
        self.backwards += stamp < older
        if (
            older and abs(stamp - older) <= self._pause and time - before <= self._pause
        ):  # there and back again is no speed
            self._stamps += stamp - older
            self._meanwhile += time - before

    @property
    def rate(self) -> float:
        """Messages per second of the bag's time; 0 if nothing followed."""
        return self._steps / (self._time * 1e-9) if self._time else 0.0

    @property
    def speed(self) -> float:
        """Seconds by the stamps per second of the bag's time; 1 if nothing can be said."""
        return self._stamps / self._meanwhile if self._meanwhile else 1.0
