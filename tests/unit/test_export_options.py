"""What the exporter says to wrong options, before it computes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.onnx import main as export


@pytest.mark.parametrize(
    ("option", "found"),
    [("--seed", "-1"), ("--version", "-1"), ("--tolerance", "-1"), ("--tolerance", "nan"), ("--steps", "0")],
)
def test_an_export_names_the_option(option: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        export(["--checkpoint", "run", "--output", "bundle.zip", f"{option}={found}"])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"argument {option}: expected a " in error and f"found '{found}'" in error


def test_an_export_into_no_folder_names_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        export(["--checkpoint", "run", "--output", "/nonexistent/bundle.zip"])
    assert ended.value.code == 2
    assert (
        "--output: expected a file in a folder that exists, found '/nonexistent/bundle.zip'" in capsys.readouterr().err
    )


def test_a_home_behind_an_equals_sign_is_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export(["--checkpoint=~/run", "--output=~/bundle.zip"]) == 2
    assert str(tmp_path / "run") in capsys.readouterr().err
