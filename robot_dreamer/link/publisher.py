"""The bundles that the learner offers: announced with version, step, sha256 and size, read in pieces.

The newest one is announced. An older one is still served to robots that have begun to fetch it: on a link that is
slower than a bundle per publication none would ever arrive otherwise.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import msgspec

from robot_dreamer.durable import sha256_of_rest
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import Announcement, Fetch, Piece
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LinkLimits, Timing


@dataclass
class _Offer:
    announcement: Announcement
    file: FileIO  # held open, so that replacing it on disk does not disturb robots that fetch it
    since: float
    fetched: float


class Publisher:
    """Thread safe."""

    def __init__(self, store: ExperienceStore, timing: Timing, limits: LinkLimits) -> None:
        self._store, self._timing, self._limits = store, timing, limits
        self._lock = threading.Lock()
        self._offers: dict[str, _Offer] = {}  # by sha256; the newest is the last
        self.generation = 0  # counts publications, so that the server notices one

    def publish(self, bundle: Path, version: int, training_step: int) -> None:
        """Offer a bundle from now on.

        Raises LinkError for a version that is not newer than the newest ever published from this store (the same bundle
        again is fine: a restarted learner does that), an unreadable file, one larger than robots fetch, or a full disk.
        """
        try:
            file = bundle.open("rb", buffering=0)
            digest, size = sha256_of_rest(file), file.tell()
        except OSError as error:
            raise LinkError(f"cannot publish bundle {bundle}: {error.strerror}") from error
        newest, newest_digest = self._store.published()
        problem = ""
        if version < 0 or training_step < 0:
            problem = f"version and training step count from 0, found {version} and {training_step}"
        elif version < newest or (version == newest and digest != newest_digest):
            problem = f"this store has published version {newest}, robots refuse older ones: use {newest + 1} or more"
        elif not 0 < size <= self._limits.bundle_bytes:
            problem = f"it has {size} bytes; robots fetch 1 to {self._limits.bundle_bytes}"
        if problem:
            file.close()
            raise LinkError(f"cannot publish bundle {bundle} as version {version}: {problem}")
        try:
            self._store.set_published(version, digest)
        except LinkError:
            file.close()
            raise
        now = time.monotonic()
        announcement = Announcement(int(version), int(training_step), digest, size, age=0.0)
        with self._lock:
            again = self._offers.pop(digest, None)
            if again is not None:
                again.file.close()
            self._forget(now - self._timing.offer)
            self._offers[digest] = _Offer(announcement, file, now, now)
            self.generation += 1

    def announcement(self) -> Announcement | None:
        """The newest, with its age now."""
        with self._lock:
            if not self._offers:
                return None
            newest = list(self._offers.values())[-1]
            return msgspec.structs.replace(newest.announcement, age=time.monotonic() - newest.since)

    def piece(self, fetch: Fetch) -> Piece | None:
        """A piece; None if that bundle is no longer on offer or ends before the offset.

        Raises OSError if the disk refuses.
        """
        with self._lock:
            offer = self._offers.get(fetch.sha256)
            if offer is None or fetch.offset >= offer.announcement.size:
                return None
            offer.fetched = time.monotonic()
            data = os.pread(offer.file.fileno(), fetch.length, fetch.offset)
            return Piece(fetch.sha256, fetch.offset, data)

    def close(self) -> None:
        with self._lock:
            self._forget(float("inf"))

    def _forget(self, before: float) -> None:
        """Close offers that nobody has fetched from since `before`, and the oldest beyond one per robot."""
        surplus = len(self._offers) - self._limits.robots
        for number, (digest, offer) in enumerate(list(self._offers.items())):
            if offer.fetched < before or number < surplus:
                offer.file.close()
                del self._offers[digest]
