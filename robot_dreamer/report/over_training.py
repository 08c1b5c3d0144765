"""Charts of numbers that metrics.jsonl follows over training."""

from __future__ import annotations

from collections.abc import Mapping

from robot_dreamer.report.charts import Chart, Series
from robot_dreamer.report.run_files import RunFiles


def over_training(
    files: RunFiles, title: str, names: Mapping[str, str], y_label: str, *, caption: str = "", log_y: bool = False
) -> Chart:
    """A chart of numbers by name, each with the label that it gets; those that are not there are left out."""
    found = {label: files.series(name) for name, label in names.items()}
    series = [Series(label, *points) for label, points in found.items() if points[0]]
    return Chart(
        title,
        "updates" if files.offline else "rows of experience",
        y_label,
        series,
        caption,
        log_y=log_y,
        missing="metrics.jsonl has no such numbers" if not series else "none of the numbers is finite",
    )


def below(files: RunFiles, prefix: str) -> dict[str, str]:
    """All numbers whose name begins so, labelled by the rest of it."""
    return {name: name.removeprefix(prefix) for name in files.names(prefix)}
