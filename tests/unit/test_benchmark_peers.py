"""The benchmark beside other people's codes: their modules by folder, and what happens where a code is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peer_code import Checkout
from benchmarks.peers import CODES, GENERATIONS, main, sides

SMALL = ["device=cpu", "model.deter=8", "model.hidden=8", "model.units=8", "batch_size=2", "batch_length=4"]


def code(folder: Path, files: dict[str, str]) -> Checkout:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return Checkout("someone/code", "abc", folder)


def test_two_codes_have_modules_of_one_name(tmp_path: Path) -> None:
    first = code(tmp_path / "first", {"models.py": "import utils\nvalue = utils.value\n", "utils.py": "value = 1\n"})
    second = code(tmp_path / "second", {"models.py": "import utils\nvalue = utils.value\n", "utils.py": "value = 2\n"})
    found = [checkout.modules("models")[0].value for checkout in (first, second, first)]
    assert found == [1, 2, 1]


def test_code_that_does_not_run_is_an_import_error_that_names_it(tmp_path: Path) -> None:
    broken = code(tmp_path / "broken", {"models.py": "import numpy\nnumpy.no_such_name\n"})
    with pytest.raises(ImportError, match=r"someone/code in .*broken: AttributeError: .*no_such_name"):
        broken.modules("models")
    with pytest.raises(ImportError, match="someone/code"):
        broken._replace(folder=tmp_path / "nowhere").modules("models")


def test_a_peer_that_is_not_there_is_named_and_ours_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = CODES | {"planet": code(tmp_path / "empty", {})}
    updates = sides(GENERATIONS["planet"], "planet:cpu", SMALL, ["eager"], codes)
    assert list(updates) == ["eager"]
    text = capsys.readouterr().out
    assert "planet: left out: someone/code in" in text and "No module named 'models'" in text


def test_no_folder_for_a_code_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--code", "planets=/x"])
    assert "expected NAME=PATH with a name of planet, dreamer_v1" in capsys.readouterr().err
