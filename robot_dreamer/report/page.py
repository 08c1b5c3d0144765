"""One self-contained page about a run: report.html in its log directory. Reads files only; needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import jinja2

import robot_dreamer
from robot_dreamer.durable import replace_file
from robot_dreamer.report.blocks import Section
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
    return write_page(logdir / REPORT_FILE, render(read_run(logdir)))


def write_page(path: Path, text: str) -> Path:
    """Write a page at once, so that no browser sees a half; returns the file."""
    replace_file(path, text.encode(), lasting=False)
    return path


def render(files: RunFiles) -> str:
    """The page as HTML."""
    sections = [make(files) for make in SECTIONS]  # they may find more that is missing
    name = files.spec.name if files.spec is not None else "robot not known"
    title = f"{files.logdir.resolve().name}: {files.run.get('environment') or name}"
    phase = files.status.phase if files.status is not None else "no word from the learner"
    told = (files.config.get("name", "configuration not known"), phase, str(files.logdir))
    return render_page(title, told, sections, files.missing)


def render_page(title: str, told: Sequence[str], sections: Sequence[Section], missing: Sequence[str]) -> str:
    """A page of sections as HTML; told: what stands below the title; missing: what a reader should know first."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=title,
        told=told,
        sections=sections,
        missing=missing,
        written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        version=robot_dreamer.__version__,
    )
