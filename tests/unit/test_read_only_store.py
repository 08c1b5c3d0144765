"""A store where nothing can be written: another person's run, an archive, a volume that is mounted read-only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.synthetic import synthetic_row
from robot_dreamer.data.source import open_store, rows_of
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")
_NOBODY = 65534


@contextmanager
def another_person() -> Iterator[None]:
    """Root may write everywhere; whoever else runs the tests is not allowed to, by the folder's mode."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_store_is_read_where_nothing_can_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which is for its owner only
        folder = Path(name)
        store = ExperienceStore(folder / "experience.sqlite", SPEC)
        store.add([synthetic_row(SPEC, "r", "b", i) for i in range(30)])
        store.close()
        folder.chmod(0o555)
        try:
            with another_person():
                found = open_store(folder)
                assert [row.sequence for row in rows_of(found)] == list(range(30))
                found.close()
        finally:
            folder.chmod(0o755)
