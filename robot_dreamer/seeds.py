"""Seeds of those who act in a run that is started more than once."""

from __future__ import annotations

import numpy as np


def seed_of_start(seed: int, lived: int) -> int:
    """`seed` where nothing was lived before; else another one below 2^31, so that a later start repeats nothing.

    Args:
      lived: what rises with the rows of the run, over all its starts.
    """
    return int(np.random.SeedSequence((seed, lived)).generate_state(1)[0] >> 1) if lived else seed
