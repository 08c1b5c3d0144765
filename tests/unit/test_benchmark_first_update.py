"""benchmarks/first_update.py: what is read off a start."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.first_update import FirstUpdate, begin
from robot_dreamer.run_status import STATUS_FILE, RunStatus
from tests import made_up_runs


def status(rows: int, updates: int, bundle: int) -> RunStatus:
    return msgspec.structs.replace(made_up_runs.status(1), env_steps=rows, updates=updates, bundle_version=bundle)


def test_when_what_came_and_how_many_updates_by_then() -> None:
    start = FirstUpdate()
    for seconds, seen in ((4.0, (0, 0, 0)), (7.0, (20, 0, 0)), (8.0, (40, 1, 0)), (20.0, (90, 50, 1))):
        start.see(status(*seen), seconds)
    start.see(status(200, 400, 2), 59.0)
    assert start.line("eager", (30, 60)) == "| eager | 7 s | 8 s | 20 s | 50 | 400 |"
    assert FirstUpdate().line("none", (30,)) == "| none | – | – | – | 0 |"


def test_a_start_is_watched_to_its_end(tmp_path: Path) -> None:
    (tmp_path / STATUS_FILE).write_bytes(msgspec.json.encode(status(5, 1, 0)))
    start = begin([sys.executable, "-c", "import time; time.sleep(0.3)"], tmp_path, 30)
    assert start.rows is not None and start.update is not None and start.bundle is None
    with pytest.raises(RuntimeError, match="status 3: no such robot"):
        begin([sys.executable, "-c", "import sys; print('no such robot'); sys.exit(3)"], tmp_path, 30)
