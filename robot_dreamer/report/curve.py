"""The learning curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_dreamer.report.charts import number
from robot_dreamer.report.history import EpisodeReader

WINDOW = 10  # episodes of the running mean
_DOTS, _MEAN, _RANDOM, _EVALUATION = "#9ec5e8", "#1f5fa8", "#888888", "#c0392b"


def running_mean(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """Mean of each value and the up to window - 1 before it."""
    parts = (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def draw_curve(
    episodes: Path,
    output: Path,
    *,
    title: str,
    random_return: float | None = None,
    evaluation: tuple[float, tuple[float, float] | None] | None = None,
) -> Path:
    """Draw the returns of episodes.jsonl over environment steps and write a PNG.

    Args:
      episodes: the file.
      output: where to write; its folder must exist.
      random_return: level of the random policy.
      evaluation: mean return of the final evaluation and its interval.

    Returns:
      output.

    Raises:
      ValueError: there is no finished episode.
    """
    history = EpisodeReader(episodes).read()
    if not history:
        raise ValueError(f"{episodes}: no finished episode yet, so there is no curve to draw")
    from matplotlib.figure import Figure  # here: the page about a run needs the rest, and who learns begins without it

    steps, returns = [e.env_step for e in history], [e.total for e in history]
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, returns, ".", color=_DOTS, markersize=5, label="episode")
    axes.plot(steps, running_mean(returns), color=_MEAN, linewidth=2, label=f"mean of {WINDOW} episodes")
    if random_return is not None:
        axes.axhline(random_return, color=_RANDOM, linestyle="--", label=f"random policy: {number(random_return)}")
    if evaluation is not None:
        mean, interval = evaluation
        error = None if interval is None else [[mean - interval[0]], [interval[1] - mean]]
        label = f"evaluation: {number(mean)}"
        axes.errorbar(
            [steps[-1]], [mean], error, fmt="D", color=_EVALUATION, capsize=4, clip_on=False, zorder=3, label=label
        )
    axes.set(title=title, xlabel="environment steps", ylabel="return of an episode")
    axes.set_xlim(left=0)
    axes.grid(color="#e5e5e5")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(output, format="png")
    return output
