"""Which store a checkpoint was made with: it names the row that was read last, so that another store is known by it.

Latents and marks of a checkpoint belong to rows by their place in the store. In one that was restored from an older
copy, or from which damaged rows are gone, other rows stand there, and a resumed run would take the ones for the others.
"""

from __future__ import annotations

from pathlib import Path

from robot_dreamer.learner.checkpoint import CheckpointError
from robot_dreamer.learner.checkpoint_meta import CheckpointMeta
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord


def name_of(row: StepRecord | None) -> str:
    """robot/boot/sequence; "" of none."""
    return "" if row is None else f"{row.robot}/{row.boot}/{row.sequence}"


def require_same_store(store: ExperienceStore, meta: CheckpointMeta, logdir: Path) -> None:
    """Raise CheckpointError unless the store has, at the checkpoint's cursor, the row that was read there.

    A checkpoint of an older version names none: then there must be one. Raises LinkError if the disk fails.
    """
    if not meta.cursor:
        return
    rows = [row for _, row in store.read(meta.cursor - 1, 1)]
    found = name_of(rows[0] if rows else None)
    if found and meta.last_row in ("", found):
        return
    named = f" ({meta.last_row})" if meta.last_row else ""
    there = f"that row is {found}" if found else f"there are {store.count()} rows"
    raise CheckpointError(
        f"the checkpoint in {logdir} has seen row {meta.cursor}{named} of its experience store, and in {store.path} "
        f"{there}: it is not the one that was trained with. Put that one back, or learn from these rows in another log "
        f"directory: `robot-dreamer data salvage {store.path} --output NEW/{store.path.name}`, then "
        f"`robot-dreamer learn --logdir NEW --init-from {logdir} …`"
    )
