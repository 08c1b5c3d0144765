"""What `policy list` says: of a place where there is nothing, or no place, and of a bundle with a long name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from robot_dreamer.cli import main
from robot_dreamer.policies.places import Folder, Http, NoPlace
from robot_dreamer.policies.shelf import names, push
from robot_dreamer.policies.signers import create_key, load_key
from tests.onboard_models import make_bundle, toy_spec
from tests.policy_servers import HubLike, Plain, serving


def test_an_empty_place_has_no_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names(Folder(tmp_path)) == []
    with serving(Plain) as server:
        assert names(Http(server.url + "/policies")) == []
    (tmp_path / "trusted").mkdir()
    assert main(["policy", "list", str(tmp_path), "--trusted", str(tmp_path / "trusted")]) == 0
    shown = capsys.readouterr()
    assert not shown.out and f"{tmp_path}: no policies there" in shown.err


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trusted").mkdir()
    assert main(["policy", "list", str(tmp_path / "shlef"), "--trusted", str(tmp_path / "trusted")]) == 2
    assert f"{tmp_path / 'shlef'}: there is no such folder" in capsys.readouterr().err


def test_a_repository_that_may_not_be_seen_is_named() -> None:
    pytest.importorskip("huggingface_hub")
    from robot_dreamer.policies.hub import Hub

    with serving(HubLike) as server, pytest.raises(NoPlace, match=r"not yours to see \(HF_TOKEN\)"):
        names(Hub("nobody/policies", server.url))


def test_a_bundle_of_a_run_with_many_settings_is_pushed_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "cpu_small " + " ".join(f"loss_scales.replay_value=0.{i}" for i in range(8))
    bundle = make_bundle(tmp_path / "policy.zip", toy_spec(), algorithm=name)
    trusted = str(tmp_path / "trusted")
    assert main(["policy", "trust", str(create_key(tmp_path, "alice")), "--trusted", trusted]) == 0
    push(bundle, Folder(tmp_path / "shelf"), "arm", load_key(tmp_path / "alice.json"))
    assert main(["policy", "list", str(tmp_path / "shelf"), "--trusted", trusted]) == 0
    assert f"arm 1: {name[:125]}... for toy, " in capsys.readouterr().out
