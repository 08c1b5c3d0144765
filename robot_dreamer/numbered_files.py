"""Files that a run's programs name with a number. A person may keep others beside them, under whatever name."""

from __future__ import annotations

import re
from pathlib import Path


def numbered_files(folder: Path, before: str, after: str) -> list[Path]:
    """Those named `before`, eight digits or more, `after`, lowest number first."""
    name = re.compile(re.escape(before) + r"[0-9]{8,19}" + re.escape(after))
    found = [path for path in folder.iterdir() if name.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=number_of)


def number_of(path: Path) -> int:
    """The number that such a name tells."""
    return int(path.stem.rpartition("-")[2])
