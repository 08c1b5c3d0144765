"""A device that is not there is named with what is."""

from __future__ import annotations

import pytest
import torch

from robot_dreamer.commands.team import joined_team
from robot_dreamer.config import load_config
from robot_dreamer.learner.device import resolve_device


def with_devices(monkeypatch: pytest.MonkeyPatch, count: int, built: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)


@pytest.mark.parametrize(
    ("name", "count", "built", "words"),
    [
        ("cuda:2", 2, True, "device: 'cuda:2' is configured, but torch finds cuda:0 and cuda:1; use one that is there"),
        ("cuda:1", 1, True, "torch finds cuda:0; use one that is there, device=auto or device=cpu"),
        ("cuda", 0, True, "torch finds no CUDA device; use one"),
        ("cuda", 0, False, "torch finds no CUDA device, for this build of it is without CUDA; use one"),
        ("mps", 0, True, "device: expected auto, cpu, cuda or cuda:N, found 'mps'"),
        ("cuda:", 2, True, "expected auto, cpu, cuda or cuda:N, found 'cuda:'"),
        ("cuda:01", 2, True, "expected auto, cpu, cuda or cuda:N, found 'cuda:01'"),
    ],
)
def test_a_device_that_is_not_there_is_named_with_what_is(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, built: bool, words: str
) -> None:
    with_devices(monkeypatch, count, built)
    with pytest.raises(ValueError, match=words):
        resolve_device(name)


def test_what_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(monkeypatch, 2)
    given = ("cpu", "cuda:1", "cuda", "auto")
    assert [str(resolve_device(name)) for name in given] == ["cpu", "cuda:1", "cuda", "cuda"]
    with_devices(monkeypatch, 0)
    assert resolve_device("auto").type == "cpu"


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    words = "a process has a GPU to itself: .* torch finds cuda:0 and cuda:1; .*, or fewer --nproc-per-node"
    with pytest.raises(ValueError, match=words), joined_team(load_config("nano")):
        pass
