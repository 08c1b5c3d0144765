"""`robot-dreamer policy`: signed bundles to and from a folder, an HTTP server or the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.bounds import LARGEST
from robot_dreamer.option_types import whole_number

_PLACE = "a folder, http(s)://… (GET and PUT), or hf://owner/name"
_TRUSTED = "folder of the signers who are trusted here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    push = actions.add_parser("push", help="sign a bundle as the next of its name, and put it there")
    push.add_argument("bundle", type=Path)
    push.add_argument("place", help=_PLACE)
    push.add_argument("--name", required=True, help="under which it is kept, e.g. arm-reach")
    push.add_argument("--key", type=Path, required=True, help="the signer's own key, from create-key")
    push.add_argument("--trusted", type=Path, help="folder of others who sign under that name")
    pull = actions.add_parser("pull", help="fetch a bundle whose signature is of a trusted signer")
    pull.add_argument("place", help=_PLACE)
    pull.add_argument("name")
    pull.add_argument("--output", type=Path, required=True, help="the bundle; its signature is written beside it")
    _add_trusted(pull)
    pull.add_argument("--sequence", type=whole_number(1, LARGEST), help="this one, and not the newest")
    show = actions.add_parser("list", help="the newest bundle of each name, and who has signed it")
    show.add_argument("place", help=_PLACE)
    _add_trusted(show)
    create = actions.add_parser("create-key", help="make a signer's pair of keys")
    create.add_argument("signer", help="name of the person or machine that signs")
    create.add_argument("--keys", type=Path, default=Path("signing_keys"), help="folder (%(default)s)")
    trust = actions.add_parser("trust", help="trust a signer here")
    trust.add_argument("public", type=Path, help="the signer's NAME.public.json")
    _add_trusted(trust)
    revoke = actions.add_parser("revoke", help="trust a signer no longer")
    revoke.add_argument("signer")
    _add_trusted(revoke)
    signers = actions.add_parser("signers", help="who is trusted here, and who was")
    _add_trusted(signers)


def run(args: argparse.Namespace) -> int:
    """Returns 0; of `list` 1 if a name's newest bundle is not signed by anybody who is trusted.

    Raises SignatureError, PlaceError, BundleError.
    """
    from robot_dreamer.commands import policy_actions

    actions = {
        "push": policy_actions.push_one,
        "pull": policy_actions.pull_one,
        "list": policy_actions.show,
        "create-key": policy_actions.create,
        "trust": policy_actions.trust_one,
        "revoke": policy_actions.revoke_one,
        "signers": policy_actions.show_signers,
    }
    return actions[args.action](args)


def _add_trusted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trusted", type=Path, default=Path("trusted_signers"), help=f"{_TRUSTED} (%(default)s)")
