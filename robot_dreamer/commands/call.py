"""`robot-dreamer call`: a word to a policy node, such as `stand`. Status 0: done; 1: refused, or no answer."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from robot_dreamer.option_types import number


class Word(NamedTuple):
    """What a person may say to a policy node.

    Attributes:
      key: of robot-dreamer pilot; a capital letter for what lets a robot act, or act again.
    """

    key: str
    text: str


WORDS = {
    "policy": Word("P", "the policy shall act"),
    "stand": Word("S", "go to the safe pose and stay there"),
    "passive": Word("x", "send nothing"),
    "e_stop": Word(" ", "stop, and latch a fault; no replacement of an emergency stop"),
    "clear_fault": Word("C", "clear what is latched"),
    "forget_e_stop": Word("F", "a button that went away pressed is not"),
    "take_over": Word("t", "a person commands"),
    "hand_back": Word("H", "and no more"),
    "success": Word("y", "the running episode has succeeded"),
    "failure": Word("n", "the running episode has failed"),
    "discard": Word("d", "the running episode, or the last one, must not be learned from"),
    "end_episode": Word("e", "the running episode ends, as by a time limit"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    told = "; ".join(f"{name}: {word.text}" for name, word in WORDS.items())
    parser.add_argument("word", choices=WORDS, metavar="word", help=told)
    parser.add_argument("--node", default="/policy", help="name of the policy node, with its namespace")
    parser.add_argument("--timeout", type=number(0.1, 600), default=5.0, help="seconds to wait for its answer")


def run(args: argparse.Namespace) -> int:
    """Ask, and print what the node says."""
    from ros_nodes.ask import ask

    done, answer = ask(args.word, args.node, args.timeout)
    print(answer)
    return 0 if done else 1
