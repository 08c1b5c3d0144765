"""`robot-dreamer call`: words to a policy node without ROS 2's command line."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from robot_dreamer.cli import main
from robot_dreamer.commands.call import WORDS
from ros_nodes.policy_node import PolicyNode


def called(stage: Any, *arguments: str) -> int:
    """The exit status; the node is spun meanwhile."""
    status: list[int] = []
    caller = threading.Thread(target=lambda: status.append(main(["call", *arguments, "--timeout", "20"])))
    caller.start()
    stage.until(lambda: not caller.is_alive(), "the end of the command")
    return status[0]


def test_words_reach_the_node_and_its_answer_the_person(
    make: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make(max_steps=10_000, max_age=30.0)  # a busy machine cuts no episode
    stage.until(lambda: stage.controller.running, "an episode")
    stage.components.takeover.on = True
    assert called(stage, "hand_back", "--node", "/policy/") == 0 and not stage.components.takeover.on
    assert (
        called(stage, "e_stop") == 0
        and "stopped" in capsys.readouterr().out
        and stage.controller.guard.fault is not None
    )
    stage.until(lambda: not stage.controller.running, "no episode")

    assert called(stage, "success") == 1 and "no episode is running" in capsys.readouterr().out


def test_nobody_there(ros_domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "stand", "--node", "/arm1/policy", "--timeout", "0.2"]) == 1
    assert "nobody offers /arm1/policy/stand within 0.2 s" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["call", "jump"])


def test_every_service_has_its_word(make: Callable[..., Any]) -> None:
    node: PolicyNode = make().node
    offered = {
        name.rpartition("/")[2]
        for name, kinds in node.get_service_names_and_types_by_node(node.get_name(), node.get_namespace())
        if "std_srvs" in kinds[0]
    }
    assert offered - {"e_stop"} == set(WORDS) - {"hand_back", "e_stop"}
    page = (Path(__file__).parents[2] / "docs" / "onboard.md").read_text()
    assert set(WORDS) - {"hand_back"} <= set(re.findall(r"`~/(\w+)`", page))
