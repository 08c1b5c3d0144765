"""A file is replaced all or nothing, and what a killed writer has left goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from robot_dreamer import durable
from robot_dreamer.durable import replace_file, replacing


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_is_replaced(tmp_path: Path, lasting: bool) -> None:
    file = tmp_path / "status.json"
    for content in (b"old", b"new"):
        replace_file(file, content, lasting)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_until_the_end_readers_meet_the_old_file_and_after_an_error_too(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(file) as new:
        new.write(b"half")
        new.flush()
        assert file.read_bytes() == b"old"
        raise KeyError
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_what_must_last_is_synced_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync", synced.append)
    replace_file(tmp_path / "b", b"", lasting=False)
    assert not synced
    replace_file(tmp_path / "a", b"")
    assert synced == [tmp_path]


def test_leftovers_of_a_killed_writer_go_and_those_of_one_at_work_stay(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / name for name in (".a.json.17.tmp", ".a.json.18.tmp", ".b.json.17.tmp"))
    for path in (dead, alive, other):
        path.write_bytes(b"half")
    for path in (dead, other):
        os.utime(path, (time.time() - 3600,) * 2)
    replace_file(tmp_path / "a.json", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.json", alive, other])
