"""Who stands for a bundle: an Ed25519 signature (RFC 8032) over its sha256, name and number.

A file `*.signed`, checked before anything in it is parsed:

    offset  size  meaning
    0       64    signature of b"robot_dreamer policy 1\\n" and the rest
    64      -     JSON: `Statement`
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from robot_dreamer.bounds import LARGEST, Count
from robot_dreamer.durable import sha256_of
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.messages import Hash, Id
from robot_dreamer.policies.signers import SignatureError, SigningKey, TrustedSigners, read_trusted

LARGEST_SIGNED, LARGEST_TEXT = 4096, 128  # bytes of such a file, characters of a text in it
_CONTEXT = b"robot_dreamer policy 1\n"  # what is signed here can be taken for nothing else
_SIZE = 64
_Text = Annotated[str, Meta(max_length=LARGEST_TEXT)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a signer says of a bundle.

    Attributes:
      name: under which it is kept.
      sequence: of all bundles of that name, from 1; a later one replaces an earlier one.
      sha256, size: of the bundle's file.
      robot, spec_hash, algorithm, training_step: from its manifest, so that a list need not read bundles; a long
        algorithm without its end.
      created: of the signature; UTC, ISO 8601.
    """

    format: Literal[1] = 1
    name: Id
    sequence: Annotated[int, Meta(ge=1, le=LARGEST)]
    sha256: Hash
    size: Count
    robot: _Text
    spec_hash: Hash
    algorithm: _Text
    training_step: Count
    created: _Text


def sign(statement: Statement, key: SigningKey) -> bytes:
    """The content of a `.signed` file. Raises SignatureError for a statement that nobody could read again."""
    content = msgspec.json.encode(statement)
    _parse(content)
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.secret)).sign(_CONTEXT + content) + content


def verified(signed: bytes, trusted: TrustedSigners) -> tuple[str, Statement]:
    """Signer and statement of a `.signed` file. Nothing is parsed unless a trusted key has signed it.

    Raises SignatureError: not signed, or by a key that is unknown here or was revoked.
    """
    if not _SIZE < len(signed) <= LARGEST_SIGNED:
        raise SignatureError(f"expected a signature and a statement, found {len(signed)} bytes")
    signer = _signer(signed, trusted.keys)
    if signer:
        return signer, _parse(signed[_SIZE:])
    revoked = _signer(signed, trusted.revoked)
    if revoked:
        raise SignatureError(f"signed by {revoked!r}, whose key was revoked in {trusted.place}")
    names = ", ".join(trusted.keys) or "nobody"
    raise SignatureError(
        f"the signature is not of anybody who is trusted in {trusted.place} ({names}), or what it signs was changed"
    )


def signature_path(bundle: Path) -> Path:
    """Where the signature of a pulled bundle is: beside it."""
    return bundle.with_name(f"{bundle.name}.signed")


def require_signed(bundle: Path, trusted: Path) -> tuple[str, Statement]:
    """Signer and statement of a bundle that was pulled. Raises SignatureError unless it is signed and unchanged."""
    path = signature_path(bundle)
    try:
        with path.open("rb") as file:
            signed = file.read(LARGEST_SIGNED + 1)
        found = sha256_of(bundle)
    except OSError as error:
        advice = "robot-dreamer policy pull writes it"
        raise SignatureError(f"bundle {bundle}: {error.filename}: {error.strerror}; {advice}") from error
    try:
        signer, statement = verified(signed, read_trusted(trusted))
    except SignatureError as error:
        raise SignatureError(f"bundle {bundle}: {path}: {error}") from error
    if statement.sha256 != found:
        text = f"its signature is on other bytes: expected sha256 {statement.sha256}, found {found}"
        raise SignatureError(f"bundle {bundle}: {path}: {text}")
    return signer, statement


def _signer(signed: bytes, keys: dict[str, str]) -> str:
    for name, public in keys.items():
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signed[:_SIZE], _CONTEXT + signed[_SIZE:])
        except InvalidSignature:
            continue
        return name
    return ""


def _parse(content: bytes) -> Statement:
    try:
        return decode_json(content, Statement)
    except msgspec.MsgspecError as error:
        raise SignatureError(f"the statement is not one of this version: {error}") from error
