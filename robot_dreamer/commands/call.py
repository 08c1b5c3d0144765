"""`robot-dreamer call`: a word to a policy node, such as `stand`. Status 0: done; 1: refused, or no answer."""

from __future__ import annotations

import argparse

from robot_dreamer.option_types import number

WORDS = {
    "policy": "the policy shall act",
    "stand": "go to the safe pose and stay there",
    "passive": "send nothing",
    "e_stop": "stop, and latch a fault; no replacement of an emergency stop",
    "clear_fault": "clear what is latched",
    "forget_e_stop": "a button that went away pressed is not",
    "take_over": "a person commands",
    "hand_back": "and no more",
    "success": "the running episode has succeeded",
    "failure": "the running episode has failed",
    "end_episode": "the running episode ends, as by a time limit",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    told = "; ".join(f"{word}: {text}" for word, text in WORDS.items())
    parser.add_argument("word", choices=WORDS, metavar="word", help=told)
    parser.add_argument("--node", default="/policy", help="name of the policy node, with its namespace")
    parser.add_argument("--timeout", type=number(0.1, 600), default=5.0, help="seconds to wait for its answer")


def run(args: argparse.Namespace) -> int:
    """Ask, and print what the node says."""
    from ros_nodes.ask import ask

    done, answer = ask(args.word, args.node, args.timeout)
    print(answer)
    return 0 if done else 1
