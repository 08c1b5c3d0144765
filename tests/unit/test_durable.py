"""A file is replaced all or nothing, and what a killed writer has left goes."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import nullcontext
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


@pytest.mark.parametrize(("refused", "content"), [(stat.S_ISDIR, b"new"), (stat.S_ISREG, b"old")])
def test_a_folder_that_cannot_be_synced_is_no_reason_to_refuse_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[[int], bool], content: bytes
) -> None:
    """A mounted share: Linux knows no fsync there for a folder, and says EINVAL. A file must be on the disk."""
    file = tmp_path / "policy.zip"
    file.write_bytes(b"old")

    def fsync(handle: int) -> None:
        if refused(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    with nullcontext() if content == b"new" else pytest.raises(OSError, match="Invalid argument"):
        replace_file(file, b"new")
    assert file.read_bytes() == content


def test_a_secret_is_one_from_its_first_byte_on(tmp_path: Path) -> None:
    with replacing(tmp_path / "secret", mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_leftovers_of_a_killed_writer_go_and_those_of_one_at_work_stay(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / name for name in (".a.json.17.tmp", ".a.json.18.tmp", ".b.json.17.tmp"))
    for path in (dead, alive, other):
        path.write_bytes(b"half")
    for path in (dead, other):
        os.utime(path, (time.time() - 3600,) * 2)
    replace_file(tmp_path / "a.json", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.json", alive, other])
