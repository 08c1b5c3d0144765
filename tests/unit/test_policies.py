"""Policies that travel: what was signed comes through every place whole, and everything else is refused by name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from robot_dreamer.cli import main
from robot_dreamer.onboard.bundle import BundleError, read_bundle
from robot_dreamer.policies.places import Folder, Http, NotThere, Place, PlaceError, place_of
from robot_dreamer.policies.shelf import names, pull, push, stated
from robot_dreamer.policies.signature import (
    LARGEST_SIGNED,
    require_signed,
    sign,
    signature_path,
    verified,
)
from robot_dreamer.policies.signers import SignatureError, SigningKey, create_key, load_key, read_trusted, revoke, trust
from tests.onboard_models import make_bundle, toy_spec
from tests.policy_servers import HubLike, Plain, serving


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    for version in (1, 2):
        make_bundle(folder / f"{version}.zip", toy_spec(), version=version)
    return [folder / "1.zip", folder / "2.zip"]


@pytest.fixture
def alice(tmp_path: Path) -> SigningKey:
    trust(tmp_path / "trusted", create_key(tmp_path / "keys", "alice"))
    return load_key(tmp_path / "keys" / "alice.json")


@pytest.fixture
def mallory(tmp_path: Path) -> SigningKey:
    create_key(tmp_path / "keys", "mallory")
    return load_key(tmp_path / "keys" / "mallory.json")


@pytest.fixture(params=["folder", "http", "hub"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield Folder(tmp_path / "shelf")
        return
    with serving(Plain if request.param == "http" else HubLike) as server:
        if request.param == "http":
            yield Http(server.url + "/policies/")
            return
        pytest.importorskip("huggingface_hub")
        from robot_dreamer.policies.hub import Hub

        yield Hub("somebody/policies", server.url)


def test_what_is_pushed_is_pulled_byte_by_byte(
    place: Place, tmp_path: Path, bundles: list[Path], alice: SigningKey
) -> None:
    trusted, output = tmp_path / "trusted", tmp_path / "policy.zip"
    with pytest.raises(NotThere):
        pull(place, "arm", output, trusted)
    assert push(bundles[0], place, "arm", alice).sequence == 1
    assert push(bundles[1], place, "arm", alice).sequence == 2
    assert push(bundles[0], place, "leg", alice).sequence == 1
    assert names(place) == ["arm", "leg"]
    found = pull(place, "arm", output, trusted)
    assert (found.signer, found.statement.sequence, found.statement.robot) == ("alice", 2, "toy")
    assert output.read_bytes() == bundles[1].read_bytes()
    assert require_signed(output, trusted)[1] == found.statement
    assert pull(place, "arm", output, trusted, sequence=1).statement.sequence == 1, "an old one that was asked for"
    assert output.read_bytes() == bundles[0].read_bytes() and read_bundle(output, toy_spec()).manifest.version == 1
    assert sorted(p.name for p in tmp_path.glob("*policy.zip*")) == ["policy.zip", "policy.zip.signed"]


def test_a_place_that_is_not_there_or_refuses_is_named(tmp_path: Path) -> None:
    with serving(Plain) as server:
        url = server.url
    with pytest.raises(PlaceError, match=re.escape(f"GET {url}/arm/newest.signed")):
        pull(Http(url), "arm", tmp_path / "x", tmp_path)
    with pytest.raises(PlaceError, match="ftp://x: expected a folder"):
        place_of("ftp://x")
    assert isinstance(place_of("https://x"), Http) and isinstance(place_of("shelf"), Folder)


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    from robot_dreamer.policies.hub import Hub

    with serving(HubLike) as server, pytest.raises(NotThere, match="hf://nobody/policies: there is no such repository"):
        pull(Hub("nobody/policies", server.url), "arm", tmp_path / "x", tmp_path)


def test_a_token_goes_to_the_place_that_was_named(
    tmp_path: Path, bundles: list[Path], alice: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_DREAMER_TOKEN", "secret")
    with serving(Plain) as server:
        push(bundles[0], Http(server.url), "arm", alice)
        assert set(server.authorizations) == {"Bearer secret"}


# What an attacker who owns the place can do. Each returns what the refusal must say.


def changed_bundle(shelf: Path, *_: object) -> str:
    path = shelf / "arm" / "00000002.zip"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "arm 2: not what was signed"


def longer_bundle(shelf: Path, *_: object) -> str:
    with (shelf / "arm" / "00000002.zip").open("ab") as file:
        file.write(b"x")
    return "arm 2: not what was signed"


def cut_bundle(shelf: Path, *_: object) -> str:
    path = shelf / "arm" / "00000002.zip"
    path.write_bytes(path.read_bytes()[:-1])
    return "arm 2: not what was signed"


def another_bundle(shelf: Path, *_: object) -> str:
    (shelf / "arm" / "00000002.zip").write_bytes((shelf / "arm" / "00000001.zip").read_bytes())
    return "arm 2: not what was signed"


def missing_signature(shelf: Path, *_: object) -> str:
    (shelf / "arm" / "newest.signed").unlink()
    return "newest.signed is not there"


def empty_signature(shelf: Path, *_: object) -> str:
    (shelf / "arm" / "newest.signed").write_bytes(b"")
    return "expected a signature and a statement, found 0 bytes"


def endless_signature(shelf: Path, *_: object) -> str:
    (shelf / "arm" / "newest.signed").write_bytes(bytes(LARGEST_SIGNED + 1))
    return f"expected at most {LARGEST_SIGNED} bytes"


def changed_statement(shelf: Path, *_: object) -> str:
    path = shelf / "arm" / "newest.signed"
    path.write_bytes(path.read_bytes().replace(b'"sequence":2', b'"sequence":3'))
    return r"not of anybody who is trusted in .*trusted \(alice\), or what it signs was changed"


def signed_by_a_stranger(shelf: Path, mallory: SigningKey, trusted: Path) -> str:
    path = shelf / "arm" / "newest.signed"
    _, statement = verified(path.read_bytes(), read_trusted(trusted))
    path.write_bytes(sign(statement, mallory))
    return r"not of anybody who is trusted in .*trusted \(alice\)"


def another_name(shelf: Path, *_: object) -> str:
    (shelf / "arm" / "newest.signed").write_bytes((shelf / "leg" / "newest.signed").read_bytes())
    return "its statement is on another bundle, leg 1"


def revoked(_shelf: Path, _mallory: SigningKey, trusted: Path) -> str:
    revoke(trusted, "alice")
    return "signed by 'alice', whose key was revoked in .*trusted"


@pytest.mark.parametrize(
    "attack",
    [
        changed_bundle, longer_bundle, cut_bundle, another_bundle, missing_signature, empty_signature,
        endless_signature, changed_statement, signed_by_a_stranger, another_name, revoked,
    ],
)  # fmt: skip
def test_everything_else_is_refused_and_what_was_there_stays(
    attack: Callable[[Path, SigningKey, Path], str],
    tmp_path: Path,
    bundles: list[Path],
    alice: SigningKey,
    mallory: SigningKey,
) -> None:
    place, output, trusted = Folder(tmp_path / "shelf"), tmp_path / "policy.zip", tmp_path / "trusted"
    for name, bundle in (("arm", bundles[0]), ("arm", bundles[1]), ("leg", bundles[0])):
        push(bundle, place, name, alice)
    output.write_text("what flew before")
    expected = attack(tmp_path / "shelf", mallory, trusted)
    with pytest.raises((SignatureError, PlaceError), match=expected):
        pull(place, "arm", output, trusted)
    assert output.read_text() == "what flew before"
    assert not signature_path(output).exists() and not list(tmp_path.glob(".*"))


def test_an_old_one_is_not_shown_as_the_newest_without_notice(
    tmp_path: Path, bundles: list[Path], alice: SigningKey
) -> None:
    shelf, trusted = tmp_path / "shelf", tmp_path / "trusted"
    push(bundles[0], Folder(shelf), "arm", alice)
    old = (shelf / "arm" / "newest.signed").read_bytes()
    push(bundles[1], Folder(shelf), "arm", alice)
    pull(Folder(shelf), "arm", tmp_path / "policy.zip", trusted)
    (shelf / "arm" / "newest.signed").write_bytes(old)
    with pytest.raises(SignatureError, match=r"newest 'arm' there is 1 .* but 2 was pulled before.*--sequence 1"):
        pull(Folder(shelf), "arm", tmp_path / "policy.zip", trusted)
    assert pull(Folder(shelf), "arm", tmp_path / "policy.zip", trusted, 1).statement.sequence == 1
    with pytest.raises(SignatureError, match="2 was pulled before"):
        pull(Folder(shelf), "arm", tmp_path / "policy.zip", trusted)


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_two_who_push_at_once_do_not_replace_each_other(
    kind: str, tmp_path: Path, bundles: list[Path], alice: SigningKey
) -> None:
    with serving(Plain) as server:
        place: Place = Folder(tmp_path / "shelf") if kind == "folder" else Http(server.url)
        with pytest.raises(PlaceError, match="push again"):
            for content in (b"one", b"two"):
                place.put({"arm/00000001.zip": content}, {})
        assert read(place, "arm/00000001.zip") == b"one"
        assert push(bundles[0], place, "arm", alice).sequence == 2, "what the cut push has left is stepped over"


def read(place: Place, path: str) -> bytes:
    with place.open(path) as file:
        return file.read()


def test_a_folder_without_hard_links_takes_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as a memory stick does

    monkeypatch.setattr(os, "link", refuse)
    place = Folder(tmp_path)
    place.put({"a/b.txt": b"one"}, {})
    with pytest.raises(PlaceError, match="is there already"):
        place.put({"a/b.txt": b"two"}, {})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a/b.txt").read_bytes() == b"one"


def test_who_pushes_under_a_name_of_another_needs_the_others_key(
    tmp_path: Path, bundles: list[Path], alice: SigningKey, mallory: SigningKey
) -> None:
    place = Folder(tmp_path / "shelf")
    push(bundles[0], place, "arm", alice)
    with pytest.raises(SignatureError, match="not of anybody who is trusted in --key and --trusted"):
        push(bundles[1], place, "arm", mallory)
    assert push(bundles[1], place, "arm", mallory, read_trusted(tmp_path / "trusted")).sequence == 2


def test_what_is_no_bundle_or_no_name_is_not_pushed(tmp_path: Path, alice: SigningKey, bundles: list[Path]) -> None:
    (tmp_path / "x.zip").write_text("nothing")
    with pytest.raises(BundleError, match="zip archive"):
        push(tmp_path / "x.zip", Folder(tmp_path / "shelf"), "arm", alice)
    for name in ("../arm", "", "a/b", ".hidden"):
        with pytest.raises(SignatureError, match="is not possible"):
            push(bundles[0], Folder(tmp_path / "shelf"), name, alice)
    assert not (tmp_path / "shelf").exists()


def test_a_bundle_that_was_changed_after_the_pull_is_no_longer_signed(
    tmp_path: Path, bundles: list[Path], alice: SigningKey
) -> None:
    trusted, output = tmp_path / "trusted", tmp_path / "policy.zip"
    push(bundles[0], Folder(tmp_path / "shelf"), "arm", alice)
    pull(Folder(tmp_path / "shelf"), "arm", output, trusted)
    output.write_bytes(bundles[1].read_bytes())
    with pytest.raises(SignatureError, match="its signature is on other bytes"):
        require_signed(output, trusted)
    signature_path(output).unlink()
    with pytest.raises(SignatureError, match=r"policy\.zip\.signed: No such file"):
        require_signed(output, trusted)


def test_keys_are_made_trusted_and_revoked(tmp_path: Path, alice: SigningKey) -> None:
    keys, trusted = tmp_path / "keys", tmp_path / "trusted"
    secret = keys / "alice.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    public = (keys / "alice.public.json").read_text()
    assert alice.secret not in public and alice.public in public
    for call, text in [
        (lambda: create_key(keys, "alice"), "is there already"),
        (lambda: create_key(keys, "../a"), "signer '../a': use letters"),
        (lambda: load_key(keys / "bob.json"), "policy create-key"),
        (lambda: load_key(keys / "alice.public.json"), "not a key file of the expected kind"),
        (lambda: trust(trusted, secret), "not a key file of the expected kind"),
        (lambda: revoke(trusted, "bob"), "not trusted anyway; trusted: alice"),
        (lambda: trust(trusted, create_key(tmp_path / "other", "alice")), "trusted with another key"),
    ]:
        with pytest.raises(SignatureError, match=text):
            call()
    secret.chmod(0o644)
    with pytest.raises(SignatureError, match="others can read it"):
        load_key(secret)
    revoke(trusted, "alice")
    with pytest.raises(SignatureError, match="was revoked; delete"):
        trust(trusted, keys / "alice.public.json")
    (trusted / "bob.json").write_text("{}")
    with pytest.raises(SignatureError, match=r"bob\.json is not a key file"):
        read_trusted(trusted)


def test_from_the_command_line(
    tmp_path: Path, bundles: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["policy", "create-key", "alice"]) == 0
    assert main(["policy", "trust", "signing_keys/alice.public.json"]) == 0
    command = ["policy", "push", str(bundles[0]), "shelf", "--name", "arm", "--key", "signing_keys/alice.json"]
    assert main(command) == 0 and "arm 1: " in capsys.readouterr().out
    assert main(["policy", "list", "shelf"]) == 0
    assert re.search(r"^arm 1: .* for toy, .*signed by alice", capsys.readouterr().out)
    assert main(["policy", "pull", "shelf", "arm", "--output", "arm.zip"]) == 0
    assert Path("arm.zip").read_bytes() == bundles[0].read_bytes()
    assert main(["policy", "revoke", "alice"]) == 0
    assert main(["policy", "pull", "shelf", "arm", "--output", "arm.zip"]) == 2
    assert "robot-dreamer policy: shelf: arm/newest.signed: signed by 'alice'" in capsys.readouterr().err
    assert main(["policy", "list", "shelf"]) == 1 and "arm: refused" in capsys.readouterr().err
    assert main(["policy", "signers"]) == 0 and "revoked\talice\t" in capsys.readouterr().out


def test_nothing_is_parsed_before_the_signature_fits(
    tmp_path: Path, bundles: list[Path], alice: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever parser is called on bytes of a stranger ends this test."""
    shelf = tmp_path / "shelf"
    push(bundles[0], Folder(shelf), "arm", alice)
    trusted = read_trusted(tmp_path / "trusted")
    parsed: list[bytes] = []
    monkeypatch.setattr("robot_dreamer.policies.signature._parse", parsed.append)
    path = shelf / "arm" / "newest.signed"
    path.write_bytes(bytes(64) + path.read_bytes()[64:])
    with pytest.raises(SignatureError, match="not of anybody"):
        stated(Folder(shelf), "arm", trusted)
    assert not parsed


def test_an_index_of_nonsense_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"../up\n\xff\xfe\narm\n/etc/passwd\n")
    assert names(Folder(tmp_path)) == ["arm"]
