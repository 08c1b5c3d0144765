"""Rerun recordings: what the viewer gets of a store is what is in it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.spec import load_spec
from tests.unit.test_data_bags import SPEC, fill


def test_every_number_is_on_its_entity_in_order(tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="needs the extra rerun")
    rows = fill(tmp_path / "a.sqlite", rows=120)
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.rrd")]) == 0
    found: dict[str, list[float]] = {}
    for part in chunk.RrdReader(str(tmp_path / "x.rrd")).stream():
        batch = part.to_record_batch()
        key = next((name for name in batch.schema.names if name.endswith("Scalars:scalars")), None)
        if key is not None:
            numbers = [value for cell in batch.column(key).to_pylist() for value in cell]
            found.setdefault(part.entity_path, []).extend(numbers)
            assert {"row", "capture"} <= set(part.timeline_names)
    assert found["/r1/reward"] == pytest.approx([row.reward for row in rows])
    for o in SPEC.observations:
        for i, component in enumerate(o.components):
            values = found["/" + "/".join(("r1", "observation", o.name, component)).replace(" ", "\\ ")]
            assert values == pytest.approx([float(row.observation[o.name][i]) for row in rows])
    (action,) = SPEC.actions
    expected = [float(np.ravel(action.to_command(row.action[action.name]))[0]) for row in rows if not row.is_last]
    assert found["/r1/action/force/slider"] == pytest.approx(expected)


def test_pictures_are_pictures(tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="needs the extra rerun")
    camera = load_spec("cartpole_camera")
    small = msgspec.structs.replace(camera, observations=camera.observations[:1])
    fill(tmp_path / "a.sqlite", small, rows=5)
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.rrd")]) == 0
    parts = list(chunk.RrdReader(str(tmp_path / "x.rrd")).stream())
    name = f"/r1/observation/{small.observations[0].name}"
    assert sum(part.num_rows for part in parts if part.entity_path == name) >= 10
    before = (tmp_path / "x.rrd").read_bytes()
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.rrd")]) == 2
    assert (tmp_path / "x.rrd").read_bytes() == before
    assert not list(tmp_path.glob(".*partial"))


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "a.sqlite", rows=5)
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.delitem(sys.modules, "robot_dreamer.data.rerun_export", raising=False)
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.rrd")]) == 2
    assert "pip install 'robot_dreamer[rerun]'" in capsys.readouterr().err
    assert not (tmp_path / "x.rrd").exists()
