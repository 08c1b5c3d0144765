"""A network on which a handshake, or a message, takes longer than a silent peer is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from link_faults import TcpProxy
from link_peers import FAST, SPEC
from test_link_faults import LOCAL, learner, record, robot, sequences
from test_link_peers import Client, chunk

from robot_dreamer.link import keys
from robot_dreamer.link.messages import Ack, Refused, Welcome
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until


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
            until(lambda: store.count() == 20)
            assert sequences(store, link.boot) == list(range(20))
            until(lambda: link.status().spooled == 0)
    finally:
        proxy.stop()
        server.stop()
        store.close()


def test_rows_that_are_under_way_for_longer_than_silence_are_stored(tmp_path: Path) -> None:
    """A message counts when it has come whole: until then the learner hears nothing of the robot."""
    timing = dataclasses.replace(FAST, silence=0.2)
    with learner(tmp_path, timing=timing) as (store, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        until(lambda: not server.status()[0].connected)
        client.say(chunk(0, 1))
        assert client.hear((Ack, Refused)) == Ack("boot", 0, 1, False)
        assert sequences(store, "boot") == [0, 1]


def test_connections_of_robots_that_lost_their_power_end(tmp_path: Path) -> None:
    """Nothing comes from them, and nothing goes to them: only the kernel's questions find it out."""
    with learner(tmp_path) as (_, server), Client(server.address) as client:
        client.hello()
        client.hear(Welcome)
        port = f":{int(server.address.rpartition(':')[2]):04X}"

        def asked() -> bool:
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
            own = [line for line in lines if line[1].endswith(port) and line[3] == "01"]  # established
            return bool(own) and all(line[5].startswith("02:") for line in own)  # what is waited for: keepalive

        until(asked)
