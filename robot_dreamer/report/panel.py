"""What the live display says. Pure: from a snapshot to a panel, or to one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from robot_dreamer.record import RANDOM_POLICY
from robot_dreamer.report import charts
from robot_dreamer.report.figures import amount, counts, number, words
from robot_dreamer.run_status import RunStatus

STALE = 5.0  # s without a word from the learner before the display says so
_BARS = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 48


@dataclass(frozen=True)
class Snapshot:
    """What is known at one moment.

    Attributes:
      logdir: of the run.
      status: None while the learner has written none.
      returns: of all finished episodes.
      now, began: time.monotonic(): this moment, and when the display started.
    """

    logdir: Path
    status: RunStatus | None
    returns: Sequence[float]
    now: float
    began: float

    @property
    def trouble(self) -> str:
        """Why the figures are not those of now; "" if they are."""
        if self.status is None:
            return "waiting for the learner"
        if not self.began <= self.status.monotonic <= self.now:  # later than now: before the machine was started
            return "waiting for the learner; the figures are the last run's"
        age = self.now - self.status.monotonic
        if age > STALE and not self.status.over:
            return f"no word from the learner for {age:.0f} s"
        return ""


def sparkline(values: Sequence[float], width: int) -> str:
    """Means of `width` (or fewer) equal parts of `values`, as bars between the lowest and the highest of them."""
    count = min(width, len(values))
    edges = [i * len(values) // count for i in range(count + 1)] if count else [0]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    if not means:
        return ""
    low, span = min(means), max(means) - min(means)
    return "".join(_BARS[int((m - low) / span * (len(_BARS) - 1)) if span else 0] for m in means)


def budget_share(status: RunStatus) -> float | None:
    """How much of the budget is spent, 0 to 1; None without a budget."""
    shares = []
    if status.budget_s:
        shares.append(status.elapsed_s / status.budget_s)
    if status.budget_steps:
        shares.append(status.lived / status.budget_steps)
    if status.budget_epochs:
        shares.append(_epochs(status) / status.budget_epochs)
    return min(1.0, max(shares)) if shares else None


def panel(snapshot: Snapshot) -> Panel:
    """For a terminal."""
    status = snapshot.status
    title = Text(str(snapshot.logdir), style="bold")
    if status is not None:
        title.append(f" · {status.phase}", style="not bold")
    parts: list[RenderableType] = []
    if snapshot.trouble:
        parts.append(Text(snapshot.trouble, style="yellow"))
    if status is not None:
        parts.append(_figures(status, snapshot.returns))
    return Panel(Group(*parts), title=title, title_align="left", border_style="yellow" if snapshot.trouble else "cyan")


def line(snapshot: Snapshot) -> str:
    """For a log file."""
    status = snapshot.status
    if status is None:
        return f"{snapshot.trouble} ({snapshot.logdir / 'status.json'} is not there yet)"
    share = budget_share(status)
    last, mean = _return(status.last_return), _return(status.mean_return_10)
    parts = [
        snapshot.trouble or f"{_clock(status.elapsed_s)} {status.phase}",
        f"{status.lived:,} steps ({status.env_steps_per_s:.0f}/s)",
        f"{status.episodes:,} episodes, last {last}, mean {mean}",
        f"{status.updates:,} updates ({status.updates_per_s:.1f}/s)",
        f"replay {status.replay_size:,}",
        *(f"{robot['robot']}: {_robot(robot, status.bundle_version).plain}" for robot in status.robots),
    ]
    if share is not None:
        parts.append(f"{share:.0%} of the budget")
    return " | ".join(parts)


def _figures(status: RunStatus, returns: Sequence[float]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    table.add_row("time", _progress(status))
    table.add_row(
        "environment",
        f"{status.lived:,} steps, {status.env_steps_per_s:.0f}/s · {status.episodes:,} episodes",
    )
    mean = Text(_return(status.mean_return_10), style="bold green")
    table.add_row("return", Text.assemble("last 10: ", mean, f" · last: {_return(status.last_return)}"))
    if len(returns) > 1:
        table.add_row("", Text(sparkline(returns, _CURVE_WIDTH), style="green"))
    table.add_row(
        "learning",
        f"{status.updates:,} updates, {status.updates_per_s:.1f}/s · {_pace(status)}",
    )
    table.add_row("replay", f"{status.replay_size:,} of {status.replay_capacity:,} rows")
    losses = " · ".join(f"{name} {_number(value)}" for name, value in status.losses.items())
    if losses:
        table.add_row("losses", Text(losses, style="dim"))
    for robot in status.robots:
        table.add_row(Text(robot["robot"]), _robot(robot, status.bundle_version))
    return table


def _pace(status: RunStatus) -> str:
    """How much is trained for what was lived through: as it should be, and as it is."""
    if status.train_ratio is None:
        return f"epoch {_epochs(status):.1f}"
    reached = status.rows_replayed / max(1, status.env_steps)
    return f"train ratio {reached:.3g} of {status.train_ratio:g}"


def _epochs(status: RunStatus) -> float:
    """How often each row of the replay was trained, on average."""
    return status.rows_replayed / max(1, status.replay_size)


def _progress(status: RunStatus) -> RenderableType:
    share = budget_share(status)
    elapsed = _clock(status.elapsed_s)
    if share is None:
        return Text(f"{elapsed}, no limit")
    limits = [_clock(status.budget_s)] if status.budget_s else []
    if status.budget_steps:
        limits.append(f"{status.budget_steps:,} steps")
    if status.budget_epochs:
        limits.append(f"{status.budget_epochs:g} epochs")
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{elapsed} of {' or '.join(limits)}"),
        ProgressBar(1.0, share, width=24, complete_style="cyan", finished_style="cyan"),
        Text(f"{share:.0%}"),
    )
    return row


def _robot(robot: dict[str, Any], newest: int) -> Text:
    """Its connection, the policy on board, and every counter that is not zero but should be."""
    figures = robot["figures"]
    text = Text()
    if not robot["connected"]:
        text.append(f"not connected, last seen {amount(robot['last_seen'], '.0f')} s ago · ", style="red")
    if number(figures.get("bundle_version", RANDOM_POLICY)) == RANDOM_POLICY:
        text.append("random policy")
    else:
        age = f", {amount(figures['bundle_age_s'], '.0f')} s old" if "bundle_age_s" in figures else ", of unknown age"
        text.append(f"bundle {amount(figures.get('bundle_version'), '')} of {newest} on board{age}")
    if figures.get("fault"):
        text.append(f" · stopped by {words(figures['fault'])}", style="red")
    elif figures.get("state", "policy") != "policy":
        text.append(f" · {words(figures['state'])}", style="yellow")
    ticks, misses = figures.get("loop_ticks", 0), figures.get("loop_misses", 0)
    text.append(f" · loop misses {amount(misses)} of {amount(ticks)}", style="yellow" if misses else "")
    if robot["spooled"]:
        text.append(f" · {amount(robot['spooled'])} rows to send")
    counters = {
        "rows missing": robot["missing"],
        "rows sent twice": robot["duplicates"],
        **{f"rows rejected ({kind})": n for kind, n in counts(robot["rejected"]).items()},
        **{f"rows dropped ({kind})": n for kind, n in counts(robot["dropped"]).items()},
        **{f"bad messages ({kind})": n for kind, n in counts(robot["bad_messages"]).items()},
        "samples refused": figures.get("refused_samples", 0),
        "faults": figures.get("faults", 0),
    }
    for name, count in counters.items():
        if count:
            text.append(f" · {name}: {amount(count)}", style="yellow")
    if robot["refused"]:
        text.append(f" · refused: {words(robot['refused'])}", style="red")
    return text


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _return(value: float | None) -> str:
    return "none yet" if value is None else charts.number(value)
