"""A network whose handshake takes longer than a silent learner is given."""

from __future__ import annotations

from pathlib import Path

from link_faults import TcpProxy
from link_peers import FAST, SPEC
from test_link_faults import LOCAL, record, robot, sequences, wait_for

from robot_dreamer.link import keys
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore


def test_a_handshake_that_takes_longer_than_silence_succeeds(tmp_path: Path) -> None:
    """TCP, ZMTP and CURVE need several round trips of 0.6 s; the robot gives up a silent connection after 1.5 s."""
    (handout,) = keys.create(tmp_path / "keys", ["r1"])
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL, keys=tmp_path / "keys", timing=FAST)
    server.start()
    proxy = TcpProxy(server.address)
    proxy.delay = 0.3
    assert FAST.silence == 1.5
    try:
        with robot(tmp_path, proxy.address, keys=handout) as link:
            record(link, 0, 20)
            wait_for(lambda: store.count() == 20, 60)
            assert sequences(store, link.boot) == list(range(20))
            wait_for(lambda: link.status().spooled == 0)
    finally:
        proxy.stop()
        server.stop()
        store.close()
