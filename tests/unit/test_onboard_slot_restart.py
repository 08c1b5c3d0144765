"""What has flown and what was sent back, over starts of the robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robot_dreamer.onboard import slot
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.logbook import Logbook
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.onboard.policy import OnnxPolicy, RandomPolicy
from robot_dreamer.onboard.proof import prove
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.onboard.verdict import read_admitted
from robot_dreamer.record import RANDOM_POLICY
from tests.onboard_models import make_bundle
from tests.slots import SPEC, Bench, pass_the_gate
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("proved_here")


class Starts(Bench):
    """A robot that is switched off and on again: the files stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begin()

    def begin(self) -> None:
        logbook = Logbook(self.folder / "bundles")
        kept = logbook.acting
        policy = RandomPolicy(SPEC, 0) if kept is None else OnnxPolicy(read_bundle(kept, SPEC))
        self.slot = PolicySlot(SPEC, policy, logbook=logbook)

    def again(self) -> None:
        self.slot.stop(timeout=60.0)  # a slow disk is not what is asked about
        for bundle in self.folder.glob("*.bundle"):
            bundle.unlink()  # as the inbox does, sooner or later
        self.begin()


@pytest.fixture
def starts(tmp_path: Path) -> Any:
    starts = Starts(tmp_path)
    yield starts
    starts.slot.stop()


def test_a_new_start_begins_with_the_bundle_that_acted(starts: Starts) -> None:
    assert starts.slot.current.version == RANDOM_POLICY
    assert starts.swap(1) and starts.swap(2)
    starts.again()
    assert starts.slot.current.version == 2
    assert not starts.swap(2) and not starts.swap(1)
    assert "expected above 2, which has flown, found 1" in starts.slot.last_refusal
    assert starts.swap(3)


def test_a_bundle_that_was_sent_back_stays_barred_in_a_new_start(starts: Starts) -> None:
    assert starts.swap(1, lineage="run") and starts.swap(2, lineage="run")
    assert starts.slot.rollback("NaN") is not None
    starts.again()
    assert (starts.slot.current.version, starts.slot.current.lineage) == (1, "run")
    assert not starts.swap(2, lineage="run")
    assert "version: expected above 2, which has flown, found 2" in starts.slot.last_refusal
    starts.again()  # and again, although nothing has flown in between
    assert starts.slot.current.version == 1 and not starts.swap(2, lineage="run")
    assert starts.swap(3, lineage="run") and starts.swap(1, lineage="another run")


def test_what_has_flown_is_on_disk_while_the_robot_acts(starts: Starts) -> None:
    """A power cut asks nobody to stop first."""

    def on_disk() -> tuple[dict[str, int], str]:
        flown = Logbook(starts.folder / "bundles").flown
        return flown.floors, flown.acting

    assert starts.swap(1)
    until(lambda: on_disk() == ({"": 1}, "1.bundle"))
    assert starts.swap(2)
    until(lambda: on_disk() == ({"": 2}, "2.bundle"))
    assert starts.slot.rollback("NaN") is not None
    until(lambda: on_disk() == ({"": 2}, "1.bundle"))


def test_what_is_sent_back_while_the_disk_is_slow_is_written_down_before_the_end(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, write = [], Logbook.write

    def slow(self: Logbook, floors: dict[str, int], acting: str, others: tuple[str, ...]) -> None:
        if acting == "2.bundle":
            writing.append(acting)
            until(lambda: starts.slot._stopping)
        write(self, floors, acting, others)

    monkeypatch.setattr(Logbook, "write", slow)
    assert starts.swap(1) and starts.swap(2)
    until(lambda: bool(writing))
    assert starts.slot.rollback("NaN") is not None
    starts.slot.stop()
    assert Logbook(starts.folder / "bundles").flown.acting == "1.bundle"


def test_bundles_that_will_not_act_again_do_not_fill_the_disk(starts: Starts) -> None:
    for version in range(1, 6):
        assert starts.swap(version)
    kept = starts.folder / "bundles" / "flown"
    until(lambda: sorted(p.name for p in kept.iterdir()) == ["4.bundle", "5.bundle"])  # what acts, and the way back


def test_a_bundle_keeps_its_verdict_as_long_as_it_is_kept(starts: Starts) -> None:
    """A start that asks for verdicts would refuse it otherwise; and sent again it is no newer than what has flown."""
    pass_the_gate(make_bundle(starts.folder / "1.bundle", SPEC, 1))
    assert starts.swap(1)
    starts.again()
    kept = Logbook(starts.folder / "bundles").acting
    assert kept is not None and read_admitted(kept, SPEC, gated=True).manifest.version == 1
    assert starts.swap(2) and starts.swap(3)
    until(lambda: sorted(p.name for p in kept.parent.iterdir()) == ["2.bundle", "3.bundle"])


def test_a_bundle_that_the_next_ones_push_out_while_it_is_proved_acts(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, *arguments: Any) -> OnnxPolicy:
        for bundle in starts.folder.glob("*.bundle"):
            bundle.unlink()  # as the inbox does with all but three
        read_bundle(path, SPEC)  # as the process of the proof does
        return prove(path, *arguments)

    monkeypatch.setattr(slot, "prove", slowly)
    assert starts.swap(1), starts.slot.last_refusal


def test_a_file_system_without_hard_links_will_do(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr("robot_dreamer.onboard.logbook.os.link", refuse)
    assert starts.swap(1)
    starts.again()
    assert starts.slot.current.version == 1


def test_a_broken_record_of_what_has_flown_is_not_taken_for_an_empty_one(starts: Starts) -> None:
    assert starts.swap(1)
    starts.slot.stop()
    file = starts.folder / "bundles" / "flown.json"
    file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(BundleError, match=r"flown\.json cannot be read: .*delete it to let all of them fly again"):
        Logbook(file.parent)


def test_a_disk_that_is_full_is_said_and_the_robot_acts_on(
    starts: Starts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Logbook, "write", full)
    assert starts.swap(1)
    until(lambda: "which bundles have flown cannot be written down" in caplog.text)
    assert "No space left on device" in caplog.text
    assert starts.swap(2)
