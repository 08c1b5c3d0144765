"""What an update leaves for the replay: latents and whether it counts, on their way from the device.

On a GPU the copies are queued behind the update and awaited when the next one is queued too, so that the GPU never
waits for the CPU. The next update is then drawn before these latents are in the replay, as in the published code.
"""

from __future__ import annotations

import torch

from robot_dreamer.learner.replay import Replay, Window
from robot_dreamer.world_model.rssm import Latents


class WriteBack:
    """The result of one update; made right after it, on the stream that computes it.

    The next update may overwrite `latents` and `metrics`; what is needed of them is copied.
    """

    def __init__(self, window: Window, latents: Latents, metrics: dict[str, torch.Tensor]) -> None:
        self._window = window
        self._terms = [name for name in metrics if name.startswith("loss/")]
        numbers = torch.stack([metrics[name].float() for name in ("optimizer/applied", *self._terms)])
        classes = latents.stoch.argmax(-1).to(torch.uint8)
        values = (latents.deter.float(), classes, numbers)
        self._deter, self._classes, self._numbers = (value.to("cpu", non_blocking=True) for value in values)
        self._arrived = torch.cuda.Event() if latents.deter.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def finish(self, replay: Replay) -> bool:
        """Wait for the update and put its latents into the replay; False, and nothing put, if it was skipped."""
        if self._arrived is not None:
            self._arrived.synchronize()
        if not self._numbers[0]:
            return False
        replay.write_latents(self._window, self._deter, self._classes)
        return True

    def not_finite(self) -> list[str]:
        """Names of the loss terms that are not finite; after `finish`."""
        return [name for name, value in zip(self._terms, self._numbers[1:], strict=True) if not torch.isfinite(value)]
