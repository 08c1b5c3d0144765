"""What rows hold, and what is odd about them: one pass, small memory.

Rules, all on the stamps of observations, between rows of one episode:
  backwards   a stamp that is not later than the one before it
  gap         more than GAP periods between two rows: ticks are missing
  rate        rows per second without gaps and backward steps; flagged beyond RATE_TOLERANCE of the spec's rate
Missing rows are jumps of the sequence number: rows that the robot dropped or that were rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.succession import Succession

GAP = 1.5  # periods
RATE_TOLERANCE = 0.1  # of the spec's rate


@dataclass
class EpisodeSummary:
    """One episode. `ended` is "terminal", "time limit", or "cut" while no last row has come.

    whole: no row of it is missing so far.
    discarded: a person has said not to learn from it.
    """

    number: int
    rows: int = 0
    total_reward: float = 0.0
    ended: str = "cut"
    whole: bool = True
    discarded: bool = False


@dataclass
class BootSummary:
    """The rows of one (robot, boot). Stamps are ns on the robot's ROS clock."""

    robot: str
    boot: str
    rows: int = 0
    missing: int = 0
    gaps: int = 0
    backwards: int = 0
    first_stamp: int = 0
    last_stamp: int = 0
    episodes: list[EpisodeSummary] = field(default_factory=list)
    steps: int = 0  # intervals between two rows of an episode, without gaps and backward ones
    stepped: int = 0  # ns, their sum
    succession: Succession = field(default_factory=Succession)
    stamp: int = 0  # of the newest row

    @property
    def rate(self) -> float | None:
        """Rows per second; None if no two rows follow each other."""
        return self.steps / (self.stepped * 1e-9) if self.steps else None

    @property
    def finished(self) -> list[EpisodeSummary]:
        """Episodes that have their last row."""
        return [episode for episode in self.episodes if episode.ended != "cut"]

    @property
    def mean_return(self) -> float | None:
        """Of finished episodes that lack no row; None if there is none."""
        totals = [episode.total_reward for episode in self.finished if episode.whole]
        return sum(totals) / len(totals) if totals else None


class Survey:
    """Feed it rows in the order of the store."""

    def __init__(self, spec: RobotSpec, discarded: Collection[tuple[str, str, int]] = ()) -> None:
        self.spec = spec
        self._discarded = discarded  # (robot, boot, episode)
        self._boots: dict[tuple[str, str], BootSummary] = {}

    @property
    def boots(self) -> list[BootSummary]:
        """In order of their first rows."""
        return list(self._boots.values())

    def add(self, row: StepRecord) -> None:
        """Count a row."""
        boot = self._boots.get((row.robot, row.boot))
        if boot is None:
            boot = self._boots[row.robot, row.boot] = BootSummary(row.robot, row.boot, first_stamp=row.stamp_capture)
        succession = boot.succession
        succession.follow(row)
        boot.missing += succession.missing
        if succession.begins:
            discarded = (row.robot, row.boot, row.episode) in self._discarded
            boot.episodes.append(EpisodeSummary(row.episode, discarded=discarded))
        elif not succession.missing:
            self._interval(boot, row.stamp_capture - boot.stamp)
        summary = boot.episodes[-1]
        summary.whole = succession.whole
        summary.rows += 1
        summary.total_reward += row.reward
        if row.is_last:
            summary.ended = "terminal" if row.is_terminal else "time limit"
        boot.rows += 1
        boot.last_stamp = max(boot.last_stamp, row.stamp_capture)
        boot.stamp = row.stamp_capture

    def findings(self) -> Iterator[str]:
        """Everything odd, in words."""
        for boot in self.boots:
            name = f"robot {boot.robot}, boot {boot.boot}"
            if boot.backwards:
                yield f"{name}: {boot.backwards} stamps go backwards or stand still"
            if boot.gaps:
                yield f"{name}: {boot.gaps} gaps of more than {GAP:g} periods inside episodes"
            if boot.missing:
                yield f"{name}: {boot.missing} rows are missing (dropped by the robot, rejected, or not exported)"
            rate = boot.rate
            if rate is not None and abs(rate - self.spec.rate) > RATE_TOLERANCE * self.spec.rate:
                yield f"{name}: rows come at {rate:.3g} Hz, the spec says {self.spec.rate:g} Hz"

    def _interval(self, boot: BootSummary, elapsed: int) -> None:
        if elapsed <= 0:
            boot.backwards += 1
        elif elapsed > GAP * self.spec.period * 1e9:
            boot.gaps += 1
        else:
            boot.steps += 1
            boot.stepped += elapsed
