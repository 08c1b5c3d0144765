"""The tables of `robot-dreamer data`."""

from __future__ import annotations

from rich import box
from rich.table import Table

from robot_dreamer.data.survey import BootSummary, Survey

_LEFT = ("robot", "boot", "ended")


def boots_table(survey: Survey) -> Table:
    """One line per boot of a robot."""
    columns = ("robot", "boot", "rows", "episodes", "cut", "discarded", "return", "span", "rate", "gaps", "backwards")
    table = _table(*columns, "missing")
    for boot in survey.boots:
        table.add_row(*_boot(boot))
    return table


def episodes_table(survey: Survey) -> Table:
    """One line per episode, numbered as `data export --episodes` counts them."""
    table = _table("robot", "episode", "boot", "rows", "return", "ended")
    counts: dict[str, int] = {}
    for boot in survey.boots:
        for episode in boot.episodes:
            number = counts[boot.robot] = counts.get(boot.robot, -1) + 1
            total = f"{episode.total_reward:.2f}"
            ended = f"{episode.ended}, discarded" if episode.discarded else episode.ended
            table.add_row(boot.robot, str(number), boot.boot, str(episode.rows), total, ended)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE)
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
    return table


def _boot(boot: BootSummary) -> list[str]:
    mean = boot.mean_return
    return [
        boot.robot,
        boot.boot,
        str(boot.rows),
        str(len(boot.episodes)),
        str(len(boot.episodes) - len(boot.finished)),
        str(sum(episode.discarded for episode in boot.episodes)),
        "-" if mean is None else f"{mean:.2f}",
        f"{(boot.last_stamp - boot.first_stamp) * 1e-9:.1f} s",
        "-" if boot.rate is None else f"{boot.rate:.2f} Hz",
        str(boot.gaps),
        str(boot.backwards),
        str(boot.missing),
    ]
