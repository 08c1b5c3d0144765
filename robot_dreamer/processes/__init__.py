"""The programs of a run and those who start them: the process table, the supervisor, ROS 2's launch."""

from robot_dreamer.processes.table import (
    CLOCKS,
    LOCAL,
    LOCAL_ADDRESS,
    PACKAGE,
    Options,
    Process,
    connectable,
    processes,
)

__all__ = ["CLOCKS", "LOCAL", "LOCAL_ADDRESS", "PACKAGE", "Options", "Process", "connectable", "processes"]
