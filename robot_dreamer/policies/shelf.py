"""Push, pull and list signed bundles.

At a place:

    index                     the names there are, one a line; a hint, signed by nobody
    NAME/newest.signed        statement on the newest bundle of that name
    NAME/00000007.signed      the same on each bundle
    NAME/00000007.zip         the bundle

A puller writes down the highest sequence that it has seen of each name, in `pulled/` of its list of trusted signers: an
older statement, however well it is signed, is not taken for the newest again.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from robot_dreamer.durable import replace_file, replacing, sha256_of
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.messages import Id
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.policies.places import NoPlace, NotThere, Place
from robot_dreamer.policies.signature import LARGEST_SIGNED, LARGEST_TEXT, Statement, sign, signature_path, verified
from robot_dreamer.policies.signers import SignatureError, SigningKey, TrustedSigners, read_trusted

INDEX, NEWEST, SEEN = "index", "newest", "pulled/newest.json"
LARGEST_INDEX = 1 << 20  # bytes
LARGEST_BUNDLE = 3 << 30  # bytes
_BLOCK = 1 << 20


class Signed(NamedTuple):
    """A statement, who made it, and the bytes that were signed."""

    signer: str
    statement: Statement
    content: bytes


def push(bundle: Path, place: Place, name: str, key: SigningKey, others: TrustedSigners | None = None) -> Statement:
    """Sign a bundle as the next of its name and put it there.

    others: who else signs under that name.

    Raises BundleError: not a bundle; SignatureError: impossible name, or the newest is of somebody else; PlaceError.
    """
    _require_name(name)
    read = read_bundle(bundle, None)
    mine = TrustedSigners("--key and --trusted", {**(others.keys if others else {}), key.signer: key.public})
    statement = Statement(
        name=name,
        sequence=_free_sequence(place, name, mine),
        sha256=sha256_of(bundle),
        size=bundle.stat().st_size,
        robot=read.spec.name,
        spec_hash=read.spec.hash,
        algorithm=_shortened(read.manifest.algorithm),
        training_step=read.manifest.training_step,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    signed = sign(statement, key)
    try:
        known = sorted({*names(place), name})
    except NoPlace:
        known = [name]
    place.put(
        {_path(name, statement.sequence, "zip"): bundle, _path(name, statement.sequence, "signed"): signed},
        {f"{name}/{NEWEST}.signed": signed, INDEX: "".join(f"{x}\n" for x in known).encode()},
    )
    return statement


def pull(place: Place, name: str, output: Path, trusted: Path, sequence: int | None = None) -> Signed:
    """Fetch a bundle, all or nothing, and its signature beside it.

    Args:
      trusted: folder of the signers that this robot trusts.
      sequence: of an older one that a person asks for; default: the newest.

    Raises:
      SignatureError: not signed by a trusted key, other bytes than were signed, or older than one that was pulled.
      PlaceError: it is not there.
    """
    _require_name(name)
    signed = stated(place, name, read_trusted(trusted), sequence)
    statement, seen = signed.statement, _seen(trusted)
    known = seen.get(name, 0)
    if sequence is None and statement.sequence < known:
        raise SignatureError(
            f"{place}: the newest {name!r} there is {statement.sequence} of {statement.created}, but {known} was "
            f"pulled before: somebody shows an old one. If it shall be that one: --sequence {statement.sequence}"
        )
    if statement.size > LARGEST_BUNDLE:
        found = f"its statement says {statement.size}"
        raise SignatureError(f"{place}: {name}: expected at most {LARGEST_BUNDLE} bytes, {found}")
    with replacing(output) as file, place.open(_path(name, statement.sequence, "zip")) as source:
        _copy(source, file, statement)
    replace_file(signature_path(output), signed.content)
    if statement.sequence > known:
        (trusted / SEEN).parent.mkdir(parents=True, exist_ok=True)
        replace_file(trusted / SEEN, msgspec.json.encode(seen | {name: statement.sequence}) + b"\n")
    return signed


def stated(place: Place, name: str, trusted: TrustedSigners, sequence: int | None = None) -> Signed:
    """The statement on a bundle, by default the newest of the name. Raises NotThere, SignatureError, PlaceError."""
    path = _path(name, sequence, "signed") if sequence else f"{name}/{NEWEST}.signed"
    content = _read(place, path, LARGEST_SIGNED)
    try:
        signer, statement = verified(content, trusted)
    except SignatureError as error:
        raise SignatureError(f"{place}: {path}: {error}") from error
    if statement.name != name or sequence not in (None, statement.sequence):
        found = f"{statement.name} {statement.sequence}"
        raise SignatureError(f"{place}: {path}: its statement is on another bundle, {found}")
    return Signed(signer, statement, content)


def names(place: Place) -> list[str]:
    """The names in the index; those that no name can be are left out. Raises NoPlace, SignatureError, PlaceError."""
    try:
        lines = _read(place, INDEX, LARGEST_INDEX).decode(errors="replace").splitlines()
    except NoPlace:
        raise
    except NotThere:
        return []
    return [line for line in lines if _is_name(line)]


def _shortened(text: str) -> str:
    """As a statement has room for it: a configuration is named with every `--set`; the bundle has the whole name."""
    return text if len(text) <= LARGEST_TEXT else f"{text[: LARGEST_TEXT - 3]}..."


def _free_sequence(place: Place, name: str, mine: TrustedSigners) -> int:
    """Behind the newest; and behind what a push that was cut off has left."""
    try:
        sequence = stated(place, name, mine).statement.sequence + 1
    except NotThere:
        sequence = 1
    while True:
        try:
            with place.open(_path(name, sequence, "zip")):
                sequence += 1
        except NotThere:
            return sequence


def _read(place: Place, path: str, limit: int) -> bytes:
    with place.open(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise SignatureError(f"{place}: {path}: expected at most {limit} bytes")
    return content


def _copy(source: BinaryIO, file: BinaryIO, statement: Statement) -> None:
    """Raises SignatureError unless the bytes are those that were signed; reads none beyond."""
    digest, left = hashlib.sha256(), statement.size
    while left and (block := source.read(min(_BLOCK, left))):
        digest.update(block)
        file.write(block)
        left -= len(block)
    found = digest.hexdigest()
    if left or source.read(1) or found != statement.sha256:
        wanted = f"{statement.size} bytes with sha256 {statement.sha256}"
        raise SignatureError(
            f"{statement.name} {statement.sequence}: not what was signed: expected {wanted}, found others"
        )


def _seen(trusted: Path) -> dict[str, int]:
    path = trusted / SEEN
    try:
        return decode_json(path.read_bytes(), dict[Id, int])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        advice = "it says what was pulled before; delete it to begin anew"
        raise SignatureError(f"{path} cannot be read: {error}; {advice}") from error


def _path(name: str, sequence: int, ending: str) -> str:
    return f"{name}/{sequence:08d}.{ending}"


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Id)
    except msgspec.ValidationError:
        return False
    return True


def _require_name(name: str) -> None:
    if not _is_name(name):
        rule = "use letters, digits, '.', '_', '-', at most 64, with a letter or digit first"
        raise SignatureError(f"name {name!r} is not possible: {rule}")
