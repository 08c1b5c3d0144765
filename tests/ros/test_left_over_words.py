"""Words of a node's command line in front of --ros-args: settings that a person believes in and nobody reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")

from ros_nodes import policy_node
from sim import node


@pytest.mark.parametrize("main", [policy_node.main, node.main], ids=["policy_node", "sim_robot"])
@pytest.mark.parametrize("words", [["robot:=so101"], ["-p", "bundle:=best.bundle"], ["--help"]], ids=" ".join)
def test_they_are_refused_by_name(
    main: Callable[[list[str]], int], words: list[str], ros_domain: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--ros-args", "-p", "clock:=lockstep"]) == 2
    error = capfd.readouterr().err
    assert f"nobody reads '{' '.join(words)}'" in error and "such as --ros-args -p robot:=" in error
