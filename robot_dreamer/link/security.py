"""Who may talk: CURVE keys beyond loopback, or an explicit flag."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import zmq
from zmq.utils import z85

from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.keys import LearnerKeys, RobotKeys

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ's authentication protocol (RFC 27)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    scheme, _, rest = address.partition("://")
    if scheme in ("ipc", "inproc"):
        return True
    host = re.sub(r":[^:\]]*$", "", rest).strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_address(address: str, side: str) -> None:
    """Raise LinkError unless ZeroMQ can make something of the address: say what is wrong before a thread meets it."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise LinkError(f"{side}: address {address!r} has no scheme: write tcp://{address}")
    if scheme not in ("tcp", "ipc") or not rest:
        raise LinkError(f"{side}: address {address!r}: expected tcp://host:port or ipc://path")
    if scheme == "ipc":
        return
    host, colon, port = rest.rpartition(":")
    if colon and (not host or (side == "robot" and "*" in (host, port))):
        raise LinkError(f"{side}: address {address!r} does not say where the learner is: write tcp://host:port")
    if not colon or not (port == "*" or (port.isdecimal() and int(port) < 65536)):
        raise LinkError(f"{side}: address {address!r} has no port number: write tcp://host:port")


def require_protection(address: str, keys: Path | None, insecure: bool, side: str) -> None:
    """Raise LinkError unless there are keys, the address is loopback, or the user insists."""
    if keys is None and not insecure and not is_loopback(address):
        raise LinkError(
            f"{side}: {address} can be reached from other machines, and no keys were given. Make some with "
            "`robot-dreamer keys create` and pass --keys, or allow an open link with --insecure (anybody on the "
            "network could then feed the learner)."
        )


def protect_robot(socket: zmq.Socket[bytes], keys: RobotKeys) -> None:
    """Set CURVE options; must come before connect."""
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
    socket.curve_serverkey = keys.learner.encode()


def protect_learner(socket: zmq.Socket[bytes], keys: LearnerKeys) -> None:
    """Set CURVE options; must come before bind."""
    socket.curve_server = True
    socket.curve_secretkey = keys.secret.encode()
    socket.zap_domain = b"robot_dreamer"


class Gate:
    """Answers ZeroMQ's question whether the key of a new connection may come in (ZAP). Lives in the server's thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: LearnerKeys) -> None:
        self._keys = keys
        self.denied = 0
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer one question; call when `socket` is readable."""
        version, request, _domain, _address, _identity, mechanism, *credentials = self.socket.recv_multipart()
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and credentials else ""
        allowed = False
        try:
            allowed = key in self._keys.allowed()
        finally:  # whatever happens: a socket that has not answered takes no further question
            self.denied += not allowed
            status = [b"200", b"OK", key.encode()] if allowed else [b"400", b"key is not in the learner's list", b""]
            self.socket.send_multipart([version, request, *status, b""])


def key_of(frame: zmq.Frame) -> str:
    """The public key that a message came with; empty on an open link."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # no such property: the link is open
        return ""
