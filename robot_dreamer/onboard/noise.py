"""The source of all randomness of a policy on board."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.manifest import Port

_TINY = np.float32(1e-20)


class NoiseSource:
    """Noise from one seeded stream: the same seed gives the same actions.

    Args:
      deterministic: the action noise is zero (mean or most likely action); latents are sampled and plans are made all
        the same.
    """

    def __init__(self, seed: int, deterministic: bool = False) -> None:
        self.deterministic = deterministic
        self._generator = np.random.default_rng(seed)

    def fill(self, port: Port, discrete: bool, out: NDArray[np.float32]) -> None:
        """Draw the noise of one port into `out`. `discrete`: the action that an action_noise port belongs to is."""
        if self.deterministic and port.role == "action_noise":
            out.fill(0.0)
        elif (port.unit or ("normal" if port.role == "action_noise" and not discrete else "gumbel")) == "normal":
            self._generator.standard_normal(dtype=np.float32, out=out)
        else:  # Gumbel(0, 1) is -log of an exponential variate
            self._generator.standard_exponential(dtype=np.float32, out=out)
            np.maximum(out, _TINY, out=out)
            np.log(out, out=out)
            np.negative(out, out=out)
