"""The proven bundle of a run: not the last one, nor that of one lucky episode.

Rule: after each finished episode of the robots the last WINDOW returns give a lower bound of their mean (95 %,
Student's t, one-sided); the bundle that flew the newest of these episodes is the proven one if its bound is the highest
so far. These are episodes of training, with the noise that actions have there, so it is a ranking and no promise.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from robot_dreamer.bundle_names import PROVEN, bundle_path, proven_bundles
from robot_dreamer.durable import replace_file, replacing
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.record import RANDOM_POLICY

WINDOW = 10  # episodes
CONFIDENCE = 0.95
FILE = "proven.json"

_log = logging.getLogger(__name__)


class Proof(msgspec.Struct, frozen=True):
    """Why a bundle is the proven one: lower bound and mean of the returns of `episodes` episodes."""

    version: int
    low: float
    mean: float
    episodes: int = WINDOW


def lower_bound(returns: list[float]) -> float:
    """Of the mean of at least two values, one-sided."""
    from scipy import special  # here: who starts or begins a run does so without it

    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    return float(np.mean(returns) - special.stdtrit(len(returns) - 1, CONFIDENCE) * error)


class Proven:
    """Keeps a copy of the proven bundle beside the last ones, and says in proven.json why it is.

    A restarted learner tells it of old episodes again: a bundle whose file is gone is not looked at a second time.

    Args:
      logdir, bundles: of the run, and its folder of bundles.
    """

    def __init__(self, logdir: Path, bundles: Path) -> None:
        self._file, self._bundles = logdir / FILE, bundles
        self._returns: deque[float] = deque(maxlen=WINDOW)
        self.best = self._read()

    def add(self, version: int, total: float) -> None:
        """An episode of this return has ended under the bundle of this version."""
        if version <= RANDOM_POLICY:  # no bundle's: a person's, or chance
            self._returns.clear()
            return
        self._returns.append(total)
        if len(self._returns) < WINDOW:
            return
        low, found = lower_bound(list(self._returns)), bundle_path(self._bundles, version)
        if (self.best is None or low > self.best.low) and found.exists():
            self._keep(found, Proof(version, low, float(np.mean(self._returns))))

    def _keep(self, bundle: Path, proof: Proof) -> None:
        before, kept = proven_bundles(self._bundles), bundle_path(self._bundles, proof.version, PROVEN)
        if kept not in before:
            with bundle.open("rb") as flown, replacing(kept) as copy:
                shutil.copyfileobj(flown, copy)
        self.best = proof
        replace_file(self._file, msgspec.json.encode(proof))
        for old in before:  # last: a crash leaves one too many, not one too few
            if old != kept:
                old.unlink()

    def _read(self) -> Proof | None:
        """What an earlier start has found, if its bundle is still there."""
        if not self._file.exists():
            return None
        try:
            proof = decode_json(self._file.read_bytes(), Proof)
        except msgspec.DecodeError as error:
            _log.warning("%s cannot be read (%s): which bundle is the proven one is found anew", self._file, error)
            return None
        return proof if bundle_path(self._bundles, proof.version, PROVEN).exists() else None
