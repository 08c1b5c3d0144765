"""What an update leaves for the replay: latents and whether it counts, on their way from the device.

On a GPU the copies are queued behind the update and awaited when the next one is queued too, so that the GPU never
waits for the CPU. The next update is then drawn before these latents are in the replay, as in the published code.
"""

from __future__ import annotations

import torch

from robot_dreamer.learner.replay import Replay, Window
from robot_dreamer.learner.update_result import UpdateResult
from robot_dreamer.world_model.latent import LatentSpace


class WriteBack:
    """The result of one update; made right after it, on the stream that computes it.

    The next update may overwrite the result; what is needed of it is copied.
    """

    def __init__(self, window: Window, result: UpdateResult, latent: LatentSpace) -> None:
        self._window = window
        self._terms = list(result.losses)
        numbers = torch.stack([value.float() for value in (result.applied, *result.losses.values())])
        found = result.latents
        values = [] if found is None else [found.deter.float(), latent.pack(found.stoch)]
        self._numbers, *self._latents = (value.to("cpu", non_blocking=True) for value in (numbers, *values))
        self._arrived = torch.cuda.Event() if numbers.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def finish(self, replay: Replay) -> bool:
        """Wait for the update and put its latents into the replay; False, and nothing put, if it was skipped."""
        if self._arrived is not None:
            self._arrived.synchronize()
        if not self._numbers[0]:
            return False
        if self._latents:
            replay.write_latents(self._window, *self._latents)
        return True

    def not_finite(self) -> list[str]:
        """Names of the loss terms that are not finite; after `finish`."""
        return [name for name, value in zip(self._terms, self._numbers[1:], strict=True) if not torch.isfinite(value)]
