"""One self-contained page about a run: report.html in its log directory. Reads files only; needs no network."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import jinja2

import robot_dreamer
from robot_dreamer.report.run_files import RunFiles, read_run
from robot_dreamer.report.sections.behavior import behavior
from robot_dreamer.report.sections.model import model
from robot_dreamer.report.sections.result import result
from robot_dreamer.report.sections.robot import robot
from robot_dreamer.report.sections.setup import setup

REPORT_FILE = "report.html"
SECTIONS = (result, model, behavior, robot, setup)


def write_report(logdir: Path) -> Path:
    """Write report.html of a log directory, whatever there is of a run in it; returns the file.

    Raises NoRun (a ValueError) for a folder that holds nothing of a run.
    """
    text = render(read_run(logdir))
    path = logdir / REPORT_FILE
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def render(files: RunFiles) -> str:
    """The page as HTML."""
    sections = [make(files) for make in SECTIONS]  # they may find more that is missing
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = files.spec.name if files.spec is not None else "robot not known"
    return environment.get_template("report.html.j2").render(
        title=f"{files.logdir.resolve().name}: {files.run.get('environment') or name}",
        configuration=files.config.get("name", "configuration not known"),
        phase=files.status.phase if files.status is not None else "no word from the learner",
        logdir=files.logdir,
        sections=sections,
        missing=files.missing,
        written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        version=robot_dreamer.__version__,
    )
