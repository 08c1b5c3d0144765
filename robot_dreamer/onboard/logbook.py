"""What has flown on this robot, on disk, so that it outlives the process.

`flown.json` holds the newest version that has flown of each lineage: nothing up to it comes back. It names the bundle
that acts, with which the next start begins; `flown/` holds that one and the one before it, whatever else is deleted.
A bundle that was sent back is therefore neither begun with nor taken again.

It waits for the disk: never for the control loop.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from robot_dreamer.durable import replace_file, sync
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.onboard.verdict import verdict_path

FLOWN_FILE = "flown.json"


class Flown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of flown.json. `acting` is a file in flown/, empty if what acts is not kept there."""

    floors: dict[str, int] = {}
    acting: str = ""


class Logbook:
    """One thread at a time.

    Args:
      directory: of flown.json and flown/; made if absent.

    Raises:
      OSError: the disk refuses.
      BundleError: flown.json is there and cannot be read. Without it a bundle that failed could act again.
    """

    def __init__(self, directory: Path) -> None:
        self._file, self._kept = directory / FLOWN_FILE, directory / "flown"
        self._kept.mkdir(parents=True, exist_ok=True)
        self.flown = Flown()
        if self._file.exists():
            try:
                self.flown = decode_json(self._file.read_bytes(), Flown)
            except (msgspec.MsgspecError, OSError) as error:
                advice = "it says which bundles have failed on this robot; delete it to let all of them fly again"
                raise BundleError(f"{self._file} cannot be read: {error}; {advice}") from error

    @property
    def acting(self) -> Path | None:
        """The bundle that acted last and was not sent back, if it is kept and nobody has deleted it."""
        path = self._kept / self.flown.acting
        return path if path.is_file() else None

    def keep(self, bundle: Path) -> Path:
        """Hold on to a bundle that may come to act, with its verdict if it has one (verdict.py); where. Its name must
        tell its content, as a received one's does.

        Raises OSError if the disk refuses.
        """
        own, verdict = self._kept / bundle.name, verdict_path(bundle)
        if verdict.is_file():  # a start that asks for verdicts asks for this one's too
            replace_file(verdict_path(own), verdict.read_bytes())
        if own.exists():
            return own
        temporary = own.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        try:
            os.link(bundle, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(bundle, temporary)
        sync(temporary)
        temporary.replace(own)
        sync(self._kept)
        return own

    def lower(self, lineage: str, floor: int) -> None:
        """Let versions of a lineage above `floor` fly again, which a person has decided.

        Raises ValueError for a lineage that has not flown, or a floor that is not below its own; OSError if the disk
        refuses.
        """
        floors = self.flown.floors
        if lineage not in floors:
            raise ValueError(f"lineage {lineage!r} has not flown here; these have: {', '.join(map(repr, floors))}")
        if floor >= floors[lineage]:
            raise ValueError(f"floor: expected below {floors[lineage]}, which has flown, found {floor}")
        lowered = {**floors, lineage: floor} if floor >= 0 else {k: v for k, v in floors.items() if k != lineage}
        self.write(lowered, self.flown.acting, [bundle.name for bundle in self._kept.iterdir()])

    def write(self, floors: Mapping[str, int], acting: str, others: Collection[str]) -> None:
        """Make it durable.

        Args:
          floors: newest version that has flown, by lineage.
          acting: file name of the bundle that acts; empty, or of one that was not kept: none.
          others: file names that shall be kept too; all else but their verdicts goes.

        Raises:
          OSError: the disk refuses.
        """
        flown = Flown(dict(floors), acting if (self._kept / acting).is_file() else "")
        if flown != self.flown:
            replace_file(self._file, msgspec.json.format(msgspec.json.encode(flown), indent=2))
            self.flown = flown
        kept = {acting, *others}
        kept |= {verdict_path(self._kept / name).name for name in kept}
        for file in self._kept.iterdir():
            if file.name not in kept:
                file.unlink()
