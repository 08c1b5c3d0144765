"""docs/foxglove_layout.json shows topics that the policy node has, and places every panel that it configures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LAYOUT = json.loads((Path(__file__).parents[2] / "docs/foxglove_layout.json").read_text(encoding="utf-8"))


def places(node: Any) -> list[str]:
    return [node] if isinstance(node, str) else [*places(node["first"]), *places(node["second"])]


def test_every_panel_is_placed_once() -> None:
    assert sorted(places(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_its_topics_are_those_of_the_policy_node() -> None:
    topics = set(re.findall(r'"(/[a-z_/]+)', json.dumps(LAYOUT["configById"])))
    assert topics == {"/policy/debug/image", "/policy/debug/state", "/diagnostics"}
