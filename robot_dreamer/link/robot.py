"""The robot half of the link: what the policy node holds. No torch.

    link = RobotLink(spec, "robot1", Path("runs/robot1"), "tcp://workstation:5757", keys=Path("robot1.json"))
    link.start()
    link.record(row)          # each control tick; never waits
    link.report({"bundle_version": 7})
    bundle = link.take_bundle()
    link.stop()

Threads, not processes: both threads spend their time in SQLite, zlib and ZeroMQ, which release the interpreter lock
(benchmarks/link.py prints what the control loop feels of them).
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import msgspec

from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.inbox import Inbox
from robot_dreamer.link.keys import load_robot_keys, require_robot_id
from robot_dreamer.link.messages import Figures, Hello
from robot_dreamer.link.security import require_address, require_protection
from robot_dreamer.link.spool import SPOOL_FILE, Spool, WhenFull
from robot_dreamer.link.timing import LIMITS, TIMING, LinkLimits, Timing
from robot_dreamer.link.uplink import Uplink
from robot_dreamer.link.wake_up import WakeUp
from robot_dreamer.link.writer import SpoolWriter
from robot_dreamer.record import DEMONSTRATION, StepRecord
from robot_dreamer.spec import RobotSpec


class RobotLinkStatus(msgspec.Struct, frozen=True):
    """How the link is doing, for people and for the node's own decisions.

    Attributes:
      state: "off" (no learner was given), "connecting", "connected", "refused", "stopped".
      queued: rows in memory, not yet on disk.
      recorded: rows on disk since start.
      spooled, spooled_bytes: rows on disk now, older boots included.
      sent: rows sent, repeats included.
      acknowledged: rows that the learner settled since start.
      rejected: rows that the learner refused, by kind (its totals).
      dropped: rows that will never reach the learner, by kind.
      discards: episodes that must not be learned from, which the learner does not know of yet.
      bad_messages: from the learner, by kind.
      problems: messages of ours that the learner could not use, and broken bundles, by kind.
      rewinds: how often rows were sent again.
      sessions: how often the learner welcomed us.
      round_trip: seconds; None while not connected.
      bundle_version, bundle_file: newest whole bundle on disk; -1 and empty for none.
      bundle_age: seconds since the learner published it, by the learner's monotonic clock; None if no learner has told
        since this start.
      bundle_warning: not empty: that bundle is old, in words.
      last_error: newest trouble of each part, in words, without what is over; why a row was refused stays.
      fault: not empty: the link has stopped recording or a thread of it has died, and says why. Stop the robot.
    """

    state: str
    queued: int
    recorded: int
    spooled: int
    spooled_bytes: int
    sent: int
    acknowledged: int
    rejected: dict[str, int]
    dropped: dict[str, int]
    discards: int
    bad_messages: dict[str, int]
    problems: dict[str, int]
    rewinds: int
    sessions: int
    round_trip: float | None
    bundle_version: int
    bundle_file: str
    bundle_age: float | None
    bundle_warning: str
    last_error: str
    fault: str

    @property
    def connected(self) -> bool:
        return self.state == "connected"


class RobotLink:
    """Records rows durably, ships them to the learner, fetches bundles.

    Args:
      spec: what the robot is; the learner must hold the same.
      robot: id of this robot, unique among those of the learner.
      directory: spool and bundles live here; one process at a time.
      address: of the learner, "tcp://host:port"; None: only record.
      keys: file from `robot-dreamer keys create`; needed beyond loopback.
      insecure: allow an open link beyond loopback.
      spool_limit: bytes of rows on disk.
      when_full: what to do then: "drop_oldest" rows (counted), or "stop" recording and set `status().fault`.
      bundle_warning: seconds from which on `status().bundle_warning` says that the bundle on board is old; 0: never.
      timing, limits: see timing.py.

    Raises:
      LinkError: no protection, bad id, bad address, directory in use or of another robot.
      SpecMismatch: the directory holds rows of another spec.
    """

    def __init__(
        self,
        spec: RobotSpec,
        robot: str,
        directory: Path,
        address: str | None,
        *,
        keys: Path | None = None,
        insecure: bool = False,
        spool_limit: int = LIMITS.spool_bytes,
        when_full: WhenFull = "drop_oldest",
        bundle_warning: float = 600.0,
        timing: Timing = TIMING,
        limits: LinkLimits = LIMITS,
    ) -> None:
        require_robot_id(robot)
        if robot.startswith(DEMONSTRATION):
            text = f"{DEMONSTRATION!r} begins the names of demonstrations, whose rows no robot of a run has lived"
            raise LinkError(f"robot id {robot!r} is not possible: {text}")
        own_keys = load_robot_keys(keys) if keys is not None else None
        if own_keys is not None and own_keys.robot != robot:
            raise LinkError(f"{keys} holds the keys of robot {own_keys.robot!r}, this robot is {robot!r}")
        if address is not None:
            require_address(address, "robot")
            require_protection(address, keys, insecure, "robot")
        self.boot = secrets.token_hex(8)
        self.robot = robot
        codec = BlockCodec(spec)
        self._inbox = Inbox(directory / "bundles", timing, limits)
        self._spool = Spool(directory / SPOOL_FILE, spec, robot, spool_limit, when_full)
        self._wake_up = WakeUp()
        self._writer = SpoolWriter(self._spool, codec, robot, self.boot, timing, limits, self._wake_up.ring)
        self._taken = ""
        self._bundle_warning = bundle_warning
        self._uplink: Uplink | None = None
        if address is not None:
            hello = Hello(robot=robot, boot=self.boot, spec_hash=spec.hash, spec=spec.to_json())
            parts = (self._spool, self._inbox, timing, limits, self._writer.dropped, self._wake_up)
            self._uplink = Uplink(address, hello, own_keys, *parts)

    def start(self) -> None:
        """Start the threads. Does not wait for the learner."""
        self._writer.worker.start()
        if self._uplink is not None:
            self._uplink.worker.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Write all rows to disk, send what goes out within `timeout` seconds, end. The rest stays in the spool.

        Raises LinkError if a thread had died or does not end, or the disk refuses; all that can be closed is closed.
        """
        try:
            self._writer.stop(timeout + 30.0)  # the disk decides; losing rows is worse than waiting
        finally:
            try:
                if self._uplink is not None:
                    self._uplink.stop(timeout)
            finally:
                self._close()

    def _close(self) -> None:
        if self._writer.worker.alive or (self._uplink is not None and self._uplink.worker.alive):
            return  # it holds the spool, and may do so for ever; the caller has been told
        try:
            self._spool.append([])  # forget what was settled at the end
        except sqlite3.Error as error:
            text = f"settled rows stay in {self._spool.path}: {error}. They will be sent again, which is harmless"
            raise LinkError(f"{text}; check the robot's disk") from error
        finally:
            self._spool.close()
            self._wake_up.close()

    def check(self) -> None:
        """Raise LinkError if a thread has died."""
        self._writer.worker.check()
        if self._uplink is not None:
            self._uplink.worker.check()

    def record(self, row: StepRecord) -> None:
        """Hand over a row; the control loop calls this. Its arrays must not be changed afterwards."""
        self._writer.put(row)

    def discard(self, episode: int) -> None:
        """Do not learn from this episode of this boot. For callbacks: waits for nothing; durable after a commit."""
        self._writer.discard(episode)

    def report(self, figures: dict[str, float | int | str]) -> None:
        """Figures for the learner's display, sent with heartbeats; "bundle_version" is that of the bundle that acts.

        Raises LinkError if they are more than 64, or a name or text is longer than 64 or 256 characters.
        """
        try:
            checked = msgspec.convert(figures, Figures)
        except msgspec.ValidationError as error:
            raise LinkError(f"figures cannot be reported: {error}") from error
        if self._uplink is not None:
            self._uplink.show(checked)

    def take_bundle(self) -> Path | None:
        """The newest whole, verified bundle since the last call (at first: since ever), or None."""
        current = self._inbox.current
        if current is None or current.file == self._taken:
            return None
        self._taken = current.file
        return self._inbox.directory / current.file

    def status(self) -> RobotLinkStatus:
        """Figures of this moment; waits for nothing."""
        uplink, writer, inbox = self._uplink, self._writer, self._inbox
        faults = [writer.worker.fault, writer.disk_fault]
        if writer.full:
            faults.append("the spool is full and rows were lost: let the robot reach its learner, or raise the limit")
        if uplink is not None:
            faults.append(uplink.worker.fault)
        current, age = inbox.current, inbox.age()
        version, file = (-1, "") if current is None else (current.version, current.file)
        warning = ""
        if self._bundle_warning and age is not None and age > self._bundle_warning:
            warning = f"bundle {version} was published {age:.0f} s ago, and no newer one has arrived since"
        totals = None if uplink is None else uplink.totals
        errors = ("" if uplink is None else uplink.last_error, inbox.last_error, writer.last_error)
        return RobotLinkStatus(
            state="off" if uplink is None else uplink.state,
            queued=writer.queued,
            recorded=writer.recorded,
            spooled=self._spool.rows,
            spooled_bytes=self._spool.bytes,
            sent=0 if uplink is None else uplink.shipper.sent,
            acknowledged=0 if uplink is None else uplink.shipper.acknowledged,
            rejected={} if totals is None else dict(totals.rejected),
            dropped=writer.dropped(),
            discards=writer.discards + len(self._spool.discards),
            bad_messages={} if uplink is None else uplink.bad(),
            problems=dict(inbox.problems) | ({} if uplink is None else dict(uplink.problems)),
            rewinds=0 if uplink is None else uplink.shipper.rewinds,
            sessions=0 if uplink is None else uplink.sessions,
            round_trip=None if uplink is None else uplink.round_trip,
            bundle_version=version,
            bundle_file=file,
            bundle_age=age,
            bundle_warning=warning,
            last_error="; ".join(x for x in errors if x),
            fault="; ".join(x for x in faults if x),
        )
