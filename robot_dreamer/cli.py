"""The `robot-dreamer` command: one sub-command per thing that a person does."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

import robot_dreamer
from robot_dreamer.missing import advice
from robot_dreamer.option_types import parsed

INTERRUPTED = 130
UNREAD = 141  # as a program ends that whoever read its output has left
# name -> (module with add_arguments(parser) and run(args) -> exit status, help); imported only when called, so that
# the robot's commands work where torch is not installed
COMMANDS = {
    "train": (
        "robot_dreamer.commands.train",
        "train: the whole split with a simulated robot, or an environment in this process",
    ),
    "check": (
        "robot_dreamer.commands.check",
        "GO or NO-GO: a RobotSpec, its bundle, and the robot itself, live or in a bag, before a motor moves",
    ),
    "learn": ("robot_dreamer.commands.learn", "the learner alone, for a workstation; the robot is elsewhere"),
    "sweep": ("robot_dreamer.commands.sweep", "one training command with several seeds, and their common result"),
    "relearn": ("robot_dreamer.commands.relearn", "another task from a run's experience, without new robot time"),
    "evaluate": ("sim.evaluate", "run a bundle on the simulated robot with the onboard code and print its returns"),
    "gate": (
        "sim.gate.command",
        "try a bundle under all that varies, comes late and pushes; exit status 0 if it passed",
    ),
    "sim": ("sim.play", "look at a simulated robot: still, at random or under a bundle; its speed, a film, a viewer"),
    "report": (
        "robot_dreamer.commands.report",
        "write the page about a run: report.html in its log directory; or serve it",
    ),
    "card": ("robot_dreamer.commands.card", "write the model card of a run, as the Hugging Face hub shows it"),
    "watch": ("robot_dreamer.commands.watch", "the live panel of a run that goes on elsewhere on this machine"),
    "keys": ("robot_dreamer.link.keys", "create, list and revoke the keys of robots and learner"),
    "policy": (
        "robot_dreamer.commands.policy",
        "push, pull and list signed bundles: a folder, an HTTP server, the Hugging Face hub",
    ),
    "call": (
        "robot_dreamer.commands.call",
        "a word to a policy node: policy, stand, passive, e_stop, clear_fault, take_over, success, …",
    ),
    "pilot": (
        "robot_dreamer.commands.pilot",
        "a console for whoever stands beside the robot: state, health, and a key for each word to the policy node",
    ),
    "flown": (
        "robot_dreamer.commands.flown",
        "which bundles have flown on a robot; let one fly again",
    ),
    "link-status": ("robot_dreamer.commands.link_status", "show the robots that a learner knows"),
    "data": ("robot_dreamer.commands.data", "list what a store holds; export it to a bag, import bags into it"),
    "latency": ("robot_dreamer.commands.latency", "how late a robot's sensors are, by recordings, for its simulation"),
    "list": ("robot_dreamer.commands.list", "list the known robots and presets"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Errors of the user's making are one message on stderr and status 2."""
    # An interrupt amid imports would end in a traceback of theirs; nothing has begun yet that could be lost.
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED)) if in_main_thread() else None
    try:
        args = _parse(list(sys.argv[1:] if argv is None else argv))
    except ModuleNotFoundError as error:
        return _explain("", error)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for chatty in ("onnx_ir", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        status = int(args.run(args))
        sys.stdout.flush()  # or whether somebody reads it would be seen too late
        return status
    except KeyboardInterrupt:
        return INTERRUPTED  # during set-up; later every command has a handler of its own
    except ModuleNotFoundError as error:
        return _explain(args.command, error)
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return UNREAD
        if not _is_explained(error):
            raise
        from robot_dreamer.environment import EnvironmentFailed  # not at the start, which it would make longer

        if isinstance(error, EnvironmentFailed) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)  # of code that is not ours
        print(f"robot-dreamer {args.command}: {error}", file=sys.stderr)
        return 2


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The chosen command's options, with its `run`."""
    parser = argparse.ArgumentParser(prog="robot-dreamer", description=robot_dreamer.__doc__)
    parser.add_argument("--version", action="version", version=f"robot_dreamer {robot_dreamer.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    chosen = next((a for a in argv if not a.startswith("-")), None)
    for name, (module_name, text) in COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parsed(parser, argv)


def _nobody_reads() -> bool:
    """Whether stdout is a pipe whose reader has enough, as `head` has; what is left goes nowhere then."""
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)  # asks for errors only
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return gone


def in_main_thread() -> bool:
    """Whether signal handlers may be set here."""
    return threading.current_thread() is threading.main_thread()


def _explain(command: str, error: ModuleNotFoundError) -> int:
    """Say which extra brings a missing package. Raises what is none of ours to bring."""
    text = advice(error)
    if not text:
        raise error
    print(f"robot-dreamer {command}: {text}".replace(" :", ":"), file=sys.stderr)
    return 2


def _is_explained(error: Exception) -> bool:
    """Whether the message alone helps: bad values and files, and the errors that this project defines."""
    ours = type(error).__module__.partition(".")[0] in ("robot_dreamer", "sim", "export", "ros_nodes")
    return ours or isinstance(error, ValueError | OSError)


if __name__ == "__main__":
    sys.exit(main())
