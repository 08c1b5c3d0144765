"""Bundles on board: in pieces, resumed, verified whole. No sockets: the test plays the learner."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from robot_dreamer.link.inbox import KEEP, Inbox
from robot_dreamer.link.messages import Announcement, Piece
from robot_dreamer.link.timing import LinkLimits, Timing

LIMITS = LinkLimits(piece_bytes=1000, piece_window=2, bundle_bytes=50_000)
TIMING = Timing(piece=2.0, refused=5.0)


def bundle(version: int, size: int = 4_500) -> tuple[bytes, Announcement]:
    data = random.Random(version).randbytes(size)
    return data, Announcement(version, version * 100, hashlib.sha256(data).hexdigest(), size, age=0.0)


def open_inbox(folder: Path) -> Inbox:
    return Inbox(folder / "bundles", TIMING, LIMITS)


def serve(inbox: Inbox, data: bytes, now: float, pieces: int = 1000) -> int:
    """Answer up to `pieces` requests; returns how many were answered."""
    answered = 0
    while answered < pieces:
        requests = inbox.requests(now)
        if not requests:
            break
        for fetch in requests[: pieces - answered]:
            inbox.receive(Piece(fetch.sha256, fetch.offset, data[fetch.offset : fetch.offset + fetch.length]), now)
            answered += 1
    return answered


def test_a_bundle_arrives_whole(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    data, offer = bundle(1)
    inbox.offer(offer, "store", 0.0)
    assert inbox.current is None
    assert serve(inbox, data, 0.0) == 5
    assert inbox.current is not None and inbox.current.version == 1
    assert (inbox.directory / inbox.current.file).read_bytes() == data
    assert inbox.requests(1.0) == [] and not list(inbox.directory.glob("*.part"))


def test_a_download_resumes_after_a_restart(tmp_path: Path) -> None:
    data, offer = bundle(1)
    inbox = open_inbox(tmp_path)
    inbox.offer(offer, "store", 0.0)
    assert serve(inbox, data, 0.0, pieces=3) == 3
    again = open_inbox(tmp_path)
    assert again.current is None  # never used before it is whole
    again.offer(offer, "store", 0.0)
    assert serve(again, data, 0.0) == 2
    assert again.current is not None


def test_a_torn_piece_of_a_download_is_fetched_again(tmp_path: Path) -> None:
    data, offer = bundle(1)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / f"{offer.sha256}.part").write_bytes(data[:1500])
    inbox = open_inbox(tmp_path)
    inbox.offer(offer, "store", 0.0)
    assert serve(inbox, data, 0.0) == 4 and inbox.current is not None


@pytest.mark.parametrize("size", [4_500, 4_000])
def test_a_download_that_was_cut_when_its_last_piece_was_there_ends(tmp_path: Path, size: int) -> None:
    """Whatever its size: where that was a multiple of a piece, nothing was asked for any more, nor any newer bundle."""
    data, offer = bundle(1, size)
    inbox = open_inbox(tmp_path)
    (inbox.directory / f"{offer.sha256}.part").write_bytes(data)
    inbox.offer(offer, "store", 0.0)
    assert serve(inbox, data, 0.0) == 1
    assert inbox.current is not None and (inbox.directory / inbox.current.file).read_bytes() == data


def test_pieces_may_arrive_late_twice_and_in_any_order(tmp_path: Path) -> None:
    data, offer = bundle(1)
    inbox = open_inbox(tmp_path)
    inbox.offer(offer, "store", 0.0)
    now = 0.0
    rng = random.Random(0)
    while inbox.current is None:
        now += 3.0  # every request has timed out by then
        pieces = [Piece(f.sha256, f.offset, data[f.offset : f.offset + f.length]) for f in inbox.requests(now)]
        for piece in rng.sample(pieces * 2, len(pieces) * 2 - 1):
            inbox.receive(piece, now)
        assert now < 100
    assert (inbox.directory / inbox.current.file).read_bytes() == data


def test_a_slow_network_is_not_filled_with_pieces_that_are_on_their_way(tmp_path: Path) -> None:
    """A piece takes two seconds, and is waited for as long: of a window of two, the second cannot come in time."""
    inbox = open_inbox(tmp_path)
    data, offer = bundle(1, 40_000)
    inbox.offer(offer, "store", 0.0)
    wire: list = []  # first in, first out
    busy_until = now = 0.0
    asked = 0
    while inbox.current is None:
        now += 0.1
        for fetch in inbox.requests(now):
            busy_until = max(busy_until, now) + 2.0
            wire.append((busy_until, fetch))
            asked += 1
        while wire and wire[0][0] <= now:
            fetch = wire.pop(0)[1]
            inbox.receive(Piece(fetch.sha256, fetch.offset, data[fetch.offset : fetch.offset + fetch.length]), now)
        assert now < 1000
    assert asked <= 50, f"{asked} pieces asked for, the bundle has 40"


def test_a_corrupt_bundle_is_refused_and_fetched_again_later(tmp_path: Path) -> None:
    data, offer = bundle(1)
    inbox = open_inbox(tmp_path)
    inbox.offer(offer, "store", 0.0)
    serve(inbox, data[:-1] + b"?", 0.0)
    assert inbox.current is None and inbox.problems == {"bundle_corrupt": 1} and "sha256" in inbox.last_error
    inbox.offer(offer, "store", 1.0)
    assert inbox.requests(1.0) == []
    assert serve(inbox, data, 6.0) == 5 and inbox.current is not None


def test_an_older_bundle_is_refused_within_a_store_only(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    for version in (5, 6):
        data, offer = bundle(version)
        inbox.offer(offer, "store", 0.0)
        serve(inbox, data, 0.0)
    old, offer = bundle(5)
    inbox.offer(offer, "store", 0.0)
    inbox.offer(offer, "store", 0.0)  # heartbeats repeat it
    assert inbox.requests(0.0) == [] and inbox.problems == {"bundle_older": 1}
    assert "version 5 refused: version 6 is on board" in inbox.last_error
    again = open_inbox(tmp_path)  # a restart forgets nothing
    again.offer(offer, "store", 0.0)
    assert again.requests(0.0) == []
    again.offer(offer, "another_store", 0.0)
    assert serve(again, old, 0.0) == 5 and again.current is not None and again.current.version == 5


def test_a_bundle_that_is_too_large_is_refused(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    inbox.offer(Announcement(1, 1, "0" * 64, 50_001, 0.0), "store", 0.0)
    assert inbox.requests(0.0) == [] and inbox.problems == {"bundle_too_large": 1}


def test_a_download_that_has_begun_is_finished_though_newer_bundles_are_announced(tmp_path: Path) -> None:
    """A link that is slower than a bundle per publication: after each piece there is a newer one."""
    inbox = open_inbox(tmp_path)
    made = {version: bundle(version) for version in range(1, 30)}
    by_hash = {offer.sha256: data for data, offer in made.values()}
    arrived = []
    for step, (_, offer) in enumerate(made.values()):
        now = 3.0 * step  # every request has timed out by then
        inbox.offer(offer, "store", now)
        for fetch in inbox.requests(now)[:1]:
            data = by_hash[fetch.sha256]
            inbox.receive(Piece(fetch.sha256, fetch.offset, data[fetch.offset : fetch.offset + fetch.length]), now)
        if inbox.current is not None and inbox.current.version not in arrived:
            arrived.append(inbox.current.version)
            assert (inbox.directory / inbox.current.file).read_bytes() == made[inbox.current.version][0]
    assert len(arrived) >= 3 and arrived == sorted(arrived)


def test_a_newer_announcement_replaces_a_download_that_has_not_begun(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    inbox.offer(bundle(1)[1], "store", 0.0)
    assert inbox.requests(0.0)
    data2, offer2 = bundle(2)
    inbox.offer(offer2, "store", 0.0)
    assert serve(inbox, data2, 0.0) == 5
    assert inbox.current is not None and inbox.current.version == 2
    assert not list(inbox.directory.glob("*.part"))


def test_another_lineage_or_a_dropped_bundle_ends_a_download(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    for version, end in ((1, "lineage"), (2, "gone")):
        data, offer = bundle(version)
        inbox.offer(offer, end, 0.0)
        assert serve(inbox, data, 0.0, pieces=2) == 2
        if end == "gone":
            inbox.gone(offer.sha256, 0.0)
            assert inbox.requests(9.0) == [] and inbox.problems == {"bundle_gone": 1}
    data, offer = bundle(1)
    inbox.offer(offer, "gone", 9.0)
    assert serve(inbox, data, 9.0) == 5
    assert inbox.current is not None and inbox.current.store == "gone"
    assert not list(inbox.directory.glob("*.part"))


def test_a_bundle_damaged_on_disk_is_not_used_after_a_restart(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    data, offer = bundle(1)
    inbox.offer(offer, "store", 0.0)
    serve(inbox, data, 0.0)
    assert inbox.current is not None
    file = inbox.directory / inbox.current.file
    file.write_bytes(data[:-1])
    again = open_inbox(tmp_path)
    assert again.current is None and again.problems == {"bundle_corrupt": 1}
    again.offer(offer, "store", 0.0)
    serve(again, data, 0.0)
    assert again.current is not None and file.read_bytes() == data


def test_few_old_bundles_are_kept(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    for version in range(1, 8):
        data, offer = bundle(version)
        inbox.offer(offer, "store", 0.0)
        serve(inbox, data, 0.0)
    assert len(list(inbox.directory.glob("bundle-*.zip"))) == KEEP
    assert inbox.current is not None and (inbox.directory / inbox.current.file).exists()


def test_a_full_disk_is_a_counted_delay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = open_inbox(tmp_path)
    data, offer = bundle(1)
    inbox.offer(offer, "store", 0.0)
    serve(inbox, data, 0.0, pieces=2)
    inbox.disk_failed(OSError(28, "No space left on device"), 1.0)
    assert inbox.problems == {"bundle_disk": 1} and inbox.requests(1.5) == []
    assert serve(inbox, data, 3.0) == 3 and inbox.current is not None


def test_a_bundle_that_finds_no_room_is_fetched_once_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for the next one, which a learner that has ended does not make."""
    inbox, (data, offer), free = open_inbox(tmp_path), bundle(1), [100]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    for now in (0.0, 0.5):
        inbox.offer(offer, "store", now)
    assert inbox.requests(0.5) == [] and inbox.problems == {"bundle_disk": 1} and "are free" in inbox.last_error
    free[0] = 1 << 30
    inbox.offer(offer, "store", 2.0)
    assert serve(inbox, data, 2.0) == 5 and inbox.current is not None and not inbox.last_error


def test_the_age_counts_from_the_announcement(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    data, offer = bundle(1)
    now = time.monotonic()
    inbox.offer(msgspec.structs.replace(offer, age=50.0), "store", now)
    serve(inbox, data, now)
    age = inbox.age()
    assert age is not None and 50.0 <= age < 110.0
    inbox.offer(msgspec.structs.replace(offer, age=100.0), "store", now)
    age = inbox.age()
    assert age is not None and 100.0 <= age < 160.0
    assert open_inbox(tmp_path).age() is None  # no learner has told this process
