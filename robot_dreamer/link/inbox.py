"""Bundles on board: fetched in pieces, resumed after any break, verified whole, then renamed into place.

`bundles/current.json` names the newest whole bundle; `<sha256>.part` is one on its way. A version counts within one
experience store of the learner: within it an older one is refused, and a new store (a new run) starts afresh.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import msgspec

from robot_dreamer.bounds import Count
from robot_dreamer.durable import replace_file, sha256_of, sync
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.messages import Announcement, Fetch, Hash, Id, Piece
from robot_dreamer.link.timing import LinkLimits, Timing

KEEP = 3  # whole bundles kept on disk, the current one included
_PATIENCE = 16  # the most, in units of Timing.piece


class CurrentBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of current.json."""

    store: Id
    version: Count
    training_step: Count
    sha256: Hash
    size: Count

    @property
    def file(self) -> str:
        return f"bundle-{self.version:08d}-{self.sha256[:12]}.zip"


class Inbox:
    """Owned by the uplink's thread, after `__init__` (which may hash a large file).

    Attributes:
      directory: where all of it lies.
      current: newest whole bundle, or None.
      problems: refused announcements and broken downloads by kind.
      last_error: newest of them in words.
    """

    def __init__(self, directory: Path, timing: Timing, limits: LinkLimits) -> None:
        self.directory, self._timing, self._limits = directory, timing, limits
        directory.mkdir(parents=True, exist_ok=True)
        self.problems: Counter[str] = Counter()
        self.last_error = ""
        self.fetched_pieces = 0
        self._wanted: CurrentBundle | None = None
        self._wanted_published = 0.0  # monotonic
        self._received = 0  # bytes in the part file
        self._asked: dict[int, float] = {}  # offset -> when; -inf: for the second time
        self._progress = 0.0  # when a piece came, or one was asked for while none was on its way
        self._quick, self._patience = timing.piece / 8, timing.piece
        self._early: dict[int, bytes] = {}  # pieces that arrived before their turn
        self._refused: dict[CurrentBundle, float] = {}  # until when, in this session; announcements repeat
        self._not_before = 0.0
        self._published: float | None = None  # monotonic time at which the current bundle was published
        self.current = self._load()

    def age(self) -> float | None:
        """Seconds since the current bundle was published; None if no learner has told since this process began."""
        return None if self._published is None or self.current is None else time.monotonic() - self._published

    def offer(self, offered: Announcement, store: str, now: float) -> None:
        """The learner announces a bundle (again and again: it comes with every heartbeat)."""
        wanted = CurrentBundle(store, offered.version, offered.training_step, offered.sha256, offered.size)
        current = self.current
        if current == wanted:
            self._published = now - offered.age
            self.last_error = ""
            return
        if self._wanted == wanted or now < self._refused.get(wanted, -math.inf):
            return
        if self._wanted is not None and self._wanted.store == store and self._received > 0:
            return  # first things first, or a slow link would never see the end of any; it is announced again
        if current is not None and current.store == store and wanted.version <= current.version:
            text = f"bundle version {wanted.version} refused: version {current.version} is on board"
            self._refuse(wanted, "bundle_older", text)
        elif wanted.size > self._limits.bundle_bytes:
            text = f"bundle of {wanted.size} bytes refused: the limit is {self._limits.bundle_bytes}"
            self._refuse(wanted, "bundle_too_large", text)
        else:
            self._wanted_published = now - offered.age
            self._begin(wanted, now)

    def requests(self, now: float) -> list[Fetch]:
        """Pieces to ask for now."""
        wanted = self._wanted
        if wanted is None or now < self._not_before:
            return []
        again = bool(self._asked) and now - self._progress > self._patience
        if again:  # more patiently each time: what is merely slow would be filled with pieces sent again
            self._patience = min(2.0 * self._patience, _PATIENCE * self._timing.piece)
        if again or not self._asked:
            self._progress = now
        step = self._limits.piece_bytes
        fetches = []
        for index in range(self._limits.piece_window):
            offset = self._received + index * step
            if offset < wanted.size and offset not in self._early and (again or offset not in self._asked):
                self._asked[offset] = -math.inf if offset in self._asked else now
                fetches.append(Fetch(wanted.sha256, offset, min(step, wanted.size - offset)))
        return fetches

    def receive(self, piece: Piece, now: float) -> None:
        """Take a piece; the last one completes the bundle. Raises OSError if the disk refuses."""
        wanted = self._wanted
        if wanted is None or piece.sha256 != wanted.sha256:
            return  # late
        self._progress = now
        if piece.offset not in self._asked:
            return  # repeated
        if now - self._asked.pop(piece.offset) < self._quick:
            self._patience = self._timing.piece
        expected = min(self._limits.piece_bytes, wanted.size - piece.offset)
        if len(piece.data) != expected:
            self.problems["bundle_piece"] += 1
            return
        self._early[piece.offset] = piece.data
        with self._part(wanted).open("ab") as file:
            while self._received in self._early:
                data = self._early.pop(self._received)
                file.write(data)
                self._received += len(data)
                self.fetched_pieces += 1
        if self._received >= wanted.size:
            self._finish(wanted, now)

    def gone(self, sha256: str, now: float) -> None:
        """The learner has dropped the bundle that was being fetched: wait for the next announcement."""
        if self._wanted is not None and self._wanted.sha256 == sha256:
            self._part(self._wanted).unlink(missing_ok=True)
            self._wanted = None
            self.problems["bundle_gone"] += 1
            self._not_before = now + self._timing.heartbeat  # if it is the announced one that cannot be read

    def disk_failed(self, error: OSError, now: float) -> None:
        """The disk refused a piece: begin again from what is there, later."""
        self.problems["bundle_disk"] += 1
        self.last_error = f"bundle: {error}"
        if self._wanted is not None:
            self._begin(self._wanted, now)
        self._not_before = now + self._timing.disk_retry

    def new_session(self) -> None:
        """Requests of the last connection will not be answered; refusals may have been lifted."""
        self._asked.clear()
        self._refused.clear()

    def _begin(self, wanted: CurrentBundle, now: float) -> None:
        for part in self.directory.glob("*.part"):
            if part != self._part(wanted):
                part.unlink()
        part = self._part(wanted)
        self._received = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(self.directory).free
        if self._received > wanted.size:
            part.unlink()
            self._received = 0
        if wanted.size - self._received > free:
            text = f"bundle of {wanted.size} bytes refused: {free} bytes are free in {self.directory}"
            self._refuse(wanted, "bundle_disk", text, now + self._timing.disk_retry)
            return
        # A partial piece is fetched again whole, so that offsets stay multiples of the piece size; so is the last one,
        # which completes the bundle by its arrival: the node may have been killed right before it was renamed.
        piece = self._limits.piece_bytes
        self._received = max(0, min(self._received, wanted.size - 1)) // piece * piece
        part.touch()
        os.truncate(part, self._received)
        self._wanted, self._asked, self._early = wanted, {}, {}

    def _finish(self, wanted: CurrentBundle, now: float) -> None:
        part = self._part(wanted)
        self._wanted = None
        if sha256_of(part) != wanted.sha256:
            part.unlink()
            self.problems["bundle_corrupt"] += 1
            self.last_error = f"bundle version {wanted.version} is corrupt: it does not have the announced sha256"
            self._not_before = now + self._timing.refused
            return
        sync(part)
        part.replace(self.directory / wanted.file)
        replace_file(self.directory / "current.json", msgspec.json.encode(wanted))
        self.current, self._published, self.last_error = wanted, self._wanted_published, ""
        others = [p for p in self.directory.glob("bundle-*.zip") if p.name != wanted.file]
        for old in sorted(others, key=lambda p: p.stat().st_mtime_ns, reverse=True)[KEEP - 1 :]:
            old.unlink()

    def _load(self) -> CurrentBundle | None:
        manifest = self.directory / "current.json"
        if not manifest.exists():
            return None
        try:
            current = decode_json(manifest.read_bytes(), CurrentBundle)
            if sha256_of(self.directory / current.file) == current.sha256:
                return current
            problem = "its sha256 is wrong"
        except (msgspec.MsgspecError, OSError) as error:
            problem = str(error)
        self.problems["bundle_corrupt"] += 1
        self.last_error = f"the bundle named by {manifest} cannot be used: {problem}; waiting for the learner's"
        return None

    def _refuse(self, bundle: CurrentBundle, kind: str, text: str, until: float = math.inf) -> None:
        self._refused[bundle] = until
        self.problems[kind] += 1
        self.last_error = text

    def _part(self, wanted: CurrentBundle) -> Path:
        return self.directory / f"{wanted.sha256}.part"
