"""Names of the files in `bundles/` of a run: which of them its learner wrote, and of which version each is."""

from __future__ import annotations

import re
from pathlib import Path

BUNDLES = "bundles"  # folder in the log directory
WRITTEN, PROVEN = "bundle", "proven"  # what names of a learner's bundles begin with


def written_bundles(folder: Path) -> list[Path]:
    """Bundles that a learner wrote there, by their names, oldest first; a person may keep others beside them."""
    return _numbered(folder, WRITTEN)


def proven_bundles(folder: Path) -> list[Path]:
    """The proven bundle of a run, see learner/proven.py; several only where a learner died while it changed them."""
    return _numbered(folder, PROVEN)


def bundle_path(folder: Path, version: int, kind: str = WRITTEN) -> Path:
    """Where a learner writes the bundle of a version."""
    return folder / f"{kind}-{version:08d}.zip"


def bundle_number(path: Path) -> int:
    """The version that the name of such a bundle tells."""
    return int(path.stem.rpartition("-")[2])


def newest_version(logdir: Path) -> int:
    """Of the bundles that a run has written; 0 if there is none."""
    return max(map(bundle_number, written_bundles(logdir / BUNDLES)), default=0)


def _numbered(folder: Path, kind: str) -> list[Path]:
    name = re.compile(kind + r"-[0-9]{8,19}\.zip")
    found = [path for path in folder.iterdir() if name.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=bundle_number)
