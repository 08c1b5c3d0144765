"""Key files: made, listed, revoked, protected, and read with care."""

from __future__ import annotations

import argparse
import stat
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from robot_dreamer.link import keys
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.security import ZAP_ENDPOINT, Gate
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import settings_of


def run(folder: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    keys.add_arguments(parser)
    return keys.run(parser.parse_args([*arguments, "--keys", str(folder)]))


def test_create_list_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "create", "r1", "r2") == 0
    handout = tmp_path / "handout" / "r1.json"
    said = capsys.readouterr().out
    assert str(handout) in said and "for its policy node: keys:=r1.json robot_id:=r1;" in said
    assert {"keys", "robot_id"} <= {entry.name for entry in settings_of(PolicyNodeSettings)}
    run(tmp_path, "list")
    listing = capsys.readouterr().out
    mine = keys.load_robot_keys(handout)
    learner = keys.LearnerKeys(tmp_path)
    assert mine.robot == "r1" and mine.learner == learner.public and f"r1\t{mine.public}" in listing
    assert mine.secret not in listing and learner.allowed()[mine.public] == "r1"
    with pytest.raises(LinkError, match="leave out r1"):
        run(tmp_path, "list", "r1")
    run(tmp_path, "revoke", "r1")
    assert keys.listed(tmp_path).keys() == {"r2"} and not handout.exists()


def test_more_robots_keep_the_learners_key(tmp_path: Path) -> None:
    keys.create(tmp_path, ["r1"])
    before = keys.LearnerKeys(tmp_path).public
    keys.create(tmp_path, ["r2"])
    assert keys.LearnerKeys(tmp_path).public == before and set(keys.listed(tmp_path)) == {"r1", "r2"}


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    keys.create(tmp_path, ["r1"])
    for path in (tmp_path / "learner.json", tmp_path / "handout" / "r1.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_wrong_use_is_explained(tmp_path: Path) -> None:
    keys.create(tmp_path, ["r1"])
    for call, text in [
        (lambda: keys.create(tmp_path, ["r1"]), "has keys already"),
        (lambda: keys.create(tmp_path, ["../r"]), "robot id '../r' is not possible"),
        (lambda: keys.revoke(tmp_path, "r9"), "not allowed anyway; allowed: r1"),
        (lambda: keys.load_robot_keys(tmp_path / "none.json"), "robot-dreamer keys create"),
        (lambda: keys.load_robot_keys(tmp_path / "learner.json"), "not a key file of the expected kind"),
        (lambda: keys.LearnerKeys(tmp_path / "nowhere"), "cannot read key file"),
        (lambda: run(tmp_path, "revoke"), "name the robots"),
    ]:
        with pytest.raises(LinkError, match=text):
            call()


def test_one_broken_entry_allows_nobody_and_stops_nobody(tmp_path: Path) -> None:
    keys.create(tmp_path, ["r1", "r2"])
    learner = keys.LearnerKeys(tmp_path)
    for broken in (b"{", b'{"robot": "r\xe91", "public": "x"}', b"\xff"):
        (tmp_path / "robots" / "r1.json").write_bytes(broken)
        assert list(learner.allowed().values()) == ["r2"] and "r1.json" in learner.problem
    with pytest.raises(LinkError, match="r1.json"):
        run(tmp_path, "list")
    (tmp_path / "robots" / "r1.json").unlink()  # a person has mended it
    assert list(learner.allowed().values()) == ["r2"] and not learner.problem


@pytest.mark.parametrize("name", ["../learner", "../../x", "/etc/x", "", ".", "a/b", "a" * 65])
def test_names_from_outside_do_not_become_paths(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "keys"
    keys.create(folder, ["r1"])
    (tmp_path / "x.json").write_text("{}")
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for use in (keys.revoke, lambda place, robot: keys.create(place, [robot])):
        with pytest.raises(LinkError, match="is not possible"):
            use(folder, name)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused_with_what_helps(tmp_path: Path, mode: int) -> None:
    (handout,) = keys.create(tmp_path, ["r1"])
    for path, read in (
        (handout, keys.load_robot_keys),
        (tmp_path / "learner.json", lambda _: keys.LearnerKeys(tmp_path)),
    ):
        path.chmod(mode)
        with pytest.raises(LinkError, match=rf"others can read it \(mode {mode:o}\): chmod 600 {path}"):
            read(path)
        path.chmod(0o600)
        read(path)
    assert list(keys.LearnerKeys(tmp_path).allowed().values()) == ["r1"]  # public keys may be read by all


def test_a_question_is_answered_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.create(tmp_path, ["r1"])
    learner = keys.LearnerKeys(tmp_path)
    with zmq.Context() as context, context.socket(zmq.REQ) as asker:
        gate = Gate(context, learner)
        asker.connect(ZAP_ENDPOINT)
        asker.rcvtimeo = gate.socket.rcvtimeo = 5000
        question = [b"1.0", b"7", b"d", b"a", b"i", b"CURVE", z85.decode(next(iter(learner.allowed())))]

        def fail() -> dict[str, str]:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(learner, "allowed", fail)
            asker.send_multipart(question)
            with pytest.raises(MemoryError):
                gate.answer()
        assert asker.recv_multipart()[2] == b"400" and gate.denied == 1
        asker.send_multipart(question)
        gate.answer()
        assert asker.recv_multipart()[2] == b"200" and gate.denied == 1
        gate.socket.close()
