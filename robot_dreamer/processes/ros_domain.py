"""A ROS 2 domain of our own for a simulation, so that two runs on a machine, or a real robot, never hear each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from robot_dreamer.processes.locks import lock

DOMAINS = range(1, 102)  # 0 is everybody's default; above 101 the ports may be taken on Linux


class NoDomainError(RuntimeError):
    """All ROS 2 domains of this machine are in use."""


@contextmanager
def own_domain() -> Iterator[dict[str, str]]:
    """Environment variables for programs that shall hear only each other; the domain is ours inside the `with`.

    A ROS_DOMAIN_ID or discovery range that the user has set is kept.

    Raises:
      NoDomainError: none is free.
    """
    reach = {"ROS_AUTOMATIC_DISCOVERY_RANGE": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")}
    if os.environ.get("ROS_DOMAIN_ID"):
        yield reach | {"ROS_DOMAIN_ID": os.environ["ROS_DOMAIN_ID"]}
        return
    domain, held = _lock_free_domain()
    try:
        yield reach | {"ROS_DOMAIN_ID": str(domain)}
    finally:
        os.close(held)


def _lock_free_domain() -> tuple[int, int]:
    """(domain, descriptor whose lock holds it until closed)."""
    for domain in DOMAINS:
        held = lock(f"ros-domain-{domain}")
        if held is not None:
            return domain, held
    raise NoDomainError(
        f"no ROS 2 domain from {DOMAINS[0]} to {DOMAINS[-1]} is free (locks in {tempfile.gettempdir()}); choose one: "
        "ROS_DOMAIN_ID=..."
    )
