"""Names of the files in `bundles/` of a run: which of them its learner wrote."""

from __future__ import annotations

from pathlib import Path

from robot_dreamer.numbered_files import number_of, numbered_files

BUNDLES = "bundles"  # folder in the log directory
WRITTEN, PROVEN = "bundle", "proven"  # what names of a learner's bundles begin with


def written_bundles(folder: Path) -> list[Path]:
    """Bundles that a learner wrote there, by their names, oldest first."""
    return numbered_files(folder, f"{WRITTEN}-", ".zip")


def proven_bundles(folder: Path) -> list[Path]:
    """The proven bundle of a run, see learner/proven.py; several only where a learner died while it changed them."""
    return numbered_files(folder, f"{PROVEN}-", ".zip")


def bundle_path(folder: Path, version: int, kind: str = WRITTEN) -> Path:
    """Where a learner writes the bundle of a version."""
    return folder / f"{kind}-{version:08d}.zip"


def newest_version(logdir: Path) -> int:
    """Of the bundles that a run has written; 0 if there is none."""
    return max(map(number_of, written_bundles(logdir / BUNDLES)), default=0)
