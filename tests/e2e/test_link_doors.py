"""Who may come in: addresses, keys, and what is needed beyond loopback."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest
import zmq
from link_faults import TcpProxy
from link_peers import FAST, SPEC
from test_link_faults import LOCAL, learner, record, robot, sequences

from robot_dreamer.link import keys
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.security import is_loopback
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://127.0.0.1:5555", True),
        ("tcp://127.8.8.8:5555", True),
        ("tcp://localhost:5555", True),
        ("tcp://[::1]:5555", True),
        ("ipc:///tmp/x", True),
        ("tcp://*:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://192.168.1.2:5555", False),
        ("tcp://workstation:5555", False),
        ("tcp://localhost.evil.org:5555", False),
    ],
)
def test_what_counts_as_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("localhost:5555", "has no scheme: write tcp://localhost:5555"),
        ("workstation", "has no scheme"),
        ("http://localhost:5555", "expected tcp://host:port"),
        ("tcp://localhost", "has no port number"),
        ("tcp://localhost:port", "has no port number"),
        ("tcp://localhost:99999", "has no port number"),
        ("tcp://:5555", "does not say where"),
    ],
)
def test_a_bad_address_is_refused_with_advice(tmp_path: Path, address: str, advice: str) -> None:
    with pytest.raises(LinkError, match="does not say where the learner is"):
        RobotLink(SPEC, "r1", tmp_path / "r1", "tcp://*:5555", insecure=True)
    for make in (
        lambda: RobotLink(SPEC, "r1", tmp_path / "r1", address),
        lambda: LinkServer(ExperienceStore(tmp_path / "s", SPEC), SPEC, address),
    ):
        with pytest.raises(LinkError, match=advice):
            make()


def test_beyond_loopback_keys_or_the_flag_are_needed(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, _):
        with pytest.raises(LinkError, match="--insecure"):
            LinkServer(store, SPEC, "tcp://*:0")
        open_server = LinkServer(store, SPEC, "tcp://*:*", insecure=True, timing=FAST)
        open_server.start()
        open_server.stop()
    with pytest.raises(LinkError, match="--insecure"), robot(tmp_path, "tcp://192.168.7.7:5555"):
        pass


@pytest.fixture
def secured(tmp_path: Path):
    """A learner with keys, and the key files of two robots."""
    directory = tmp_path / "keys"
    handouts = keys.create(directory, ["r1", "r2"])
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL, keys=directory, timing=FAST)
    server.start()
    yield store, server, directory, handouts
    server.stop()
    store.close()


def test_a_robot_on_the_list_comes_in_encrypted(tmp_path: Path, secured) -> None:
    store, server, _, handouts = secured
    proxy = TcpProxy(server.address)
    with robot(tmp_path, proxy.address, keys=handouts[0]) as link:
        record(link, 0, 20)
        until(lambda: store.count() == 20)
        link.report({"secret_word": "xyzzy"})
        until(lambda: "secret_word" in server.status()[0].figures)
    proxy.stop()
    assert b"secret_word" not in proxy.seen and len(proxy.seen) > 2000


def test_strangers_stay_out(tmp_path: Path, secured) -> None:
    store, server, directory, handouts = secured
    keys.create(tmp_path / "other", ["r1"])
    stolen_place = msgspec.structs.replace(
        keys.load_robot_keys(tmp_path / "other" / "handout" / "r1.json"),
        learner=keys.load_robot_keys(handouts[0]).learner,
    )
    forged = tmp_path / "forged.json"
    forged.write_bytes(msgspec.json.encode(stolen_place))
    forged.chmod(0o600)
    with robot(tmp_path / "a", server.address) as plain, robot(tmp_path / "b", server.address, keys=forged) as stranger:
        record(plain, 0, 5)
        record(stranger, 0, 5)
        until(lambda: "refuses our key" in stranger.status().last_error)
        until(lambda: "handshake" in plain.status().last_error or "no answer" in plain.status().last_error)
        assert store.count() == 0 and server.status() == []
        assert server.refusals["unknown_key"] >= 1


def test_a_robot_may_not_use_the_name_of_another(tmp_path: Path, secured) -> None:
    store, server, _, handouts = secured
    renamed = tmp_path / "renamed.json"
    renamed.write_bytes(msgspec.json.encode(msgspec.structs.replace(keys.load_robot_keys(handouts[1]), robot="r1")))
    renamed.chmod(0o600)
    with robot(tmp_path, server.address, keys=renamed) as liar:
        record(liar, 0, 5)
        until(lambda: "belongs to r2, not to robot 'r1'" in liar.status().last_error)
        assert store.count() == 0
    with (
        pytest.raises(LinkError, match="keys of robot 'r2', this robot is 'r1'"),
        robot(tmp_path, "x", keys=handouts[1]),
    ):
        pass


def test_a_revoked_robot_is_cut_off_while_it_runs(tmp_path: Path, secured) -> None:
    store, server, directory, handouts = secured
    with (
        robot(tmp_path, server.address, keys=handouts[0]) as link,
        robot(tmp_path, server.address, "r2", keys=handouts[1]) as other,
    ):
        until(lambda: link.status().connected and other.status().connected)
        keys.revoke(directory, "r1")
        until(lambda: "refuses" in link.status().last_error)
        record(link, 0, 5)
        record(other, 0, 5)
        until(lambda: store.count() == 5)
        until(lambda: link.status().spooled == 5)
        assert sequences(store, other.boot) == list(range(5))
        assert "revoked" in [s for s in server.status() if s.robot == "r1"][0].refused


def test_a_robot_without_a_socket_for_a_while_acts_on_and_sends_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another part of the program, or of the machine, has all the files open that it may."""
    make, scarce = zmq.Context.socket, [True]

    def refuse(context: zmq.Context, *kind: int) -> zmq.Socket:
        if scarce:
            raise zmq.ZMQError(errno.EMFILE)
        return make(context, *kind)

    with learner(tmp_path) as (store, server):
        monkeypatch.setattr(zmq.Context, "socket", refuse)
        with robot(tmp_path, server.address) as link:
            record(link, 0, 5)
            until(lambda: "Too many open files" in link.status().last_error)
            assert not link.status().fault
            scarce.clear()
            until(lambda: store.count() == 5)
