"""The bundle that the learner offers: announced with version, step, sha256 and size, read in pieces."""

from __future__ import annotations

import os
import threading
import time
from io import FileIO
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
        self._file: FileIO | None = None
        self._since = 0.0
        self.generation = 0  # counts publications, so that the server notices one

    def publish(self, bundle: Path, version: int, training_step: int) -> None:
        """Offer a bundle from now on.

        Raises LinkError for a version that is not newer than the newest ever published from this store (the same bundle
        again is fine: a restarted learner does that), for an unreadable file, and for one larger than robots fetch.
        """
        try:
            file = bundle.open("rb", buffering=0)
            digest, size = sha256_of(file), file.tell()
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
        self._store.set_published(version, digest)
        with self._lock:
            self._close()
            self._file, self._since = file, time.monotonic()
            self._current = Announcement(int(version), int(training_step), digest, size, age=0.0)
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
        """A piece; None if that bundle is no longer on offer (heartbeats tell the robot) or ends before the offset.

        Raises OSError if the disk refuses.
        """
        with self._lock:
            now = self._current
            if now is None or self._file is None or fetch.sha256 != now.sha256 or fetch.offset >= now.size:
                return None
            data = os.pread(self._file.fileno(), fetch.length, fetch.offset)
            return Piece(fetch.sha256, fetch.offset, data)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._current = None
