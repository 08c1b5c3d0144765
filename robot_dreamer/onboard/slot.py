"""The hot swap: a better bundle takes over between two control ticks, or is refused and the old one stays.

A background thread reads, checks, loads and verifies; the control thread only exchanges a reference. Refused are: a
broken bundle, one for another robot or of another lineage than was asked for, one whose recording does not replay, one
that is not newer than what has flown of its lineage (see Manifest), and one of the same lineage whose state does not
fit the present one. The newest offer wins. What may be over soon, such as no memory or no time for the proof, is tried
twice more: of a learner that has ended no other bundle comes.
A bundle of another lineage (a new run) starts with a fresh filter: another model's state means nothing to it.

There is no way back from a bundle to random actions: without a bundle before it, a failure is a fault (see guard.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from robot_dreamer.onboard.bundle import BundleError
from robot_dreamer.onboard.logbook import Logbook
from robot_dreamer.onboard.manifest import PassingProblem
from robot_dreamer.onboard.policy import ActingPolicy, OnnxPolicy
from robot_dreamer.onboard.probation import Probation
from robot_dreamer.onboard.proof import PATIENCE, prove
from robot_dreamer.onboard.verdict import read_admitted
from robot_dreamer.record import RANDOM_POLICY
from robot_dreamer.spec import RobotSpec

_LOG = logging.getLogger(__name__)
_TRIES = 3  # of a bundle, where what is wrong may be over soon
_PAUSE = 30.0  # seconds between two of them


class _Offer(NamedTuple):
    path: Path
    tries: int = 1
    due: float = 0.0  # not before, monotonic s


class Acting(NamedTuple):
    """Whose turn it is to act. `fresh`: it took over without a state, so its filter starts here."""

    policy: ActingPolicy
    fresh: bool


class PolicySlot:
    """Holds the acting policy.

    Args:
      spec: the robot; bundles for another are refused.
      policy: acts until the first swap.
      threads, provider: of ONNX Runtime, for each policy that is loaded here; see `OnnxPolicy`.
      probation: judges a policy that took over by the one before it; default: not at all.
      lineage: of the only bundles that may take over; None: of any.
      logbook: what has flown before this start, and where it is written down; None: nowhere.
      patience: seconds that a proof may take, see `prove`.
      gated: refuse offers without a passed verdict, see verdict.py.

    Attributes:
      swaps, refused, rollbacks: counters; last_refusal and last_rollback say why the last one happened.
    """

    def __init__(
        self,
        spec: RobotSpec,
        policy: ActingPolicy,
        threads: int = 1,
        provider: str = "cpu",
        probation: Probation | None = None,
        lineage: str | None = None,
        logbook: Logbook | None = None,
        patience: float = PATIENCE,
        gated: bool = False,
    ) -> None:
        self.swaps = 0
        self.refused = 0
        self.rollbacks = 0
        self.last_refusal = ""
        self.last_rollback = ""
        self._spec = spec
        self._threads = threads
        self._provider = provider
        self.probation = probation or Probation()
        self._current = policy
        self._previous: ActingPolicy | None = None
        self._lineage = lineage
        self._logbook = logbook
        self._patience = patience
        self._gated = gated
        self._floors = dict(logbook.flown.floors) if logbook else {}  # newest that has flown of each lineage
        if policy.version > self._floor(policy.lineage):
            self._floors[policy.lineage] = policy.version
        self._prepared = ""  # file name of the bundle that was made ready last
        self._offers: deque[_Offer] = deque(maxlen=1)
        self._ready: deque[OnnxPolicy] = deque(maxlen=1)  # append and pop are atomic: no lock in the control loop
        self._retired: deque[ActingPolicy] = deque()  # to be freed by the background thread: it takes milliseconds
        self._wake: SimpleQueue[None] = SimpleQueue()  # put never waits: the control thread rings it too
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> ActingPolicy:
        """The acting policy."""
        return self._current

    @property
    def next(self) -> ActingPolicy:
        """Who acts from an episode's next tick on, as far as is known: a policy that is ready, or the acting one."""
        try:
            return self._ready[0]
        except IndexError:
            return self._current

    def offer(self, path: Path) -> None:
        """Look at a bundle in the background; returns at once."""
        self._offers.append(_Offer(Path(path)))
        self._wake.put(None)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="policy-slot", daemon=True)
            self._thread.start()

    def exchange(self) -> Acting:
        """Between two ticks: a ready policy takes over, with the old one's state. Control thread only; never waits.

        Otherwise the previous policy does, where the acting one is worse (see probation.py).
        """
        try:
            ready = self._ready.pop()
        except IndexError:
            verdict = self.probation.verdict() if self._previous is not None else ""
            return (self.rollback(verdict) if verdict else None) or Acting(self._current, False)
        problem = self._misfit(ready)
        if problem:  # the acting policy changed after the background thread had compared
            self._refuse(problem)
            return Acting(self._current, False)
        state = self._current.state if ready.lineage == self._current.lineage else {}
        if state:
            ready.state = state
        if self._previous is not None:
            self._retired.append(self._previous)
        self._previous = self._current if self._current.version != RANDOM_POLICY else None
        self._current = ready
        self._floors[ready.lineage] = ready.version
        self.probation.begin()
        self.swaps += 1
        self._wake.put(None)
        return Acting(ready, not state)

    def rollback(self, reason: str) -> Acting | None:
        """The acting policy failed: the previous one takes over, with the state before the failed step.

        None if no bundle acted before it. The failed one does not come back, not even in a new start: only a newer one.
        """
        failed, previous = self._current, self._previous
        if previous is None:
            return None
        related = previous.lineage == failed.lineage
        if related and previous.state:
            previous.state = failed.state
        self._retired.append(failed)
        self._current, self._previous = previous, None
        self.probation.end()
        self.last_rollback = f"policy {failed.version} failed, back to policy {previous.version}: {reason}"
        self.rollbacks += 1
        self._wake.put(None)
        return Acting(previous, not related)

    def stop(self, timeout: float = 5.0) -> None:
        """End the background thread, and write down what has flown; a load in progress may take `timeout` seconds."""
        self._stopping = True
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _work(self) -> None:
        again: _Offer | None = None
        while True:
            with suppress(Empty):
                self._wake.get(timeout=max(0.0, again.due - time.monotonic()) if again else None)
            last = self._stopping  # nothing changes any more: what is written down from here on is complete
            self._write_down()
            if last:
                return
            if self._stopping:
                continue
            offer = self._offers.pop() if self._offers else again
            if offer is None or time.monotonic() < offer.due:
                continue
            again = None
            self._retired.clear()
            try:
                policy = self._prepare(offer.path)
                self._ready.append(policy)
                self._prepared = policy.source  # after it is ready: what it replaced there will not act
            except Exception as error:  # such as no memory; this thread must live to see the next bundle
                again = self._give_up(offer, error)

    def _give_up(self, offer: _Offer, error: Exception) -> _Offer | None:
        """Refuse it. Returns when it is looked at again, if what is wrong may pass and no newer one comes."""
        of_it = isinstance(error, BundleError)
        reason = str(error) if of_it else f"bundle {offer.path}: {type(error).__name__}: {error}"
        if (of_it and not isinstance(error, PassingProblem)) or offer.tries == _TRIES:
            self._refuse(reason)
            return None
        self._refuse(f"{reason}; it is tried again in {_PAUSE:g} s")
        return _Offer(offer.path, offer.tries + 1, time.monotonic() + _PAUSE)

    def _prepare(self, path: Path) -> OnnxPolicy:
        bundle = read_admitted(path, self._spec, self._gated)
        version, lineage = bundle.manifest.version, bundle.manifest.lineage
        if self._lineage is not None and lineage != self._lineage:
            wanted = f"{self._lineage!r}, that of the bundle which this robot was told to begin with"
            raise BundleError(f"bundle {path}: lineage: expected {wanted}, found {lineage!r}")
        floor = self._floor(lineage)
        if version <= floor:
            raise BundleError(f"bundle {path}: version: expected above {floor}, which has flown, found {version}")
        if self._logbook is not None:  # before the proof, in which the next ones may have pushed the file out
            path = self._logbook.keep(path)
        policy = prove(path, bundle, self._threads, self._provider, lambda: self._stopping, self._patience)
        problem = self._misfit(policy)
        if problem:
            raise BundleError(f"bundle {path}: {problem}")
        return policy

    def _floor(self, lineage: str) -> int:
        return self._floors.get(lineage, RANDOM_POLICY)

    def _write_down(self) -> None:
        if self._logbook is None:
            return
        acting, previous = (x.source if isinstance(x, OnnxPolicy) else "" for x in (self._current, self._previous))
        try:
            self._logbook.write(self._floors.copy(), acting, (previous, self._prepared))
        except OSError as error:
            _LOG.error("which bundles have flown cannot be written down, so a new start would not know: %s", error)

    def _misfit(self, policy: OnnxPolicy) -> str:
        if not isinstance(self._current, OnnxPolicy) or policy.lineage != self._current.lineage:
            return ""  # it starts with a state of its own
        problem = policy.state_mismatch(self._current.state)
        if problem and policy.algorithm != self._current.algorithm:
            problem = f"it is of {policy.algorithm!r}, the one that acts of {self._current.algorithm!r}: {problem}"
        return problem

    def _refuse(self, reason: str) -> None:
        self.last_refusal = reason  # before the count: who sees that one was refused must find why
        self.refused += 1
