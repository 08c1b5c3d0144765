"""Bags from elsewhere: whatever their bytes, an import gives rows, or one reason that names the file."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("rosbags")
from robot_dreamer.cli import main
from tests.recorded_bags import OTHERS, SPEC, lived, load, sent, spec_file, write


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """A bag of each storage, with the file of its spec."""
    folder = tmp_path_factory.mktemp("bags")
    made = []
    for spec, name in ((SPEC, "a.mcap"), (OTHERS, "b.mcap"), (SPEC, "c")):
        path = write(folder / name, sent(spec, lived(spec, 30)))
        (folder / f"specs_{name}").mkdir()
        made.append((path, spec_file(folder / f"specs_{name}", spec)))
    return made


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(i, marks=pytest.mark.soak) for i in range(20, 2000))])
def test_any_bytes_give_rows_or_a_reason(
    bags: list[tuple[Path, str]], seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    bag, spec = chance.choice(bags)
    copy = tmp_path / bag.name
    shutil.copytree(bag, copy) if bag.is_dir() else shutil.copy(bag, copy)
    victim = chance.choice([path for path in copy.rglob("*") if path.is_file()]) if copy.is_dir() else copy
    content = bytearray(victim.read_bytes())
    for _ in range(chance.randint(1, 10)):
        at = chance.randrange(len(content))
        kind = chance.randrange(4)
        if kind == 0:
            content[at] = chance.randrange(256)
        elif kind == 1:
            content[at : at + 8] = bytes(chance.choice([0, 255, 127]) for _ in range(8))  # lengths
        elif kind == 2:
            del content[at : at + chance.randint(1, 200)]
        else:
            content[at:at] = chance.randbytes(chance.randint(1, 50))
    victim.write_bytes(bytes(content))
    status = main(["data", "import", str(copy), "--spec", spec, "--store", str(tmp_path / "store.sqlite")])
    errors = capsys.readouterr().err
    assert status in (0, 1, 2) and "Traceback" not in errors
    assert status != 2 or bag.name in errors


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    status, rows = load(write(tmp_path / "x.mcap", sent(SPEC, lived(SPEC, 30))), SPEC)
    assert status == 0 and len(rows) > 20
