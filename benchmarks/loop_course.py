"""How a control loop fares over an hour: lateness, misses and memory over time, beside a loop that does nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.rate import RateHistory, RateLoop

SAMPLE_EVERY = 5.0  # seconds between two looks at memory
WARM = 300.0  # seconds after which memory has to be flat
BINS = 240  # of the picture
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Ticks:
    """A loop's history without end, in memory that is taken at the beginning: it must not look like a leak."""

    def __init__(self, most: int) -> None:
        self._kept = np.ones((3, most))
        self._count = 0
        self._since = 0

    def begin(self, loop: RateLoop) -> None:
        """Keep what comes from now on."""
        self._since = loop.ticks

    def take(self, loop: RateLoop, least: int = 256) -> None:
        """Keep what is new, if it is worth a copy; call it long before 4096 ticks have passed."""
        if loop.ticks - self._since <= least:
            return
        new = loop.history(self._since)
        self._since = new.until
        count = min(len(new.starts), self._kept.shape[1] - self._count)
        for row, values in zip(self._kept, (new.starts, new.late, new.missed), strict=True):
            row[self._count : self._count + count] = values[:count]
        self._count += count

    def history(self) -> RateHistory:
        """All that was kept."""
        return RateHistory(self._since, *self._kept[:, : self._count])


class Resources:
    """What this process holds and uses, a sample every few seconds."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []  # monotonic seconds, bytes resident, seconds of processor
        self._due = 0.0

    def look(self) -> None:
        """Take a sample if it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + SAMPLE_EVERY
            self.samples.append((now, resident(), time.process_time()))


def resident() -> float:
    """Bytes of this process in physical memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * float(_PAGE)


@dataclass(frozen=True)
class Course:
    """One run.

    Attributes:
      ticks, idle: of the policy node's loop, and of the one that does nothing.
      resources: (n, 3), see `Resources.samples`.
      windows: of each exchange of a bundle, from when the node began to look at it, monotonic seconds.
    """

    ticks: RateHistory
    idle: RateHistory
    resources: NDArray[np.float64]
    windows: list[tuple[float, float]]

    @property
    def processor_share(self) -> float:
        """Of one core, of the whole process."""
        first, last = self.resources[0], self.resources[-1]
        return float((last[2] - first[2]) / (last[0] - first[0]))

    @property
    def growth(self) -> float:
        """Bytes an hour after the first minutes, by least squares; NaN where the run is not longer than that."""
        seconds = self.resources[:, 0] - self.resources[0, 0]
        later = seconds >= WARM
        if later.sum() < 3:
            return float("nan")
        return float(3600 * np.polyfit(seconds[later], self.resources[later, 1], 1)[0])

    def summary(self) -> str:
        """Two lines for people."""
        megabytes = self.resources[:, 1] / 1e6
        growth = (
            "too short for a growth" if np.isnan(self.growth) else f"{self.growth / 1e6:+.2f} MB/h after {WARM:g} s"
        )
        beyond = int(self.ticks.missed.sum()) - int(self.idle.missed.sum())
        return (
            f"memory {megabytes[0]:.0f} MB at first, {megabytes[-1]:.0f} MB at last ({growth}); "
            f"{self.processor_share:.1%} of a core\n"
            f"missed {int(self.ticks.missed.sum())}, the idle loop beside it {int(self.idle.missed.sum())}: {beyond:+d}"
        )


def in_bins(history: RateHistory, edges: NDArray[np.float64], percentile: float) -> NDArray[np.float64]:
    """Lateness in seconds of the ticks of each bin; NaN where there is none."""
    place = np.digitize(history.starts, edges) - 1
    return np.array(
        [
            np.percentile(late, percentile) if len(late := history.late[place == i]) else np.nan
            for i in range(len(edges) - 1)
        ]
    )


def draw_course(course: Course, rate: float, picture: Path) -> None:
    """Lateness with misses and swaps, misses so far, and memory, over minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    begin, end = course.ticks.starts[0], course.ticks.starts[-1]
    edges = np.linspace(begin, end, BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2

    def minutes(moments: NDArray[np.float64]) -> NDArray[np.float64]:
        return (moments - begin) / 60

    figure, (top, middle_panel, bottom) = pyplot.subplots(
        3, 1, figsize=(10, 7.5), sharex=True, height_ratios=(3, 1.3, 1.3)
    )
    for history, colour, who in ((course.idle, "0.6", "idle loop"), (course.ticks, "tab:blue", "policy node")):
        for percentile, style in ((100, "-"), (50, ":")):
            label = f"{who}, {'latest' if percentile == 100 else 'median'}"
            top.plot(minutes(middle), 1e3 * in_bins(history, edges, percentile), style, color=colour, label=label)
    top.axhline(1e3 / rate, color="black", linestyle="--", linewidth=0.8, label="period")
    top.set(yscale="log", ylabel=f"tick after its deadline, ms,\nin parts of {(end - begin) / BINS:.2g} s")
    low = top.get_ylim()[0]
    swaps = np.array([end for _, end in course.windows])
    top.plot(minutes(swaps), np.full(len(swaps), low), "|", color="tab:green", label="swap")
    top.legend(loc="upper right", ncols=3, fontsize="small")
    top.set_title(f"{rate:g} Hz, {(end - begin) / 60:.3g} minutes, {len(swaps)} swaps")
    for history, colour, who in ((course.idle, "0.6", "idle loop"), (course.ticks, "tab:blue", "policy node")):
        middle_panel.step(minutes(history.starts), np.cumsum(history.missed), color=colour, label=who)
    middle_panel.set(ylabel="deadlines\nmissed so far")
    middle_panel.legend(loc="upper left", fontsize="small")
    bottom.plot(minutes(course.resources[:, 0]), course.resources[:, 1] / 1e6, color="tab:blue")
    bottom.set(ylabel="resident, MB", xlabel="minutes", ylim=(0, 1.2 * course.resources[:, 1].max() / 1e6))
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    print(f"written: {picture}")
