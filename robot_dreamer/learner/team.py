"""Several processes that train one agent together, as `torchrun` starts them.

Process 0 leads: it alone has the experience, the checkpoints and the bundles. For each update it hands every process
an equal part of the batch; the processes average their gradients, so that one update equals that of a single process
with the whole batch. All parameters live in one flat buffer and change in one step, so one all_reduce of the flat
gradient does what DistributedDataParallel would do with hooks on a backward pass of its own.

The followers wait for orders. The leader gives one at least every `IDLE` seconds, so that a leader that is gone is
noticed: the wait ends with an error after `PATIENCE` seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.rssm import RSSM, Latents

IDLE, PATIENCE = 10.0, 600.0  # seconds
_STOP, _IDLE, _UPDATE = range(3)


class TeamError(RuntimeError):
    """The other processes are gone."""


class Team:
    """This process's place among the processes of a run; needs torch.distributed's default group."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size, self.device = dist.get_rank(), dist.get_world_size(), device
        self._last_order = 0.0

    @staticmethod
    def join(device: torch.device) -> Team | None:
        """The team that torchrun's environment variables speak of; None without torchrun, or if it started one process.

        Raises RuntimeError if the other processes cannot be reached.
        """
        if Team.announced() == 1:
            return None
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=PATIENCE))
        return Team(device)

    @staticmethod
    def announced() -> int:
        """How many processes torchrun's environment variables speak of; 1 without torchrun."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @staticmethod
    def leave() -> None:
        """Close the connections to the other processes, if there are any."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    # What all processes do within an update.

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Mean over the processes of each tensor; one exchange for all of them."""
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.div_(self.size).split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def join_rows(self, part: Tensor) -> Tensor:
        """The parts of all processes, one after the other along the first dimension."""
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each tensor with the leader's."""
        for tensor in tensors:
            dist.broadcast(tensor, 0)

    # Orders of the leader.

    def order_update(self) -> None:
        """Leader: the followers now call `Agent.update` with the part that they get."""
        self._order(_UPDATE)

    def order_idle(self) -> None:
        """Leader: call it often while no update is due; tells the followers now and then that it is alive."""
        if time.monotonic() - self._last_order >= IDLE:
            self._order(_IDLE)

    def order_stop(self) -> None:
        """Leader: the run is over."""
        self._order(_STOP)

    def _order(self, what: int) -> None:
        dist.broadcast(torch.tensor(what, device=self.device), 0)
        self._last_order = time.monotonic()

    def wait_for_update(self) -> bool:
        """Follower: True when an update begins, False at the end. Raises TeamError if the leader is gone."""
        while True:
            order = torch.zeros((), dtype=torch.int64, device=self.device)
            try:
                dist.broadcast(order, 0)
            except RuntimeError as error:
                reason = str(error).strip().partition("\n")[0]
                text = f"process 0, which leads, is gone ({reason}); start all processes again to resume"
                raise TeamError(text) from error
            if order != _IDLE:
                return bool(order == _UPDATE)

    def deal(self, batch: Batch | None, part: Batch) -> Batch:
        """Split the leader's batch; fills and returns `part`, see `empty_part`. Followers give None."""
        whole = _tensors(batch) if batch is not None else None
        for i, mine in enumerate(_tensors(part)):
            pieces = None if whole is None else list(_as_bytes(whole[i].to(self.device)).contiguous().chunk(self.size))
            dist.scatter(_as_bytes(mine), pieces, 0)
        return part

    def empty_part(self, spec: RobotSpec, config: Config, rssm: RSSM) -> Batch:
        """Room for the rows of a batch that one process gets. Raises ValueError if they cannot be split evenly."""
        if config.batch_size % self.size:
            raise ValueError(f"batch_size {config.batch_size} must be a multiple of the {self.size} processes")
        rows, length = config.batch_size // self.size, config.batch_length + 1

        def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros((rows, *shape), dtype=dtype, device=self.device)

        flags = [room((length,), torch.bool) for _ in range(4)]
        return Batch(
            {o.name: room((length, *o.shape), getattr(torch, o.dtype)) for o in spec.observations},
            {a.name: room((length, *a.shape), torch.int64 if a.discrete else torch.float32) for a in spec.actions},
            room((length,), torch.float32),
            flags[0],
            flags[1],
            flags[2],
            room((rssm.deter,), torch.float32),
            room(rssm.latent.shape, torch.float32),
            flags[3],
        )

    def collect(self, latents: Latents) -> Latents:
        """The latents of the whole batch, on all processes."""
        return Latents(self.join_rows(latents.deter), self.join_rows(latents.stoch))


def _tensors(batch: Batch) -> list[Tensor]:
    found: list[Tensor] = []
    for value in batch:
        found += [value[name] for name in sorted(value)] if isinstance(value, dict) else [value]
    return found


def _as_bytes(tensor: Tensor) -> Tensor:
    """Not every backend sends booleans."""
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
