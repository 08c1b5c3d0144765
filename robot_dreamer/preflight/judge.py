"""All findings that follow from what a robot has said."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding
from robot_dreamer.preflight.imus import imu_findings
from robot_dreamer.preflight.motion import motion_findings
from robot_dreamer.preflight.readings import reading_findings
from robot_dreamer.preflight.streams import stream_findings


def findings_of(evidence: Evidence, seconds: float, told: Collection[str] = ()) -> Iterator[Finding]:
    """Seconds: for how long it was listened to; told: topics whose silence has been explained already."""
    yield from stream_findings(evidence, seconds, told)
    yield from reading_findings(evidence)
    yield from motion_findings(evidence)
    yield from imu_findings(evidence)
