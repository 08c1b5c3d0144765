"""Bad networks for the tests of the link: one that damages messages, one that damages the TCP connection."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

import zmq


@dataclass(frozen=True)
class Faults:
    """Probabilities per message, and a delay that reorders. Seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    truncate: float = 0.0
    flip: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0


class MessageProxy:
    """Sits between robots and learner and damages single ZeroMQ messages, both ways; one connection per robot."""

    def __init__(self, target: str, faults: Faults, seed: int = 0) -> None:
        self.faults, self.done = faults, Counter()
        self._rng = random.Random(seed)
        self._context = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._front.linger = 0
        self._front.bind("tcp://127.0.0.1:*")
        self.address = self._front.getsockopt_string(zmq.LAST_ENDPOINT)
        self._target = target
        self._backs: dict[bytes, zmq.Socket] = {}
        self._waiting: list[tuple[float, int, zmq.Socket, list[bytes]]] = []
        self._serial = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._context.destroy(linger=0)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._front, zmq.POLLIN)
        while not self._stopping.is_set():
            for ready, _ in poller.poll(2):
                if ready is self._front:
                    identity, *frames = self._front.recv_multipart()
                    if identity not in self._backs:
                        back = self._context.socket(zmq.DEALER)
                        back.linger = 0
                        back.connect(self._target)
                        self._backs[identity] = back
                        poller.register(back, zmq.POLLIN)
                    self._pass_on(self._backs[identity], [], frames)
                else:
                    identity = next(i for i, back in self._backs.items() if back is ready)
                    self._pass_on(self._front, [identity], ready.recv_multipart())
            now = time.monotonic()
            due = sorted(x for x in self._waiting if x[0] <= now)
            self._waiting = [x for x in self._waiting if x[0] > now]
            for _, _, out, parts in due:
                try:
                    out.send_multipart(parts, zmq.NOBLOCK)
                except zmq.Again:
                    self.done["full"] += 1

    def _pass_on(self, out: zmq.Socket, head: list[bytes], frames: list[bytes]) -> None:
        faults, rng = self.faults, self._rng
        if rng.random() < faults.drop:
            self.done["drop"] += 1
            return
        body = bytearray(frames[-1])
        if body and rng.random() < faults.truncate:
            del body[rng.randrange(len(body)) :]
            self.done["truncate"] += 1
        if body and rng.random() < faults.flip:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
            self.done["flip"] += 1
        copies = 1
        if rng.random() < faults.duplicate:
            copies = 2
            self.done["duplicate"] += 1
        for _ in range(copies):
            self._serial += 1
            due = time.monotonic() + max(0.0, faults.delay + rng.uniform(-1, 1) * faults.jitter)
            self._waiting.append((due, self._serial, out, [*head, *frames[:-1], bytes(body)]))


class TcpProxy:
    """Forwards bytes to a port, and can cut connections or go half-open: accept, hold, and pass nothing on."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.frozen = threading.Event()
        self.delay = 0.0  # seconds that bytes take, each way
        self._stopping = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.seen = bytearray()  # what went over the wire, for tests of secrecy
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, as a pulled cable with a reset does."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):  # closed by its peer already
                    end.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._stopping.set()
        self._listener.close()
        self.frozen.clear()
        self.cut()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # stopped
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.seen += data
                time.sleep(self.delay)
                while self.frozen.is_set():  # bytes of a connection that froze arrive late or never
                    time.sleep(0.01)
                sink.sendall(data)
        except OSError:
            pass  # cut
        finally:
            for end in (source, sink):
                end.close()
