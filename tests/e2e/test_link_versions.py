"""Two sides of different versions: refused with a reason that says what to do, and nothing is lost."""

from __future__ import annotations

import ast
import dataclasses
import sqlite3
from pathlib import Path

import pytest
import zmq
from link_peers import FAST, SPEC
from test_link_faults import LOCAL, learner, record, robot, sequences

import robot_dreamer.link
from benchmarks.synthetic import synthetic_row
from robot_dreamer.link import messages
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import OLDEST, PROTOCOL, Welcome, encode
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until


def test_a_learner_of_a_future_protocol_is_named_and_the_rows_wait(tmp_path: Path) -> None:
    context = zmq.Context()
    future = context.socket(zmq.ROUTER)
    future.linger, future.rcvtimeo = 0, 20_000
    future.bind(LOCAL)
    address = future.getsockopt_string(zmq.LAST_ENDPOINT)
    try:
        with robot(tmp_path, address) as link:
            record(link, 0, 10)
            identity, _ = future.recv_multipart()
            frame = encode(Welcome("store", None))
            frame[3] = PROTOCOL + 1
            future.send_multipart([identity, frame])
            until(lambda: link.status().bad_messages.get("protocol"))
            expected = (
                f"peer speaks protocol {PROTOCOL + 1}, we speak {PROTOCOL}: install the same version on both sides"
            )
            until(lambda: expected in link.status().last_error)
            until(lambda: link.status().spooled == 10)
            assert not link.status().connected and link.status().dropped == {}
            boot = link.boot
    finally:
        context.destroy(linger=0)
    with learner(tmp_path, address) as (store, _), robot(tmp_path, address):  # the right version is installed
        until(lambda: store.count() == 10)
        assert sequences(store, boot) == list(range(10))


def test_rows_with_draws_wait_for_a_learner_that_can_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PROTOCOL", OLDEST)  # what a learner of before reads
    with learner(tmp_path) as (store, server), robot(tmp_path, server.address) as link:
        record(link, 0, 10)
        until(lambda: link.status().acknowledged == 10)
        first = dataclasses.replace(synthetic_row(SPEC, link.robot, link.boot, 101), drawn={"mass": {"trunk": 5.25}})
        link.record(first)
        until(lambda: f"peer speaks protocol {OLDEST + 1}, we speak {OLDEST}" in link.status().last_error)
        assert "install the same version on both sides" in str(server.troubles())
        assert store.count() == 10 and link.status().spooled == 1 and link.status().dropped == {}
        assert link.status().connected
        monkeypatch.undo()  # the learner is updated
        until(lambda: store.count() == 11)
        assert store.read(10, 1)[0][1].drawn == first.drawn


@pytest.mark.parametrize("kind", ["store", "spool"])
def test_a_file_of_another_format_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.sqlite"

    def begin() -> None:
        if kind == "store":
            ExperienceStore(path, SPEC).close()
        else:
            link = RobotLink(SPEC, "r1", tmp_path, None, timing=FAST)
            link.start()
            link.stop()

    begin()
    database = sqlite3.connect(path)
    database.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    database.commit()
    database.close()
    with pytest.raises(LinkError, match=f"is a {kind} of format 99, expected a {kind} of format"):
        begin()
    with pytest.raises(LinkError, match="format 99"):  # neither was it changed nor left locked
        begin()


def test_the_link_never_reads_a_wall_clock() -> None:
    """So that a clock that is set, on either side, changes nothing."""
    modules = list(Path(robot_dreamer.link.__file__).parent.glob("*.py"))
    assert len(modules) > 10
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
                assert node.attr in ("monotonic", "sleep"), f"{module.name}, line {node.lineno}: time.{node.attr}"
            if isinstance(node, ast.Import):
                assert "datetime" not in [alias.name for alias in node.names], module.name
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("time", "datetime"), module.name
