"""One robot as the learner sees it, for displays and for `robot-dreamer link-status`."""

from __future__ import annotations

from typing import Any

import msgspec


class RobotStatus(msgspec.Struct, frozen=True):
    """One robot as the learner sees it; msgspec.to_builtins gives JSON types.

    Attributes:
      connected: it has a live connection.
      last_seen: seconds since its last message.
      received: rows stored since the server started; duplicates, rejected, missing: likewise, see AddResult.
      acknowledged: rows settled: stored or rejected.
      round_trip: seconds, as it last measured.
      spooled: rows on its disk, dropped: rows that it lost, by kind; both as it last said.
      fetched_version: newest bundle it has whole; bundle_version: the one that acts, from its figures; -1 for none.
      figures: what it reported.
      refused: why its newest connection was refused; empty after a welcome.
      discarded: episodes that a person has said not to learn from since the server started.
    """

    robot: str
    boot: str
    connected: bool
    last_seen: float
    received: int
    duplicates: int
    rejected: dict[str, int]
    missing: int
    acknowledged: int
    spooled: int
    round_trip: float | None
    dropped: dict[str, int]
    bad_messages: dict[str, int]
    fetched_version: int
    bundle_version: int
    figures: dict[str, Any]
    refused: str
    discarded: int = 0
