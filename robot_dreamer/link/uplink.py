"""The robot's network thread: one DEALER socket, from connecting to goodbye.

States: connecting (hello repeated until answered), connected, refused (pause, then try again: a person may have mended
it). A learner that stays silent for `Timing.silence` is given up: the socket is closed, which is the only cure for a
half-open connection, and a new one is opened after a back-off. Nothing is lost by it, because rows leave the spool only
when they are settled.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping

import zmq

from robot_dreamer.link.errors import FrameError, LinkError
from robot_dreamer.link.inbox import Inbox
from robot_dreamer.link.keys import RobotKeys
from robot_dreamer.link.messages import (
    MAX_MESSAGE,
    OLDEST,
    Ack,
    Alive,
    Discarded,
    FromLearner,
    FromRobot,
    Gone,
    Goodbye,
    Hello,
    Piece,
    Problem,
    Pulse,
    Refused,
    Welcome,
    decode_from_learner,
    encode,
)
from robot_dreamer.link.security import protect_robot
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.link.tombstones import Tombstones
from robot_dreamer.link.wake_up import WakeUp
from robot_dreamer.link.worker import Worker

_LOG = logging.getLogger(__name__)
_MONITORED = (
    zmq.Event.CONNECTED | zmq.Event.DISCONNECTED | zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
) | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL

_EVENT = struct.Struct("=H")  # of zmq_socket_monitor(3); zmq.utils.monitor reads it too, and loads asyncio: 3 MB, 0.1 s


class Uplink:
    """Owns the network thread. Attributes are written by it and read by others for display."""

    def __init__(
        self,
        address: str,
        hello: Hello,
        keys: RobotKeys | None,
        spool: Spool,
        inbox: Inbox,
        timing: Timing,
        limits: LinkLimits,
        dropped: Callable[[], dict[str, int]],
        wake_up: WakeUp,
    ) -> None:
        self._address, self._hello, self._keys = address, hello, keys
        self._spool, self._inbox, self._timing, self._limits = spool, inbox, timing, limits
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.shipper = Shipper(spool, timing, limits)
        self._tombstones = Tombstones(spool, timing)
        self.worker = Worker("link uplink", self._run)
        self.state = "connecting"
        self.last_error = ""
        self._failed = 0.0  # when last_error was set
        self.sessions = 0
        self.round_trip: float | None = None
        self.totals: Pulse | None = None  # the learner's counters of this robot
        self.bad_messages: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()  # told by the learner
        self._figures: Mapping[str, float | int | str] = {}
        self._dropped, self._wake_up = dropped, wake_up
        self._store = ""
        self._heard = self._said = self._greeted = 0.0
        self._patience = timing.silence  # grows where a handshake takes longer: with little, it would never end
        self._since = 0.0  # when the connection began
        self._deadline: float | None = None  # set by stop: give up draining at this time

    def show(self, figures: Mapping[str, float | int | str]) -> None:
        """What the next heartbeats tell the learner."""
        self._figures = figures

    def bad(self) -> dict[str, int]:
        """Messages from the learner that made no sense, by kind."""
        lies = self.shipper.bad_acks
        return dict(self.bad_messages) | ({"acknowledgement": lies} if lies else {})

    def stop(self, timeout: float) -> None:
        """Send what is left for at most `timeout` (1 s if the learner is not there), say goodbye, end.

        Call when no more rows are added. Raises LinkError if the thread had died.
        """
        self._deadline = time.monotonic() + (timeout if self.state == "connected" else min(timeout, 1.0))
        try:
            self.worker.stop(timeout + 2 * self._timing.silence)
        finally:
            if not self.worker.alive:  # else its sockets are in use
                self._context.destroy(linger=0)

    def _run(self) -> None:
        attempt = 0
        while not self._finished():
            sessions = self.sessions
            try:
                pause = self._connection()
            except (sqlite3.Error, LinkError) as error:
                self._fail(f"spool cannot be read: {error}; check the robot's disk")
                pause = 0.0
            except zmq.ZMQError as error:  # too many open files, for example, of whomever: rows wait in the spool
                self._fail(f"no connection to {self._address}: {error.strerror}; it is tried again")
                pause = 0.0
            attempt = 1 if self.sessions > sessions else attempt + 1
            self.state = "refused" if pause else "connecting"
            until = time.monotonic() + (pause or self._timing.backoff(attempt))
            while time.monotonic() < until and not self.worker.stopping.wait(self._timing.poll):
                pass
        self.state = "stopped"

    def _finished(self) -> bool:
        if not self.worker.stopping.is_set():
            return False
        late = self._deadline is None or time.monotonic() >= self._deadline
        return late or self.state == "refused" or (self.shipper.drained and self._tombstones.drained)

    def _connection(self) -> float:
        """One connection. Returns the pause that a refusal asks for, 0 otherwise."""
        socket = self._context.socket(zmq.DEALER)
        try:
            monitor = socket.get_monitor_socket(_MONITORED)
        except zmq.ZMQError:
            socket.close()
            raise
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        poller.register(self._wake_up.fd, zmq.POLLIN)
        try:
            self._open(socket)
            self.state = "connecting"
            self._heard, self._greeted = time.monotonic(), 0.0
            self._since = self._heard
            while not self._finished():
                ready = dict(poller.poll(int(self._timing.poll * 1000)))
                self._wake_up.clear()
                if monitor in ready:
                    self._note(_EVENT.unpack_from(monitor.recv_multipart()[0])[0])
                if socket in ready:
                    pause = self._receive(socket)
                    if pause:
                        return pause
                now = time.monotonic()
                if now - self._heard > self._patience:
                    silent = f"no answer from the learner at {self._address} for {self._patience:g} s"
                    self._fail(self.last_error or silent)
                    self._patience = min(2.0 * self._patience, self._timing.silence_last)
                    return 0.0
                if self.state == "connected" and now - self._since > 5.0 * self._timing.silence_last:
                    self._patience = self._timing.silence
                self._act(socket, now)
            if self.state == "connected":
                self._send(socket, Goodbye())
                socket.linger = 200
            return 0.0
        finally:
            poller.unregister(monitor)
            socket.disable_monitor()
            socket.close()
            self.round_trip = None

    def _open(self, socket: zmq.Socket[bytes]) -> None:
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = self._limits.queued_messages
        socket.maxmsgsize = MAX_MESSAGE
        socket.ipv6 = "[" in self._address
        socket.immediate = True  # never queue for a connection that does not exist: old heartbeats help nobody
        socket.reconnect_ivl = int(self._timing.retry_first * 1000)
        socket.reconnect_ivl_max = int(self._timing.retry_last * 1000)
        if self._keys is not None:
            protect_robot(socket, self._keys)
        socket.connect(self._address)

    def _note(self, what: int) -> None:
        if what == zmq.Event.HANDSHAKE_FAILED_AUTH:
            self._fail("the learner refuses our key: it is not in its list (`robot-dreamer keys list` there)")
        elif what in (zmq.Event.HANDSHAKE_FAILED_PROTOCOL, zmq.Event.HANDSHAKE_FAILED_NO_DETAIL):
            self._fail("secure handshake with the learner failed: keys on one side only, or another learner's")
        elif what == zmq.Event.DISCONNECTED and self.state == "connected":
            self._fail(f"connection to {self._address} was cut")

    def _receive(self, socket: zmq.Socket[bytes]) -> float:
        for _ in range(self._limits.queued_messages):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                if len(frames) != 1:
                    raise FrameError("frames", f"message of {len(frames)} frames, expected one")
                message = decode_from_learner(frames[0])
            except FrameError as error:
                self.bad_messages[error.kind] += 1
                self._fail(str(error))
                continue
            self._heard = time.monotonic()
            try:
                pause = self._handle(message, self._heard)
            except sqlite3.Error:  # the spool: see _run
                raise
            except Exception as error:  # costs the message, not the thread that hears the next one
                _LOG.exception("a %s of the learner could not be handled", type(message).__name__)
                self.bad_messages["unexpected"] += 1
                self._fail(f"{type(message).__name__} of the learner: {type(error).__name__}: {error}")
                continue
            if pause:
                return pause
        return 0.0

    def _handle(self, message: FromLearner, now: float) -> float:
        if isinstance(message, Refused):
            return self._refused(message)
        if isinstance(message, Problem):
            self.problems[message.kind] += 1
            self._fail(f"learner: {message.text}")
        elif isinstance(message, Welcome):
            if self.state != "connected":
                self.state, self.last_error, self._said = "connected", "", 0.0
                self.sessions += 1
                self._store = message.store
                self.shipper.rewind()
                self._tombstones.rewind()
                self._inbox.new_session()
            if message.bundle is not None:
                self._offer(message, now)
        elif self.state != "connected":
            self.bad_messages["out_of_state"] += 1
        elif isinstance(message, Ack):
            self.shipper.handle(message, now)
        elif isinstance(message, Discarded):
            self._tombstones.handle(message)
        elif isinstance(message, Pulse):
            self.totals = message
            if now - self._failed > self._timing.silence:
                self.last_error = ""
            if message.echo:
                self.round_trip = max(0.0, now - message.echo / 1e9)
            if message.bundle is not None:
                self._offer(message, now)
        elif isinstance(message, Piece | Gone):
            try:
                if isinstance(message, Gone):
                    self._inbox.gone(message.sha256, now)
                else:
                    self._inbox.receive(message, now)
            except OSError as error:
                self._inbox.disk_failed(error, now)
        return 0.0

    def _offer(self, message: Welcome | Pulse, now: float) -> None:
        assert message.bundle is not None
        try:
            self._inbox.offer(message.bundle, self._store, now)
        except OSError as error:
            self._inbox.disk_failed(error, now)

    def _refused(self, message: Refused) -> float:
        if message.reason == "no_session":  # the learner restarted or lost sight of us: introduce ourselves again
            self.state, self._greeted = "connecting", 0.0
            return 0.0
        self._fail(f"the learner refuses this robot ({message.reason}): {message.text}")
        return self._timing.hello if message.reason == "claimed" else self._timing.refused

    def _fail(self, text: str) -> None:
        self.last_error, self._failed = text, time.monotonic()

    def _act(self, socket: zmq.Socket[bytes], now: float) -> None:
        """Send whatever is due."""
        if self.state != "connected":
            if now - self._greeted > self._timing.hello and self._send(socket, self._hello):
                self._greeted = now
            return
        if now - self._said > self._timing.heartbeat and self._send(socket, self._alive(now)):
            self._said = now
        self.shipper.check(now)
        while (chunk := self.shipper.next_chunk(now)) is not None:
            if not self._send(socket, chunk, self.shipper.protocol):
                self.shipper.rewind()
                break
        for discard in self._tombstones.due(now):
            self._send(socket, discard)
        for fetch in self._inbox.requests(now):
            self._send(socket, fetch)

    def _alive(self, now: float) -> Alive:
        current = self._inbox.current
        fetched = -1 if current is None else current.version
        return Alive(
            echo=int(now * 1e9),
            round_trip=self.round_trip,
            spooled=self._spool.rows,
            dropped=self._dropped(),
            figures=dict(self._figures),
            fetched=fetched,
        )

    def _send(self, socket: zmq.Socket[bytes], message: FromRobot, protocol: int = OLDEST) -> bool:
        try:
            socket.send(encode(message, protocol), zmq.NOBLOCK, copy=False)
        except zmq.Again:  # not connected, or the queue is full: later
            return False
        return True
