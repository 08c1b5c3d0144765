"""The verdict on a bundle, BUNDLE.gate.json beside it: whether it has passed the gate (docs/gate.md).

It holds for the bytes whose sha256 it names, and for no others. It is not signed: it keeps a person from a mistake, not
a thief from the robot.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from robot_dreamer.durable import replace_file, sha256_of
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.onboard.bundle import Bundle, BundleError, read_bundle
from robot_dreamer.onboard.manifest import PassingProblem
from robot_dreamer.spec import RobotSpec

FORMAT = 1
_BYTES = 1 << 20
_ADVICE = "robot-dreamer gate --bundle … --robot … writes it"


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the gate said.

    Attributes:
      bundle_sha256: hex, of the bundle's file.
      spec_hash: of the robot that it was tried on.
      criteria_sha256: hex, of the criteria as gate.json has them.
      failed: criteria that were not met, `condition: criterion`.
      created: UTC, ISO 8601.
    """

    format: int = FORMAT
    passed: bool
    bundle_sha256: str
    robot: str
    spec_hash: str
    criteria_sha256: str
    failed: tuple[str, ...]
    program: str
    created: str


def verdict_path(bundle: Path) -> Path:
    """Where a bundle's verdict is."""
    return bundle.with_name(f"{bundle.name}.gate.json")


def write_verdict(bundle: Path, verdict: Verdict) -> Path:
    """Write it beside the bundle, all or nothing; returns the file. Raises OSError."""
    path = verdict_path(bundle)
    replace_file(path, msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n")
    return path


def read_admitted(path: Path, spec: RobotSpec, gated: bool) -> Bundle:
    """`read_bundle`; gated: only of one that has passed. Raises BundleError."""
    if gated:
        require_passed(path)
    return read_bundle(path, spec)


def require_passed(bundle: Path) -> None:
    """Raise BundleError unless the bundle has a passed verdict of its own bytes."""
    path = verdict_path(bundle)
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES)
        found = sha256_of(bundle)
    except FileNotFoundError as error:
        raise BundleError(f"bundle {bundle}: require_gate: {error.filename} is missing; {_ADVICE}") from error
    except OSError as error:
        raise PassingProblem(f"bundle {bundle}: require_gate: {error.filename}: {error.strerror}") from error
    try:
        verdict = decode_json(content, Verdict)
    except msgspec.MsgspecError as error:
        raise BundleError(f"bundle {bundle}: require_gate: {path}: {error}; {_ADVICE}") from error
    if verdict.format != FORMAT:
        text = f"format: expected {FORMAT}, found {verdict.format}; update robot_dreamer on this side"
        raise BundleError(f"bundle {bundle}: require_gate: {path}: {text}")
    if verdict.bundle_sha256 != found:
        text = f"its verdict is on other bytes: expected sha256 {found}, found {verdict.bundle_sha256}"
        raise BundleError(f"bundle {bundle}: require_gate: {path}: {text}; {_ADVICE}")
    if not verdict.passed:
        failed = "; ".join(verdict.failed)
        raise BundleError(f"bundle {bundle}: require_gate: it did not pass the gate ({path}): {failed}")
