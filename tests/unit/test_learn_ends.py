"""What the learner's command comes to, whatever its link does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_dreamer.cli import main
from robot_dreamer.learner.run import Run
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.server import LinkServer


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
    words = ["learn", "--robot", "cartpole", "--preset", "nano", "--set", "device=cpu", "--insecure"]
    assert main([*words, "--bind", "tcp://127.0.0.1:*", "--logdir", str(tmp_path)]) == (0 if finishes else 1)
