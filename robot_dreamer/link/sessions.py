"""What the learner knows about each robot, and which connection may speak for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from robot_dreamer.link.keys import LearnerKeys
from robot_dreamer.link.messages import Alive, Hello, Refused
from robot_dreamer.link.status import RobotStatus
from robot_dreamer.link.store import AddResult
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.spec import RobotSpec, SpecMismatch, require_same_spec


@dataclass
class Session:
    """A robot, known from its first hello on; `identity` is its live connection, None while it has none."""

    robot: str
    boot: str = ""
    identity: bytes | None = None
    key: str = ""
    heard: float = field(default_factory=time.monotonic)
    totals: AddResult = field(default_factory=AddResult)
    alive: Alive | None = None
    bad_messages: Counter[str] = field(default_factory=Counter)
    refused: str = ""

    def status(self, now: float, silence: float) -> RobotStatus:
        """`silence`: seconds after which it does not count as connected."""
        alive, totals = self.alive, self.totals
        figures = dict(alive.figures) if alive else {}
        acting = figures.get("bundle_version", -1)
        return RobotStatus(
            robot=self.robot,
            boot=self.boot,
            connected=self.identity is not None and now - self.heard <= silence,
            last_seen=now - self.heard,
            received=totals.stored,
            duplicates=totals.duplicates,
            rejected=dict(totals.rejected),
            missing=totals.missing,
            acknowledged=totals.stored + sum(totals.rejected.values()),
            spooled=alive.spooled if alive else 0,
            round_trip=alive.round_trip if alive else None,
            dropped=dict(alive.dropped) if alive else {},
            bad_messages=dict(self.bad_messages),
            fetched_version=alive.fetched if alive else -1,
            bundle_version=acting if isinstance(acting, int) else -1,
            figures=figures,
            refused=self.refused,
            discarded=totals.discarded,
        )


class Sessions:
    """Decides hellos. Changed by the server's thread only; `status` may be called from others."""

    def __init__(self, spec: RobotSpec, keys: LearnerKeys | None, timing: Timing, limits: LinkLimits) -> None:
        self._spec, self._keys, self._timing, self._limits = spec, keys, timing, limits
        self._robots: dict[str, Session] = {}
        self._by_identity: dict[bytes, Session] = {}
        self._lock = threading.Lock()
        self.refusals: Counter[str] = Counter()

    def get(self, identity: bytes) -> Session | None:
        return self._by_identity.get(identity)

    def live(self) -> list[tuple[bytes, Session]]:
        return list(self._by_identity.items())

    def holder(self, hello: Hello, identity: bytes, now: float) -> bytes | None:
        """The other connection that holds this robot's id with another boot, if any; a silent one holds nothing."""
        session = self._robots.get(hello.robot)
        if session is None or session.identity in (None, identity) or session.boot == hello.boot:
            return None
        return None if now - session.heard > self._timing.silence else session.identity

    def hello(self, hello: Hello, identity: bytes, key: str, now: float) -> Session | Refused:
        """Admit a robot or say why not. The same boot may always move to a new connection: it is the same process."""
        refused = self._objection(hello, identity, key, now)
        session = self._robots.get(hello.robot)
        if refused is not None:
            self.refusals[refused.reason] += 1
            # Only a robot that may use the name is shown under it.
            if session is not None and refused.reason in ("spec", "claimed"):
                session.refused = refused.text
            return refused
        other = self._by_identity.get(identity)
        if other is not None and other is not session:  # one connection speaks for one robot
            self.drop(other)
        with self._lock:
            if session is None:
                session = self._robots[hello.robot] = Session(hello.robot)
            if session.identity is not None:
                self._by_identity.pop(session.identity, None)
            session.identity, session.boot, session.key = identity, hello.boot, key
            session.heard, session.refused = now, ""
            self._by_identity[identity] = session
        return session

    def _forget(self) -> None:
        """Bound what is remembered of robots that are away. Whom we remember is never refused as one too many."""
        away = sorted((s.heard, s.robot) for s in self._robots.values() if s.identity is None)
        for _, robot in away[: max(0, len(away) - self._limits.robots)]:
            del self._robots[robot]

    def drop(self, session: Session) -> None:
        """Its connection is gone."""
        with self._lock:
            if session.identity is not None:
                self._by_identity.pop(session.identity, None)
                session.identity = None
            self._forget()

    def sweep(self, now: float) -> list[tuple[bytes, Refused]]:
        """Drop robots that are silent for long and those whose keys were revoked; returns what to tell the latter.

        One that is merely silent may be speaking: a message counts when it has come whole, and on a slow network a row
        with pictures takes longer than `silence`. Dropped meanwhile, its rows would be thrown away, again and again.
        """
        told = []
        allowed = None if self._keys is None else self._keys.allowed()
        for identity, session in self.live():
            if now - session.heard > self._timing.silence_last:
                self.drop(session)
            elif allowed is not None and allowed.get(session.key) != session.robot:
                self.drop(session)
                session.refused = "its key was revoked"
                self.refusals["not_allowed"] += 1
                told.append((identity, Refused("not_allowed", "the key of this robot was revoked")))
        return told

    def status(self) -> list[RobotStatus]:
        now = time.monotonic()
        with self._lock:
            return [session.status(now, self._timing.silence) for _, session in sorted(self._robots.items())]

    def _objection(self, hello: Hello, identity: bytes, key: str, now: float) -> Refused | None:
        if self._keys is not None:
            owner = self._keys.allowed().get(key)
            if owner != hello.robot:
                return Refused("not_allowed", f"this key belongs to {owner or 'nobody'}, not to robot {hello.robot!r}")
        if difference := self._difference(hello):
            return Refused("spec", difference[:16384])
        if self.holder(hello, identity, now) is not None:
            text = f"robot id {hello.robot!r} is in use by another live connection; give each robot its own id"
            return Refused("claimed", text)
        if hello.robot not in self._robots and len(self._by_identity) >= self._limits.robots:
            return Refused("full", f"the learner serves {self._limits.robots} robots already")
        return None

    def _difference(self, hello: Hello) -> str:
        """Why a robot's spec is not ours; empty if it is, as far as it means something."""
        try:
            theirs = msgspec.json.decode(hello.spec, type=RobotSpec)
            require_same_spec(self._spec, theirs, f"robot {hello.robot!r}")
        except SpecMismatch as error:
            return str(error)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return f"the spec of the robot is broken: {error}"
        if hello.spec_hash != theirs.hash:
            return f"spec hash {hello.spec_hash[:12]} is not that of the spec sent with it ({theirs.hash[:12]})"
        return ""
