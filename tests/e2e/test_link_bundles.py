"""Bundles down the real link: late joiners, resumption, replacement, and no waiting for acknowledgements."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from link_faults import TcpProxy
from link_peers import PATIENT
from test_link_faults import learner, record, robot

from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.timing import LinkLimits
from tests.waiting import until


def make_bundle(folder: Path, seed: int, size: int = 300_000) -> Path:
    path = folder / f"made-{seed}.zip"
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def test_a_late_joiner_gets_the_current_bundle_and_then_each_newer_one(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        first, second = make_bundle(tmp_path, 1), make_bundle(tmp_path, 2)
        server.publish(first, 1, 100)
        with robot(tmp_path, server.address) as link:
            assert until(link.take_bundle).read_bytes() == first.read_bytes()
            assert link.take_bundle() is None
            server.publish(second, 2, 200)
            path = until(link.take_bundle)
            assert path.read_bytes() == second.read_bytes()
            until(lambda: server.status()[0].fetched_version == 2)
            assert (link.status().bundle_version, link.status().bundle_file) == (2, path.name)
            assert until(lambda: link.status().bundle_age) > 0


def test_the_bundle_is_on_board_after_a_restart_without_learner(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        path = make_bundle(tmp_path, 1)
        server.publish(path, 1, 100)
        with robot(tmp_path, server.address) as link:
            until(link.take_bundle)
    with robot(tmp_path, None) as link:
        again = link.take_bundle()
        assert again is not None and again.read_bytes() == path.read_bytes()
        assert link.take_bundle() is None


def test_the_file_may_be_replaced_while_robots_fetch_it(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        path = make_bundle(tmp_path, 1, size=3_000_000)
        content = path.read_bytes()
        server.publish(path, 1, 100)
        path.unlink()
        path.write_bytes(b"something else")
        with robot(tmp_path, server.address) as link:
            assert until(link.take_bundle).read_bytes() == content


def test_a_cut_download_goes_on_where_it_was(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        proxy = TcpProxy(server.address)
        path = make_bundle(tmp_path, 1, size=40_000_000)
        server.publish(path, 1, 100)
        folder = tmp_path / "r1" / "bundles"
        try:
            with robot(tmp_path, proxy.address) as link:
                part = until(lambda: [p for p in folder.glob("*.part") if p.stat().st_size > 500_000])[0]
                proxy.cut()
                at_cut = len(proxy.seen)
                until(lambda: link.status().sessions >= 2)
                assert not part.exists() or part.stat().st_size >= 500_000
                assert until(link.take_bundle).read_bytes() == path.read_bytes()
                assert len(proxy.seen) - at_cut < 40_000_000, "all of it was fetched again"
        finally:
            proxy.stop()


def test_acknowledgements_do_not_wait_for_a_big_bundle(tmp_path: Path) -> None:
    with learner(tmp_path, timing=PATIENT) as (_, server), robot(tmp_path, server.address, timing=PATIENT) as link:
        until(lambda: link.status().connected)
        server.publish(make_bundle(tmp_path, 1, size=40_000_000), 1, 100)
        until(lambda: list((tmp_path / "r1" / "bundles").glob("*.part")))
        acknowledged = 0
        while link.status().bundle_version < 0 and acknowledged < 200:
            record(link, acknowledged, 10)
            acknowledged += 10
            until(lambda expected=acknowledged: link.status().acknowledged == expected)
        assert acknowledged >= 20, "rows were settled while the bundle was on its way"
        until(link.take_bundle)
        assert link.status().rewinds == 0


def test_a_slow_link_gets_whole_bundles_though_newer_ones_keep_coming(tmp_path: Path) -> None:
    """A publication after every few pieces: the download that has begun is finished, and then the newest is fetched."""
    limits = LinkLimits(piece_bytes=2000, piece_window=1)
    with learner(tmp_path) as (_, server):
        content = {version: make_bundle(tmp_path, version, size=100_000) for version in range(1, 40)}
        server.publish(content[1], 1, 1)
        with robot(tmp_path, server.address, limits=limits) as link:
            version, seen, arrived = 1, 0, []
            while len(arrived) < 2:
                until(lambda before=seen: link._inbox.fetched_pieces >= before + 3)
                seen = link._inbox.fetched_pieces
                if version < 39:
                    version += 1
                    server.publish(content[version], version, version)
                taken = link.take_bundle()
                if taken is not None:
                    arrived.append(int(taken.name.split("-")[1]))
                    assert taken.read_bytes() == content[arrived[-1]].read_bytes()
            assert arrived[0] < version, "it was the newest: this test tests nothing"
            assert arrived[0] < arrived[1]
            until(lambda: link.status().bundle_version == version)


def test_an_old_bundle_is_warned_about(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        server.publish(make_bundle(tmp_path, 1), 1, 100)
        with robot(tmp_path, server.address, bundle_warning=0.05) as link:
            until(lambda: link.status().bundle_warning)
            assert "bundle 1 was published" in link.status().bundle_warning
            assert link.status().fault == ""


def test_versions_only_rise_within_a_store(tmp_path: Path) -> None:
    first, second = make_bundle(tmp_path, 1), make_bundle(tmp_path, 2)
    with learner(tmp_path) as (store, server):
        server.publish(first, 5, 100)
        with pytest.raises(LinkError, match="use 6 or more"):
            server.publish(second, 4, 100)
    with learner(tmp_path) as (store, server):  # a restarted learner knows
        assert store.published()[0] == 5
        with pytest.raises(LinkError, match="use 6 or more"):
            server.publish(second, 5, 100)
        server.publish(first, 5, 100)  # the same bundle again
        server.publish(second, 6, 100)


def test_what_cannot_be_published_is_named(tmp_path: Path) -> None:
    with learner(tmp_path) as (_, server):
        with pytest.raises(LinkError, match="none.zip: No such file"):
            server.publish(tmp_path / "none.zip", 1, 1)
        (tmp_path / "empty.zip").touch()
        with pytest.raises(LinkError, match="0 bytes"):
            server.publish(tmp_path / "empty.zip", 1, 1)


def test_a_jump_of_the_wall_clock_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as link,
    ):
        record(link, 0, 10)
        until(lambda: store.count() == 10)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 10 * 365 * 86400)
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        record(link, 10, 10)
        until(lambda: store.count() == 20)
        assert link.status().sessions == 1 and server.status()[0].last_seen < 60
