"""What the learner's command comes to, whatever its link does meanwhile and whoever ends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from robot_dreamer.cli import main
from robot_dreamer.learner.run import Run
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.server import LinkServer

LEARN = ["learn", "--robot", "cartpole", "--preset", "nano", "--set", "device=cpu", "--insecure"]
LEARN += ["--bind", "tcp://127.0.0.1:*"]


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("finishes", [True, False])
def test_a_link_that_died_changes_no_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finishes: bool) -> None:
    """2 would say: told something impossible, do not start it again."""
    stop = LinkServer.stop

    def died(server: LinkServer, timeout: float = 10.0) -> None:
        stop(server, timeout)
        raise LinkError("link stopped: ZMQError")

    def loop(run: Run) -> bool:
        if not finishes:
            raise LinkError("link stopped: ZMQError")
        return True

    monkeypatch.setattr(LinkServer, "stop", died)
    monkeypatch.setattr(Run, "loop", loop)
    assert main([*LEARN, "--logdir", str(tmp_path)]) == (0 if finishes else 1)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_run_save_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    """Also that of a terminal that was closed: whoever learns by ssh loses no more than the connection."""
    told: list[bool] = []

    def loop(run: Run) -> bool:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # twice: the first one seemed to do nothing
        told.append(run._stop.is_set())
        return False

    monkeypatch.setattr(Run, "loop", loop)
    caplog.set_level("INFO")
    before = signal.signal(number, signal.default_int_handler)  # also where the tests run under nohup
    try:
        assert main([*LEARN, "--logdir", str(tmp_path)]) == 0
    finally:
        signal.signal(number, before)
    assert told == [True] and "stopped at 0 updates" in caplog.text
