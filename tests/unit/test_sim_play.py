"""`robot-dreamer sim`: what it does and says, without a screen."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from robot_dreamer.cli import main
from robot_dreamer.spec import load_spec
from tests.onboard_models import make_bundle
from tests.own_models import place

pytest.importorskip("dm_control")
pytest.importorskip("gymnasium")
from sim.physics import import_dm_control


def returns(output: str) -> list[tuple[str, str, str]]:
    """Seed, return and actions of each episode."""
    return re.findall(r"^seed (\d+): return (\S+), (\d+) actions", output, re.M)


def test_a_look_at_a_model_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place("arm", tmp_path)
    assert main(["sim", "--robot", str(file), "--random", "--episodes", "2", "--seed", "4"]) == 0
    two = capsys.readouterr().out
    assert [(seed, length) for seed, _, length in returns(two)] == [("4", "100"), ("5", "100")]
    assert re.search(r"^real-time factor \S+: 4 s simulated in \S+ s$", two, re.M)
    assert main(["sim", "--robot", str(file), "--random", "--episodes", "9", "--seed", "5", "--seconds", "2.5"]) == 0
    cut = returns(capsys.readouterr().out)
    assert cut[0] == returns(two)[1] and [length for *_, length in cut] == ["100", "25"]
    assert main(["sim", "--robot", str(file)]) == 0  # still
    assert returns(capsys.readouterr().out)[0][1] not in {value for _, value, _ in returns(two)}
    bundle = make_bundle(tmp_path / "toy.bundle", load_spec(file))
    assert main(["sim", "--robot", str(file), "--bundle", str(bundle)]) == 0
    assert len(returns(capsys.readouterr().out)) == 1


def test_a_film_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra film")
    video = tmp_path / "out.mp4"
    status = main(["sim", "--robot", str(place("arm", tmp_path)), "--seconds", "0.1", "--video", str(video)])
    shown = capsys.readouterr()
    if "cannot take a picture" in shown.err:
        pytest.skip(shown.err)  # a machine without OpenGL
    assert status == 0 and f"written: {video}" in shown.out and video.stat().st_size > 1000


def test_a_machine_that_cannot_draw_says_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra film")

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no OpenGL here")

    monkeypatch.setattr(import_dm_control("mujoco").Physics, "render", broken)
    assert main(["sim", "--robot", "cartpole", "--seconds", "0.1", "--video", str(tmp_path / "out.mp4")]) == 2
    said = capsys.readouterr().err
    assert (
        "cannot take a picture of the simulation: no OpenGL here (MUJOCO_GL is " in said and "set MUJOCO_GL=egl" in said
    )


def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["sim", "--view"]) == 2
    assert "--view: there is no screen (DISPLAY is not set); --video" in capsys.readouterr().err
    assert main(["sim", "--random", "--bundle", "x.zip"]) == 2
    assert "random: expected false beside bundle" in capsys.readouterr().err


def test_the_viewer_shows_each_tick_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a window that is not there: what the viewer is given, and what its closing does."""
    seen: list[float] = []

    class Window:
        def __init__(self, model: Any, data: Any) -> None:
            self._data = data

        def is_running(self) -> bool:
            return len(seen) < 3

        def sync(self) -> None:
            seen.append(self._data.time)

        def close(self) -> None:
            seen.append(-1.0)

    monkeypatch.setenv("DISPLAY", ":1")
    monkeypatch.setitem(sys.modules, "mujoco.viewer", types.SimpleNamespace(launch_passive=Window))
    assert main(["sim", "--robot", "cartpole", "--random", "--view"]) == 0
    assert seen == pytest.approx([0.0, 0.04, 0.08, -1.0])
    assert "real-time factor" in capsys.readouterr().out
