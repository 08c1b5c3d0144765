"""The identity of rows that are made of a recording: the same ones again are known, and add nothing.

Rows count up from the recording's beginning. Made by another spec, which takes more of its moments or fewer, the same
numbers are other moments: taken into one store, the ones would go on in the middle of the others.
"""

from __future__ import annotations

import hashlib

import msgspec

from robot_dreamer.data.errors import DataError
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.safety import Safety


def boot_of(kind: str, content: str, spec: RobotSpec, *choices: object) -> str:
    """The boot id of a recording's rows.

    Args:
      kind: of recording, a word.
      content: hash of what was recorded, hex.
      spec: what rows are made by; of it all but description, simulation and safety.
      choices: what else decides how they are made.
    """
    read = msgspec.structs.replace(spec, description="", simulation={}, safety=Safety())
    how = hashlib.sha256(repr((read.to_json(), *choices)).encode()).hexdigest()
    return f"{kind}-{content[:24]}-{how[:8]}"


def require_made_alike(store: ExperienceStore, robot: str, boot: str) -> None:
    """Raise DataError if the store has rows of the same recording and robot that were made in another way."""
    recording = boot.rpartition("-")[0]
    others = [known for known in store.boots(robot) if known.startswith(recording) and known != boot]
    if others:
        raise DataError(
            f"{store.path} has rows of this recording already, made by another spec or --map (robot {robot}, boot "
            f"{others[0]}): choose another --store; in this one they would be there twice"
        )
