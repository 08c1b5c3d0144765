"""While a commit waits for the disk the learner hears everybody, acknowledges nothing of it, and takes in one batch."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from link_peers import PATIENT, SPEC
from test_link_faults import LOCAL, learner, sequences
from test_link_peers import Client, chunk

from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import Ack, Alive, Pulse, Welcome, encode
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS
from tests.waiting import until

ALIVE = Alive(7, None, 0, {}, {}, -1)


def commits_wait(store: ExperienceStore, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No transaction of the store ends before the event is set."""
    healthy, disk = store.transaction, threading.Event()

    @contextmanager
    def slow() -> Iterator[None]:
        with healthy():
            yield
            assert disk.wait(60)

    monkeypatch.setattr(store, "transaction", slow)
    return disk


def test_everybody_is_heard_during_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with learner(tmp_path, timing=PATIENT) as (store, server), Client(server.address) as client:
        disk = commits_wait(store, monkeypatch)
        client.hello()
        client.hear(Welcome)
        for rows in (chunk(0, 1), chunk(2, 3, previous=1), chunk(4, previous=3)):
            client.say(rows)
        with Client(server.address) as other:
            other.hello("other")
            assert other.hear(Welcome).store == store.id
        client.say(ALIVE)
        assert isinstance(client.hear((Ack, Pulse)), Pulse), "acknowledged before it is durable"
        assert store.count() == 0
        disk.set()
        assert [client.hear(Ack).sequence for _ in range(3)] == [1, 3, 4]
        assert sequences(store, "boot") == [0, 1, 2, 3, 4]


def test_no_more_than_a_batch_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [chunk(i, previous=i - 1) for i in range(20)]
    limits = dataclasses.replace(LIMITS, batch_bytes=3 * len(encode(chunks[0])))
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL, timing=PATIENT, limits=limits)
    disk, give, batches = commits_wait(store, monkeypatch), server._keeper.give, []

    def counted(batch) -> None:
        batches.append(len(batch))
        give(batch)

    monkeypatch.setattr(server._keeper, "give", counted)
    server.start()
    try:
        with Client(server.address) as client:
            client.hello()
            client.hear(Welcome)
            for rows in chunks:
                client.say(rows)
            until(lambda: server._waiting >= limits.batch_bytes)
            disk.set()
            for number in range(20):
                assert client.hear(Ack).sequence == number
        assert sum(batches) == 20 and max(batches) == 3
    finally:
        server.stop()
        store.close()


def test_who_has_another_connection_by_now_is_not_answered_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends its rows again there, and would take the answer for one to a chunk of a connection before."""
    with learner(tmp_path, timing=PATIENT) as (store, server), Client(server.address) as before:
        disk = commits_wait(store, monkeypatch)
        before.hello()
        before.hear(Welcome)
        before.say(chunk(0, 1))
        until(lambda: server._keeper.busy)
        with Client(server.address) as after:
            after.hello()
            after.hear(Welcome)
            after.say(msgspec.structs.replace(chunk(0, 1), chunk=5))
            disk.set()
            assert after.hear(Ack) == Ack("boot", 5, 1, False)
        assert sequences(store, "boot") == [0, 1]


def test_a_keeper_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL, timing=PATIENT)

    def die(batch) -> None:
        raise SystemExit("nobody thought of it")

    monkeypatch.setattr(server._keeper, "_keep", die)
    server.start()
    with Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        client.say(chunk(0, 1))
        until(lambda: server.fault)
    assert "link keeper stopped: SystemExit" in server.fault
    with pytest.raises(LinkError, match="link keeper stopped"):
        server.check()
    with pytest.raises(LinkError, match="link keeper stopped"):
        server.stop()
    store.close()
