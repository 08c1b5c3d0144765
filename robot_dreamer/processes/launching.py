"""From the process table to ROS 2's launch; the launch files say only which arguments they offer.

Imports ROS 2's `launch` and `launch_ros`, so nothing but launch files may import it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction, Shutdown
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from robot_dreamer.processes.launch_arguments import ARGUMENTS, read_options
from robot_dreamer.processes.table import PACKAGE, Options, Process, processes
from robot_dreamer.settings.setting import refuse_unknown

# Seconds that a program has to save and flush before launch gets rough; launch's own 5 are too few for a checkpoint.
PATIENCE = {"sigterm_timeout": "20", "sigkill_timeout": "5"}
LEARNER = {"sigterm_timeout": "120"}  # whose checkpoint may be large; it is not known here whether it saves


def describe(
    offered: Iterable[str],
    check: Callable[[Options], None],
    required: Iterable[str] = (),
    settings: Mapping[str, str] | None = None,
) -> LaunchDescription:
    """What a launch file returns.

    The end of any program ends the launch: the learner's, because the training budget is spent; another's, because a
    robot without its policy node, or the reverse, is no use, and a robot must not begin to move again by itself. The
    launch's status is 0 only if the learner has finished, or a person stopped it.

    Args:
      offered: arguments with a default.
      check: raises ValueError before any program starts if one of them would refuse what it is told.
      required: arguments without one.
      settings: other defaults, and values of arguments that are not offered.
    """
    settings, offered, required = settings or {}, list(offered), list(required)
    defaults = {name: settings.get(name, entry.shown) for name, entry in ARGUMENTS.items()}
    declared = [DeclareLaunchArgument(name, description=ARGUMENTS[name].description) for name in required]
    declared += [
        DeclareLaunchArgument(name, default_value=defaults[name], description=ARGUMENTS[name].description)
        for name in offered
    ]

    def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if _is_named_by_hand(context):
            names = [text.partition(":=")[0] for text in context.argv if ":=" in text]
            refuse_unknown(names, [*required, *offered], "argument")
        given = {name: context.launch_configurations[name] for name in (*required, *offered)}
        options = read_options(defaults | given)
        check(options)
        return [make_action(process) for process in processes(options)]

    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def make_action(process: Process) -> ExecuteProcess:
    """The launch action that starts one program of the table."""
    if process.parameters is None:
        return ExecuteProcess(
            cmd=[ExecutableInPackage(process.executable, PACKAGE), *process.arguments],
            name=process.name,
            output="screen",
            on_exit=_end_launch(process),
            **PATIENCE | LEARNER,
        )
    # Without its type launch would make a number of a text that looks like one.
    parameters = {name: ParameterValue(value, value_type=type(value)) for name, value in process.parameters.items()}
    return Node(
        package=PACKAGE,
        executable=process.executable,
        namespace=process.namespace or None,
        remappings=list(process.remappings.items()),
        parameters=[parameters, *([process.params_file] if process.params_file else [])],
        output="screen",
        on_exit=_end_launch(process),
        **PATIENCE,
    )


def _is_named_by_hand(context: LaunchContext) -> bool:
    """Whether the arguments of the command line are for our file, and not for another one that includes it."""
    path = getattr(context.locals, "current_launch_file_path", None)
    return path is not None and Path(path).name in {Path(word).name for word in sys.argv}


def _end_launch(process: Process) -> Callable[..., list[LaunchDescriptionEntity]]:
    def on_exit(event: object, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        status = event.returncode  # type: ignore[attr-defined]
        if process.finishes and status == 0:
            reason = f"{process.name} has finished"
            return [LogInfo(msg=f"{reason}: stopping the rest"), Shutdown(reason=reason)]
        # A Shutdown carries no status; after an exception launch says its message, stops the rest, and ends with 1.
        raise RuntimeError(f"{process.name} ended with exit status {status}: stopping the rest")

    return on_exit
