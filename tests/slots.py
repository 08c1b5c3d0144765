"""A slot with bundles to offer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_dreamer.durable import sha256_of
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.onboard.verdict import Verdict, write_verdict
from tests.onboard_models import make_bundle, toy_spec
from tests.waiting import until

SPEC = toy_spec(episode="{max_steps: 1000}")


def pass_the_gate(bundle: Path) -> None:
    """Write its verdict beside it."""
    facts = {"robot": SPEC.name, "spec_hash": SPEC.hash, "criteria_sha256": "", "program": "", "created": ""}
    write_verdict(bundle, Verdict(passed=True, bundle_sha256=sha256_of(bundle), failed=(), **facts))


class Bench:
    def __init__(self, folder: Path, slot: PolicySlot) -> None:
        self.folder, self.slot = folder, slot

    def offer(self, version: int, **model: Any) -> None:
        self.slot.offer(make_bundle(self.folder / f"{version}.bundle", SPEC, version, **model))

    def swap(self, version: int, **model: Any) -> bool:
        """Offer, wait, exchange; True if it took over. Returns whether it was fresh through `fresh`."""
        seen = self.slot.swaps, self.slot.refused  # before the offer: a refusal can be quick
        self.offer(version, **model)

        def done() -> bool:
            self.fresh = self.slot.exchange().fresh
            return (self.slot.swaps, self.slot.refused) != seen

        until(done)
        return self.slot.swaps > seen[0]


class Proved:
    """In place of a proof's process: it has ended, and found nothing wrong."""

    returncode = 0

    def __init__(self, command: list[str], **options: Any) -> None:
        pass

    def communicate(self, said: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote."""
        return "", ""

    def kill(self) -> None:
        """There is nothing to kill."""
