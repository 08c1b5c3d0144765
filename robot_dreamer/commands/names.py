"""Names of ROS 2 on a command line."""

from __future__ import annotations

from robot_dreamer.spec.check import require_topic


def require_namespace(text: str) -> None:
    """Raise ValueError unless ROS 2 takes `--namespace text`."""
    if text != "/":
        try:
            require_topic(f"/{text.removeprefix('/')}")
        except ValueError as error:
            raise ValueError(f"--namespace: {error}; such as /arm1") from error
