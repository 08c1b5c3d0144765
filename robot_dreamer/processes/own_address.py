"""An address for a run's own learner, so that runs that begin together do not want the same one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from robot_dreamer.processes.locks import lock
from robot_dreamer.settings.learner import LOCAL_ADDRESS

_FIRST = int(LOCAL_ADDRESS.rpartition(":")[2])
PORTS = range(_FIRST, _FIRST + 200)  # below those that the system gives to whoever asks for any


class NoPortError(RuntimeError):
    """All our ports of this machine are in use."""


@contextmanager
def own_address() -> Iterator[str]:
    """tcp://address:port on loopback that no other run of this machine takes inside the `with`; the usual one if free.

    Between the look and the learner that binds it lie seconds, so the port is held by a lock too.

    Raises:
      NoPortError: none is free.
    """
    for port in PORTS:
        held = lock(f"port-{port}")
        if held is None:
            continue
        try:
            if _is_free(port):
                yield f"tcp://127.0.0.1:{port}"
                return
        finally:
            os.close(held)
    raise NoPortError(f"no port from {PORTS[0]} to {PORTS[-1]} is free; choose one: --bind tcp://127.0.0.1:PORT")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
