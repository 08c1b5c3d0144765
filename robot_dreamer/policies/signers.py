"""Keys of those who sign policies, and a robot's list of whom it trusts.

`robot-dreamer policy create-key alice --keys DIR` writes, where policies are pushed from:

    DIR/alice.json          the secret key (mode 600)
    DIR/alice.public.json   what robots need: `robot-dreamer policy trust alice.public.json` there

A robot's list is a folder: one file NAME.json per signer; `policy revoke` moves it to `revoked/`, so that what that key
has signed is refused by name. Deleting it does the same without the name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from robot_dreamer.durable import replace_file
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.messages import Id

REVOKED = "revoked"  # folder in the list
_Key = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # 32 bytes, hex
_S = TypeVar("_S", bound=msgspec.Struct)


class SignatureError(ValueError):
    """A policy is not signed as it must be, or a key is not there; the message says which and what to do."""


class SigningKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signer's pair."""

    signer: Id
    public: _Key
    secret: _Key


class PublicKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is handed to robots."""

    signer: Id
    public: _Key


@dataclass(frozen=True)
class TrustedSigners:
    """Public keys (hex) by name; `place` says where the list is, for messages."""

    place: str
    keys: dict[str, str]
    revoked: dict[str, str] = field(default_factory=dict)


def read_trusted(folder: Path) -> TrustedSigners:
    """A robot's list. Raises SignatureError if an entry is broken: nobody is trusted by half a list."""
    return TrustedSigners(str(folder), _keys(folder), _keys(folder / REVOKED))


def create_key(folder: Path, signer: str) -> Path:
    """Make a signer's pair; returns the public file. Raises SignatureError for an impossible name or one in use."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.generate()
    pair = (secret.public_key().public_bytes_raw().hex(), secret.private_bytes_raw().hex())
    try:
        key = msgspec.convert({"signer": signer, "public": pair[0], "secret": pair[1]}, SigningKey)
    except msgspec.ValidationError as error:
        raise SignatureError(f"signer {signer!r}: use letters, digits, '.', '_', '-', at most 64") from error
    path, public = folder / f"{signer}.json", folder / f"{signer}.public.json"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SignatureError(f"{path} is there already: choose another name for the signer") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(key) + b"\n")
    replace_file(public, msgspec.json.encode(PublicKey(signer, key.public)) + b"\n")
    return public


def load_key(path: Path) -> SigningKey:
    """A signer's own key. Raises SignatureError, also if others can read it."""
    key = _read(path, SigningKey)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SignatureError(f"{path} holds a secret key, and others can read it (mode {mode:o}): chmod 600 {path}")
    return key


def trust(folder: Path, public: Path) -> str:
    """Add a signer to a robot's list; returns the name. Raises SignatureError: known by another key, or revoked."""
    key, known = _read(public, PublicKey), read_trusted(folder)
    for name, revoked in known.revoked.items():
        if name == key.signer or revoked == key.public:
            path = folder / REVOKED / f"{name}.json"
            raise SignatureError(f"signer {name!r} was revoked; delete {path} if that shall be undone")
    if known.keys.get(key.signer, key.public) != key.public:
        raise SignatureError(f"signer {key.signer!r} is trusted with another key; `robot-dreamer policy revoke` first")
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{key.signer}.json", msgspec.json.encode(key) + b"\n")
    return key.signer


def revoke(folder: Path, signer: str) -> None:
    """Trust a signer no longer. Raises SignatureError if it is not on the list."""
    trusted = read_trusted(folder)
    if signer not in trusted.keys:
        raise SignatureError(f"signer {signer!r} is not trusted anyway; trusted: {', '.join(trusted.keys) or 'none'}")
    (folder / REVOKED).mkdir(exist_ok=True)
    (folder / f"{signer}.json").replace(folder / REVOKED / f"{signer}.json")


def _keys(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        key = _read(path, PublicKey)
        if path.name != f"{key.signer}.json":
            raise SignatureError(f"{path}: expected the file name {key.signer}.json for signer {key.signer!r}")
        found[key.signer] = key.public
    return found


def _read(path: Path, kind: type[_S]) -> _S:
    try:
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        raise SignatureError(
            f"cannot read key file {path}: {error.strerror}; `robot-dreamer policy create-key` makes keys"
        ) from error
    except msgspec.MsgspecError as error:
        raise SignatureError(f"{path} is not a key file of the expected kind: {error}") from error
