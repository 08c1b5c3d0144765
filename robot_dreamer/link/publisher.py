"""The bundle that the learner offers: announced with version, step, sha256 and size, read in pieces."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.inbox import sha256_of
from robot_dreamer.link.messages import Announcement, Fetch, Piece
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import Limits


class Publisher:
    """Holds the newest bundle open, so that replacing its file does not disturb robots that fetch it. Thread safe."""

    def __init__(self, store: ExperienceStore, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._lock = threading.Lock()
        self._current: Announcement | None = None
        self._descriptor = -1
        self._since = 0.0
        self.generation = 0  # counts publications, so that the server notices one

    def publish(self, bundle: Path, version: int, training_step: int) -> None:
        """Offer a bundle from now on.

        Raises LinkError for a version that is not newer than the newest ever published from this store (the same bundle
        again is fine: a restarted learner does that), for an unreadable file, and for one larger than robots fetch.
        """
        try:
            descriptor = os.open(bundle, os.O_RDONLY | os.O_CLOEXEC)
            digest = sha256_of(bundle)
        except OSError as error:
            raise LinkError(f"cannot publish bundle {bundle}: {error.strerror}") from error
        size = os.fstat(descriptor).st_size
        newest, newest_digest = self._store.published()
        problem = ""
        if version < newest or (version == newest and digest != newest_digest):
            problem = f"this store has published version {newest}, robots refuse older ones: use {newest + 1} or more"
        elif not 0 < size <= self._limits.bundle_bytes:
            problem = f"it has {size} bytes; robots fetch 1 to {self._limits.bundle_bytes}"
        if problem:
            os.close(descriptor)
            raise LinkError(f"cannot publish bundle {bundle} as version {version}: {problem}")
        self._store.set_published(version, digest)
        with self._lock:
            self._close()
            self._descriptor, self._since = descriptor, time.monotonic()
            self._current = Announcement(version, training_step, digest, size, age=0.0)
            self.generation += 1

    def announcement(self) -> Announcement | None:
        """What is on offer, with its age now."""
        with self._lock:
            now = self._current
            if now is None:
                return None
            age = time.monotonic() - self._since
            return Announcement(now.version, now.training_step, now.sha256, now.size, age)

    def piece(self, fetch: Fetch) -> Piece | None:
        """A piece; None if that bundle is no longer on offer (heartbeats tell the robot) or ends before the offset."""
        with self._lock:
            now = self._current
            if now is None or fetch.sha256 != now.sha256 or fetch.offset >= now.size:
                return None
            data = os.pread(self._descriptor, fetch.length, fetch.offset)
            return Piece(fetch.sha256, fetch.offset, data)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._current = -1, None
