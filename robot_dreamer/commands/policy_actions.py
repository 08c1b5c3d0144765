"""What `robot-dreamer policy` does."""

from __future__ import annotations

import argparse
import sys

from robot_dreamer.policies.places import PlaceError, place_of
from robot_dreamer.policies.shelf import names, pull, push, stated
from robot_dreamer.policies.signature import Statement
from robot_dreamer.policies.signers import SignatureError, create_key, load_key, read_trusted, revoke, trust


def push_one(args: argparse.Namespace) -> int:
    """Sign and put."""
    others = read_trusted(args.trusted) if args.trusted else None
    statement = push(args.bundle, place_of(args.place), args.name, load_key(args.key), others)
    print(f"{args.place}: {_told(statement)}")
    return 0


def pull_one(args: argparse.Namespace) -> int:
    """Fetch and check."""
    found = pull(place_of(args.place), args.name, args.output, args.trusted, args.sequence)
    print(f"{args.output}: {_told(found.statement)}, signed by {found.signer} on {found.statement.created}")
    print(f"next: robot-dreamer check ROBOT --bundle {args.output}")
    return 0


def show(args: argparse.Namespace) -> int:
    """One line per name; what nobody trusted has signed is named, and nothing of it is believed."""
    place, trusted, bad = place_of(args.place), read_trusted(args.trusted), 0
    known = names(place)
    if not known:
        print(f"{place}: no policies there", file=sys.stderr)
    for name in known:
        try:
            found = stated(place, name, trusted)
        except (SignatureError, PlaceError) as error:
            bad += 1
            print(f"{name}: refused: {error}", file=sys.stderr)
            continue
        print(f"{_told(found.statement)}, signed by {found.signer} on {found.statement.created}")
    return 1 if bad else 0


def create(args: argparse.Namespace) -> int:
    """Make keys."""
    public = create_key(args.keys, args.signer)
    print(f"secret, to push with: --key {args.keys / args.signer}.json")
    print(f"on each robot: robot-dreamer policy trust {public.name}   (copy {public} there)")
    return 0


def trust_one(args: argparse.Namespace) -> int:
    """Add to the list."""
    print(f"{args.trusted}: trusts {trust(args.trusted, args.public)}")
    return 0


def revoke_one(args: argparse.Namespace) -> int:
    """Take off the list."""
    revoke(args.trusted, args.signer)
    print(f"{args.trusted}: revoked {args.signer}; bundles that were pulled before stay where they are")
    return 0


def show_signers(args: argparse.Namespace) -> int:
    """Both lists."""
    found = read_trusted(args.trusted)
    for word, keys in (("trusted", found.keys), ("revoked", found.revoked)):
        for name, key in keys.items():
            print(f"{word}\t{name}\t{key}")
    return 0


def _told(statement: Statement) -> str:
    what = f"{statement.algorithm} for {statement.robot}, {statement.training_step} updates"
    return f"{statement.name} {statement.sequence}: {what}, {statement.size / 1e6:.1f} MB"
