"""For all tests: one thread per library, and a ROS 2 domain of their own, which no robot hears."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hypothesis import settings

from robot_dreamer.processes.ros_domain import own_domain

# of the files whose tests start no program; a quarter of a minute and more
LONGEST = (
    "test_dreamers_learn.py",
    "test_shipped_robots.py",
    "test_export_bundle.py",
)
_stack = ExitStack()
settings.register_profile("patient", settings.default, deadline=None)  # no test judges a time
settings.load_profile("patient")

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read when a library is imported, so not in a fixture


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module, and so rclpy, is imported. Programs that tests start inherit it."""
    for variable in (
        "ROS_DOMAIN_ID",
        "ROS_AUTOMATIC_DISCOVERY_RANGE",
        "RMW_IMPLEMENTATION",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
    ):
        os.environ.pop(variable, None)
    os.environ.update(_stack.enter_context(own_domain()))
    os.environ["ROS_LOG_DIR"] = _stack.enter_context(tempfile.TemporaryDirectory(prefix="robot_dreamer-ros-log-"))


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporters share the traces of tests/traced.py."""
    from tests.traced import traced

    monkeypatch.setattr("export.exporter.trace", traced)


@pytest.fixture
def proved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are proved in this process alone: the other one, of which tests/unit/test_onboard_proof.py is, takes a
    second to start, and more on a busy machine, to which it yields."""
    from tests.slots import Proved

    stand_in = SimpleNamespace(Popen=Proved, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr("robot_dreamer.onboard.proof.subprocess", stand_in)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two workers run the tests: those that start programs and wait for them one after the other, in one worker;
    of the rest each file in one. What takes longest begins first, so that no worker ends long before the other."""
    for item in items:
        folder = item.path.parent.name
        group = "programs" if folder in ("ros", "e2e") else f"{folder}/{item.path.name}"
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Programs, then the files of LONGEST in their order, then the others in theirs."""
    if item.path.parent.name in ("ros", "e2e"):
        return 0
    return 1 + (LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Gives the domain back."""
    _stack.close()
