"""The learner half of the link: one ROUTER socket, all robots, one thread that speaks and one that stores.

Each round: take what has arrived (bounded), decide hellos, check all rows, give them to the keeper, which stores them
in one transaction while the next are heard, acknowledge what became durable, and only then send pieces of bundles, so
that acknowledgements never wait behind one. Whatever arrives, the thread lives on: a message that cannot be understood
is counted by kind, its sender told, and thrown away. So is one that a handler stumbles over for a reason that nobody
thought of: kind UNEXPECTED. Sending never waits: a robot that does not read loses replies, and asks again. Where the
disk is slower than the robots, nothing more is taken from the socket than a batch that waits for the one being stored.

Who speaks is told by the key of each message, not by the connection's name, which a client chooses itself.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq

from robot_dreamer.link.arrival import Arrival
from robot_dreamer.link.chunks import decompress, unpack
from robot_dreamer.link.errors import FrameError, LinkError, RowError
from robot_dreamer.link.keeper import Keeper, Kept, Outcomes
from robot_dreamer.link.keys import LearnerKeys
from robot_dreamer.link.messages import (
    MAX_MESSAGE,
    Alive,
    Discard,
    Fetch,
    FromLearner,
    Gone,
    Goodbye,
    Hello,
    Problem,
    Pulse,
    Refused,
    Rows,
    Welcome,
    decode_from_robot,
    encode,
)
from robot_dreamer.link.publisher import Publisher
from robot_dreamer.link.security import Gate, key_of, protect_learner, require_address, require_protection
from robot_dreamer.link.sessions import Session, Sessions
from robot_dreamer.link.status import RobotStatus
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS, TIMING, LinkLimits, Timing
from robot_dreamer.link.worker import Worker
from robot_dreamer.spec import RobotSpec, require_same_spec

_QUESTIONS = 4  # unanswered, after which the kernel closes a connection
UNEXPECTED = "unexpected"  # kind of a message whose handler raised what it should not have
_LOG = logging.getLogger(__name__)


class LinkServer:
    """Serves robots from `start` to `stop`.

    Args:
      store: where rows go; the caller closes it after `stop`.
      spec: robots must have the same.
      address: to bind, "tcp://127.0.0.1:5757", "tcp://*:5757", "tcp://127.0.0.1:*" for any free port.
      keys: directory made by `robot-dreamer keys create`; needed beyond loopback.
      insecure: allow an open link beyond loopback.
      timing, limits: see timing.py.

    Attributes:
      address: as bound, from `start` on.
      bad_messages: by kind, of all peers.

    Raises:
      LinkError: no protection, bad address.
      SpecMismatch: store and spec differ.
    """

    def __init__(
        self,
        store: ExperienceStore,
        spec: RobotSpec,
        address: str,
        *,
        keys: Path | None = None,
        insecure: bool = False,
        timing: Timing = TIMING,
        limits: LinkLimits = LIMITS,
    ) -> None:
        require_same_spec(spec, store.spec, f"experience store {store.path}")
        require_address(address, "learner")
        require_protection(address, keys, insecure, "learner")
        self.address = address
        self.bad_messages: Counter[str] = Counter()
        self._troubles: dict[str, tuple[str, float]] = {}  # by kind: the newest, and when
        self._store, self._timing, self._limits = store, timing, limits
        self._keys = None if keys is None else LearnerKeys(keys)
        self._sessions = Sessions(spec, self._keys, timing, limits)
        self._publisher = Publisher(store, timing, limits)
        self._worker = Worker("link server", self._run)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._gate = None if self._keys is None else Gate(self._context, self._keys)
        self._keeper = Keeper(store, timing.disk_retry)
        self._arrivals: list[Arrival] = []  # that wait for the keeper
        self._waiting = 0  # bytes that came since it was given some
        self._announced = 0
        self._swept = 0.0

    def start(self) -> None:
        """Bind and start the threads. Raises LinkError if the address cannot be had."""
        socket = self._socket
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = self._limits.queued_messages
        socket.maxmsgsize = MAX_MESSAGE
        socket.ipv6 = "[" in self.address
        socket.router_mandatory = True  # a reply to a peer that is gone is an error that we see
        # Who lost its power says no goodbye, and without a question from the kernel its connection would stay for ever.
        socket.tcp_keepalive, socket.tcp_keepalive_cnt = 1, _QUESTIONS
        socket.tcp_keepalive_idle = socket.tcp_keepalive_intvl = max(1, round(self._timing.silence_last))
        if self._keys is not None:
            protect_learner(socket, self._keys)
        try:
            socket.bind(self.address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            text = f"learner cannot listen on {self.address}: {error.strerror}; choose another with --bind"
            raise LinkError(text) from error
        self.address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._keeper.worker.start()
        self._worker.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the threads and free the port. Raises LinkError if one had died or does not end in time."""
        with ExitStack() as last:
            last.callback(self._context.destroy, linger=0)
            last.callback(self._publisher.close)
            last.callback(self._keeper.stop, timeout)
            self._worker.stop(timeout)

    def check(self) -> None:
        """Raise LinkError if a thread has died."""
        self._worker.check()
        self._keeper.worker.check()

    def publish(self, bundle: Path, version: int, training_step: int) -> None:
        """Announce a bundle to all robots, now and whenever one connects. See Publisher.publish for what it raises."""
        self._publisher.publish(bundle, version, training_step)

    def status(self) -> list[RobotStatus]:
        """One entry per robot that was ever welcomed, sorted by id."""
        return self._sessions.status()

    def troubles(self) -> dict[str, dict[str, Any]]:
        """Text and age in seconds of the newest of each kind: a stranger's noise does not cover a full disk."""
        now = time.monotonic()
        return {kind: {"text": text, "age": now - when} for kind, (text, when) in self._troubles.copy().items()}

    def _note(self, kind: str, text: str) -> None:
        self._troubles[kind] = (text[:2000], time.monotonic())

    @property
    def refusals(self) -> dict[str, int]:
        """Refused hellos and connections, by reason."""
        return dict(self._sessions.refusals) | ({"unknown_key": self._gate.denied} if self._gate else {})

    @property
    def fault(self) -> str:
        """Why a thread died; empty while all is well."""
        return self._worker.fault or self._keeper.worker.fault

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._keeper.wake_up.fd, zmq.POLLIN)
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        while not self._worker.stopping.is_set():
            ready = dict(poller.poll(int(self._timing.poll * 1000)))
            self._keeper.wake_up.clear()
            if self._gate is not None and self._gate.socket in ready:
                with self._surviving("the check of a key"):
                    self._gate.answer()
            fetches = self._hear() if self._socket in ready else []
            self._settle()
            for identity, fetch in fetches:
                with self._surviving("a piece of a bundle", identity):
                    self._send_piece(identity, fetch)
            with self._surviving("the learner's heartbeat"):
                self._tick(time.monotonic())

    @contextmanager
    def _surviving(self, what: str, identity: bytes | None = None, session: Session | None = None) -> Iterator[None]:
        """Whatever is raised costs what is inside, is counted and told, and the thread goes on."""
        try:
            yield
        except (FrameError, RowError) as error:
            self._complain(error.kind, f"{what}: {error}", identity, session)
        except zmq.ZMQError:  # the socket itself is broken: nothing can go on
            raise
        except Exception as error:
            _LOG.exception("%s failed; the link goes on", what)
            self._complain(UNEXPECTED, f"{what}: {type(error).__name__}: {error}", identity, session)

    def _complain(self, kind: str, text: str, identity: bytes | None, session: Session | None) -> None:
        self.bad_messages[kind] += 1
        if session is not None:
            session.bad_messages[kind] += 1
        self._note(kind, text)
        self._send(identity, Problem(kind, text[:1000]))

    def _hear(self) -> list[tuple[bytes, Fetch]]:
        """Take what has arrived, up to a batch, or until one is stored; returns who asks for what of bundles."""
        fetches: list[tuple[bytes, Fetch]] = []
        for _ in range(1000):
            if self._waiting >= self._limits.batch_bytes or self._keeper.ready:
                break
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            before = len(self._arrivals)
            self._one(identity.bytes, frames, fetches)
            # What is kept: the message, or what is unpacked of it, since a small one may hold much.
            unpacked = sum(arrival.size for arrival in self._arrivals[before:])
            self._waiting += max(unpacked, sum(len(frame) for frame in frames))
        return fetches

    def _one(self, identity: bytes, frames: list[zmq.Frame], fetches: list[tuple[bytes, Fetch]]) -> None:
        """Handle one message; rows and fetches are only collected."""
        session = self._sessions.get(identity)
        with self._surviving(f"message from {session.robot if session else 'an unknown peer'}", identity, session):
            if len(frames) != 1:
                raise FrameError("frames", f"message of {len(frames)} frames, expected one")
            message, key = decode_from_robot(frames[0].buffer), key_of(frames[0])
            if isinstance(message, Hello):
                self._hello(identity, message, key)
                return
            if session is None or session.key != key:
                self.bad_messages["no_session" if session is None else "foreign_key"] += 1
                self._send(identity, Refused("no_session", "say hello first"))
                return
            session.heard = time.monotonic()
            if isinstance(message, Rows):
                blocks = unpack(decompress(message.encoding, message.data, message.size), message.count)
                self._arrivals.append(Arrival(session, identity, message, self._store.examine(blocks)))
            elif isinstance(message, Discard):
                self._arrivals.append(Arrival(session, identity, message, []))
            elif isinstance(message, Alive):
                session.alive = message
                self._pulse(identity, session, message.echo)
            elif isinstance(message, Fetch):
                fetches.append((identity, message))
            elif isinstance(message, Goodbye):
                self._sessions.drop(session)

    def _hello(self, identity: bytes, hello: Hello, key: str) -> None:
        now = time.monotonic()
        holder = self._sessions.holder(hello, identity, now)
        if holder is not None and not self._send(holder, Problem("claimed", "another process claims this robot id")):
            # The connection is gone (the robot was killed and came back): its name is free.
            session = self._sessions.get(holder)
            if session is not None:
                self._sessions.drop(session)
        answer = self._sessions.hello(hello, identity, key, now)
        if isinstance(answer, Refused):
            self._note(answer.reason, f"robot {hello.robot!r} refused: {answer.text}")
            self._send(identity, answer)
        else:
            self._send(identity, Welcome(self._store.id, self._publisher.announcement()))

    def _settle(self) -> None:
        """Answer for what was stored, and give the keeper what came meanwhile; wait for it where that is a batch."""
        if self._keeper.busy:
            full = self._waiting >= self._limits.batch_bytes
            self._answer(self._keeper.outcomes(self._timing.poll if full else 0.0))
        if not self._keeper.busy:
            if self._arrivals:
                self._keeper.give(self._arrivals)
            self._arrivals, self._waiting = [], 0

    def _answer(self, outcomes: Outcomes) -> None:
        """Acknowledge what is on disk, and say what is not."""
        refused: dict[bytes | None, sqlite3.Error] = {}
        for outcome in outcomes:
            session, sender = outcome.arrival.session, outcome.arrival.sender
            if isinstance(outcome, Kept):
                session.totals.merge(outcome.result)
                self._send(sender, outcome.answer)
            elif isinstance(outcome.error, sqlite3.Error):
                refused[sender] = outcome.error
                self.bad_messages["store_failed"] += 1
            else:
                with self._surviving(f"rows of {session.robot}", sender, session):
                    raise outcome.error
        for sender, error in refused.items():
            text = f"experience store {self._store.path}: {error}"
            self._note("store_failed", text)
            self._send(sender, Problem("store_failed", text))

    def _send_piece(self, identity: bytes, fetch: Fetch) -> None:
        try:
            piece = self._publisher.piece(fetch)
        except OSError as error:
            self._note("bundle_unreadable", f"bundle cannot be read: {error}")
            self.bad_messages["bundle_unreadable"] += 1
            piece = None
        self._send(identity, Gone(fetch.sha256) if piece is None else piece)

    def _tick(self, now: float) -> None:
        generation = self._publisher.generation
        if generation != self._announced:
            self._announced = generation
            for identity, session in self._sessions.live():
                self._pulse(identity, session, 0)
        if now - self._swept > self._timing.heartbeat:
            self._swept = now
            for identity, refused in self._sessions.sweep(now):
                self._send(identity, refused)
            if self._keys is not None and self._keys.problem:
                self._note("keys", self._keys.problem)

    def _pulse(self, identity: bytes, session: Session, echo: int) -> None:
        totals, bundle = session.totals, self._publisher.announcement()
        self._send(identity, Pulse(echo, totals.stored, totals.duplicates, dict(totals.rejected), bundle))

    def _send(self, identity: bytes | None, message: FromLearner) -> bool:
        """False if the peer is gone. A peer that does not read (full queue) loses this message; it will ask again."""
        if identity is None:
            return False
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            self.bad_messages["reply_not_taken"] += 1
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True
