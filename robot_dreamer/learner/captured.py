"""A whole update as one CUDA graph: one launch from the host instead of thousands.

Written to PyTorch's rules for capture on machines without a GPU: `tests/unit/test_captured.py` checks what can be
checked there (state stays in its memory, nothing waits for the device), not the recording itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.config import RunConfig
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.memory import is_out_of_memory
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.update_result import UpdateResult

_WARM_UP = 3  # updates before the recording, in which libraries choose kernels and allocate their workspace


class CapturedUpdate:
    """Runs `update` as it is a few times, then records it and replays the recording with each new batch.

    `update` must keep its state in the same memory, and must neither wait for the device nor draw random numbers. If
    recording fails, one warning says why and `update` runs as it is from then on; so does a batch of another shape.
    """

    def __init__(self, update: Callable[[Batch, UpdateNoise], UpdateResult]) -> None:
        self._update = update
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._result: UpdateResult
        self._values: Tensor  # applied, losses and metrics: one copy instead of dozens

    def __call__(self, batch: Batch, noise: UpdateNoise) -> UpdateResult:
        """One update; the tensors it returns are the caller's own."""
        self._calls += 1
        if self._calls <= _WARM_UP:
            return self._beside(batch, noise)
        if self._calls == _WARM_UP + 1:
            self._record(batch, noise)
        given = list(_tensors((batch, noise)))
        if self._graph is None or [x.shape for x in given] != [x.shape for x in self._inputs]:
            return self._update(batch, noise)
        for own, new in zip(self._inputs, given, strict=True):
            own.copy_(new, non_blocking=True)
        self._graph.replay()
        applied, *values = self._values.clone().unbind()
        losses = dict(zip(self._result.losses, values, strict=False))
        metrics = dict(zip(self._result.metrics, values[len(losses) :], strict=True))
        return UpdateResult(_copy(self._result.latents), applied > 0, losses, metrics)

    def _beside(self, batch: Batch, noise: UpdateNoise) -> UpdateResult:
        """On a stream of its own, as a recording needs it before."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = self._update(batch, noise)
        current.wait_stream(stream)
        return result

    def _record(self, batch: Batch, noise: UpdateNoise) -> None:
        own_batch, own_noise = _copy((batch, noise))
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._result = result = self._update(own_batch, own_noise)
                numbers = (result.applied, *result.losses.values(), *result.metrics.values())
                self._values = torch.stack([number.float() for number in numbers])
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"the update could not be recorded as a CUDA graph, continuing without "
                f"(cuda_graph=false avoids the try): {reason}",
                stacklevel=3,
            )
            return
        self._inputs = list(_tensors((own_batch, own_noise)))
        self._graph = graph


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(branch)


def _copy(tree: Any) -> Any:
    """The same nested named tuples and dictionaries with tensors of their own."""
    if isinstance(tree, Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {name: _copy(branch) for name, branch in tree.items()}
    branches = [_copy(branch) for branch in tree]
    return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)


def is_captured(run: RunConfig, device: torch.device, team: Team | None) -> bool:
    """Whether a whole update becomes a CUDA graph; warns of settings that a team can not follow.

    Raises ValueError where the graph is asked for and the device has none.
    """
    # Processes of a team talk to each other in the middle of an update.
    if team is not None and run.compile:
        warnings.warn("compile=true under torchrun leaves losses over all processes' rows plain", stacklevel=3)
    if team is not None and run.cuda_graph:
        warnings.warn("cuda_graph=true has no effect under torchrun", stacklevel=3)
    elif run.cuda_graph and device.type != "cuda":
        raise ValueError(f"cuda_graph: expected a CUDA device, found {device}; set cuda_graph=false")
    return run.cuda_graph and team is None
