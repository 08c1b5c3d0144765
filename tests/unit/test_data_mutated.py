"""Bags from elsewhere: whatever their bytes, an import gives rows, or one reason that names the file."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

pytest.importorskip("rosbags")
from robot_dreamer.cli import main
from robot_dreamer.data.bags import DataError, _explained
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


def mutated(bags: list[tuple[Path, str]], seed: int, folder: Path) -> tuple[Path, str]:
    """A copy of one of the bags in which some bytes are others, and the file of its spec."""
    chance = random.Random(seed)
    bag, spec = chance.choice(bags)
    copy = folder / bag.name
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
    return copy, spec


def load_mutated(bags: list[tuple[Path, str]], seed: int, folder: Path) -> tuple[int, str]:
    """Status of the import of a mutated bag, and the name of the file."""
    copy, spec = mutated(bags, seed, folder)
    store = str(folder / "store.sqlite")
    return main(["data", "import", str(copy), "--spec", spec, "--store", store]), copy.name


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(i, marks=pytest.mark.soak) for i in range(20, 2000))])
def test_any_bytes_give_rows_or_a_reason(
    bags: list[tuple[Path, str]], seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, name = load_mutated(bags, seed, tmp_path)
    errors = capsys.readouterr().err
    assert status in (0, 1, 2) and "Traceback" not in errors
    assert status != 2 or name in errors


def most_held() -> int:
    """KiB at most so far. Of this program alone: getrusage counts what the process held before it became this one."""
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM:")]
    return int(line.split()[1])


def most_memory(bags: list[tuple[Path, str]], count: int, folder: Path, say: Connection) -> None:
    """Import mutated bags one after the other; says seed and KiB whenever this process has held more than before."""
    most = 0
    for seed in range(count):
        place = folder / str(seed)
        place.mkdir()
        load_mutated(bags, seed, place)
        shutil.rmtree(place)
        held = most_held()
        if held > most:
            most = held
            say.send((seed, held))
    say.close()


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_lengths_in_a_file_are_not_believed(bags: list[tuple[Path, str]], count: int, tmp_path: Path) -> None:
    """Whatever they claim, an import stays below 1 GB. In a process of its own, which held nothing before."""
    spawn = multiprocessing.get_context("spawn")
    hear, say = spawn.Pipe(duplex=False)
    child = spawn.Process(target=most_memory, args=(bags, count, tmp_path, say))
    child.start()
    say.close()
    said: list[tuple[int, int]] = []
    with contextlib.suppress(EOFError):
        while True:
            said.append(hear.recv())
    child.join()
    assert child.exitcode == 0
    seed, most = said[-1]
    print(f"{most >> 10} MiB, first held for seed {seed}")
    assert most < 1 << 20, f"seed {seed}: {most >> 10} MiB"


def test_a_length_that_no_memory_holds_is_told_in_words() -> None:
    with (
        pytest.raises(DataError, match=r"^x\.mcap cannot be read as a bag: it claims a length"),
        _explained(Path("x.mcap")),
    ):
        raise MemoryError


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    status, rows = load(write(tmp_path / "x.mcap", sent(SPEC, lived(SPEC, 30))), SPEC)
    assert status == 0 and len(rows) > 20
