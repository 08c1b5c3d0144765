"""The programs of a run and those who start them: the process table, the supervisor, ROS 2's launch."""

from robot_dreamer.processes.table import LOCAL, PACKAGE, Options, Process, connectable, processes

__all__ = ["LOCAL", "PACKAGE", "Options", "Process", "connectable", "processes"]
