"""What a check has found, and the verdict that follows from it."""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WIDTH = 118


class Weight(enum.Enum):
    """What a finding means for the verdict."""

    STOP = "NO-GO"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know.

    Attributes:
      where: the part of the robot, such as "topic /joint_states" or "observation arm".
      found: what is wrong, with expected and found.
      advice: what to do about it; empty of a note.
    """

    weight: Weight
    where: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        text = f"{self.weight.value:8} {self.where}: {self.found}"
        lines = textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 9, break_on_hyphens=False)
        if self.advice:
            lines += textwrap.wrap(self.advice, _WIDTH, initial_indent=" " * 9 + "-> ", subsequent_indent=" " * 12)
        return "\n".join(lines)


def stop(where: str, found: str, advice: str) -> Finding:
    """What must be mended before the robot acts."""
    return Finding(Weight.STOP, where, found, advice)


def warning(where: str, found: str, advice: str) -> Finding:
    """What may be meant so, and probably is not."""
    return Finding(Weight.WARNING, where, found, advice)


def note(where: str, found: str) -> Finding:
    """What was looked at and is well, or could not be looked at."""
    return Finding(Weight.NOTE, where, found)


def table(findings: Iterable[Finding], grounds: str) -> str:
    """All findings, the gravest first, and the verdict; grounds: what it rests on."""
    ordered = sorted(findings, key=lambda finding: list(Weight).index(finding.weight))
    return "\n".join([*map(str, ordered), verdict(ordered, grounds)])


def is_go(findings: Sequence[Finding]) -> bool:
    """Whether nothing stops the robot."""
    return all(finding.weight is not Weight.STOP for finding in findings)


def verdict(findings: Sequence[Finding], grounds: str) -> str:
    """One line."""
    stops = sum(finding.weight is Weight.STOP for finding in findings)
    warnings = sum(finding.weight is Weight.WARNING for finding in findings)
    told = f"{stops} to mend, {warnings} to look at" if stops else f"{warnings} to look at"
    return f"{'GO' if not stops else 'NO-GO'} ({told}) {grounds}"
