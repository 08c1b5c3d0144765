"""Makes what robots have sent durable, in a thread of its own: the server hears and checks the next batch meanwhile.

One batch at a time, in order of arrival, each in one transaction. If one message of it breaks the transaction, each is
stored in its own, so that it costs the others nothing.
"""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from robot_dreamer.link.arrival import Arrival
from robot_dreamer.link.messages import Ack, Discarded
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.link.wake_up import WakeUp
from robot_dreamer.link.worker import Worker


class Kept(NamedTuple):
    """An arrival that is durable, and what to answer."""

    arrival: Arrival
    result: AddResult
    answer: Ack | Discarded


class Failed(NamedTuple):
    """An arrival of which nothing is stored, and why."""

    arrival: Arrival
    error: Exception


Outcomes = list[Kept | Failed]


class Keeper:
    """Everything but `worker` is for one thread, that of the server.

    Args:
      disk_retry: seconds of rest after the disk has refused a batch.

    Attributes:
      busy: a batch was given, and its outcome not taken yet.
      wake_up: rings when there is an outcome to be taken.
      worker: its thread.
    """

    def __init__(self, store: ExperienceStore, disk_retry: float) -> None:
        self._store, self._disk_retry = store, disk_retry
        self._given: queue.SimpleQueue[Sequence[Arrival] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Outcomes] = queue.SimpleQueue()
        self.busy = False
        self.wake_up = WakeUp()
        self.worker = Worker("link keeper", self._run)

    def give(self, batch: Sequence[Arrival]) -> None:
        """Store it; not while `busy`."""
        self.busy = True
        self._given.put(batch)

    @property
    def ready(self) -> bool:
        """There is an outcome to be taken."""
        return not self._done.empty()

    def outcomes(self, patience: float) -> Outcomes:
        """Of the batch that was given; none if it takes longer than `patience` seconds."""
        try:
            found = self._done.get(timeout=patience)
        except queue.Empty:
            return []
        self.busy = False
        return found

    def stop(self, timeout: float) -> None:
        """Finish the batch that it has, and end. Raises LinkError if the thread had died or does not end in time."""
        self.worker.stopping.set()
        self._given.put(None)
        try:
            self.worker.stop(timeout)
        finally:
            if not self.worker.alive:  # else it may ring
                self.wake_up.close()

    def _run(self) -> None:
        while self._store_next():
            pass

    def _store_next(self) -> bool:
        """Wait for a batch and store it; False for the end. A call for each, so that none is held till the next."""
        batch = self._given.get()
        if batch is None:
            return False
        outcomes = self._keep(batch)
        self._done.put(outcomes)
        self.wake_up.ring()
        if any(isinstance(x, Failed) and isinstance(x.error, sqlite3.Error) for x in outcomes):
            self.worker.stopping.wait(self._disk_retry)
        return True

    def _keep(self, batch: Sequence[Arrival]) -> Outcomes:
        try:
            with self._store.transaction():
                settled = [(arrival, *arrival.put(self._store)) for arrival in batch]
        except sqlite3.Error as error:
            return [Failed(arrival, error) for arrival in batch]
        except Exception as error:
            if len(batch) == 1:
                return [Failed(batch[0], error)]
            return [outcome for arrival in batch for outcome in self._keep([arrival])]
        return [Kept(*found) for found in settled]
