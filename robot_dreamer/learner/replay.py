"""Replay: uniform over all windows of the streams that the robots lived, with stored latents.

A window is `length` consecutive rows of one stream (one robot, one boot) and may cross episode borders: is_first
inside it resets the state. Its first row only supplies the start state (the stored latent) and the first previous
action; the other rows are trained. After an update the fresh latents overwrite the stored ones. Every `length` rows of
a stream the window just completed is queued and trained once before uniform sampling (the online queue). Sources:
DreamerV3 (Hafner et al. 2023), replay context and online queue of its 2024 code.

Rows live in one ring in order of arrival, so the oldest row of all is evicted first and the rows that follow a living
row in its stream are alive too.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.starts import Starts
from robot_dreamer.record import INTERVENTION, StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.latent import LatentSpace

_log = logging.getLogger(__name__)
_NONE = -1
_MOST = 8  # times that a window in which a person acted is drawn as often as another


def _columns(spec: RobotSpec, deter: int, latent: LatentSpace) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and dtype of everything that is kept of a row."""
    flags = ("is_first", "is_last", "is_terminal", "demonstrated")
    columns: dict[str, tuple[tuple[int, ...], Any]] = {name: ((), np.bool_) for name in flags}
    columns |= {"reward": ((), np.float32), "deter": ((deter,), np.float32), "stoch": latent.stored}
    columns |= {f"observation/{o.name}": (o.shape, o.dtype) for o in spec.observations}
    return columns | {f"action/{a.name}": (a.shape, a.dtype) for a in spec.actions}


def row_bytes(spec: RobotSpec, deter: int, latent: LatentSpace) -> int:
    """Memory that a row takes in a replay."""
    own = 7 * np.dtype(np.int64).itemsize + 4 + 1  # serial, successor, twice start and place, episode; boot; changed
    return own + sum(
        math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in _columns(spec, deter, latent).values()
    )


class Window(NamedTuple):
    """Which rows a batch came from, for the write-back of latents: (B, T) each, context row excluded."""

    slots: NDArray[np.int64]
    serials: NDArray[np.int64]


class Replay:
    """FIFO store of rows in memory.

    Args:
      spec: names, shapes and dtypes of a row.
      capacity: rows kept.
      length: rows in a window, context row included (65 in DreamerV3).
      deter: D.
      latent: says what is stored of a latent.
      seed: of the sampler.
      online_queue: train each fresh window once before uniform sampling.
      share: of a batch: windows in which a person acted in a trained row, as far as there are any and none of them is
        drawn more than eight times as often as another.
    """

    def __init__(
        self,
        spec: RobotSpec,
        capacity: int,
        length: int,
        deter: int,
        latent: LatentSpace,
        seed: int = 0,
        online_queue: bool = True,
        share: float = 0.0,
    ) -> None:
        if capacity < length:
            raise ValueError(f"replay capacity {capacity} is smaller than one window of {length} rows")
        self.capacity, self.length, self._latent = capacity, length, latent
        self._rng = np.random.default_rng(seed)
        self._online_queue, self._share = online_queue, share
        columns = _columns(spec, deter, latent)
        # np.zeros maps memory lazily: it counts only once it is used
        self._rows = {name: np.zeros((capacity, *shape), dtype) for name, (shape, dtype) in columns.items()}
        self.latents = {name: self._rows[name] for name in ("deter", "stoch")}
        """Stored latents by slot, (capacity, D) and (capacity, *latent.stored)."""
        self.changed = np.zeros(capacity, np.bool_)
        """By slot: whether its latents changed; set here, cleared by who has saved them."""
        self._serial = np.full(capacity, _NONE, np.int64)
        self._next = np.full(capacity, _NONE, np.int64)
        self._starts = Starts(capacity)  # of whole windows
        self._demonstrated = Starts(capacity)  # of those in which a person acted
        self._last_demonstrated: dict[str, int] = {}  # serial, by stream
        self._boots: dict[tuple[str, str], int] = {}  # (robot, boot) -> its number here
        self._boot = np.full(capacity, _NONE, np.int32)
        self._episode = np.full(capacity, _NONE, np.int64)
        self._added = 0
        self._tails: dict[str, deque[tuple[int, int]]] = {}  # the last `length` (slot, serial) of each stream
        self._since_queued: dict[str, int] = {}
        self._fresh: deque[tuple[int, int]] = deque(maxlen=max(1, capacity // length))
        self._lost = False  # whether latents that are not finite were warned of
        self.observation_names = [o.name for o in spec.observations]
        self.action_names = [a.name for a in spec.actions]

    @property
    def added(self) -> int:
        """Rows ever added."""
        return self._added

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    @property
    def windows(self) -> int:
        """Windows that can be sampled now."""
        return len(self._starts)

    def rows_of(self, stream: str) -> int:
        """Rows at the end of a stream that the next window can begin with, at most `length`."""
        return len(self._tails.get(stream, ()))

    def add(self, stream: str, row: StepRecord, deter: NDArray[np.float32], stoch: NDArray[Any]) -> None:
        """Append one row to its stream. deter (D,), stoch as `LatentSpace.pack` gives it: its posterior latent."""
        slot = self._added % self.capacity
        if self._added >= self.capacity:
            self._starts.remove(slot)
            self._demonstrated.remove(slot)
        for name in self.observation_names:
            self._rows[f"observation/{name}"][slot] = row.observation[name]
        for name in self.action_names:
            self._rows[f"action/{name}"][slot] = row.action[name]
        for name in ("reward", "is_first", "is_last", "is_terminal"):
            self._rows[name][slot] = getattr(row, name)
        self._rows["demonstrated"][slot] = row.policy_version == INTERVENTION
        if row.policy_version == INTERVENTION:
            self._last_demonstrated[stream] = self._added
        self._put_latents(np.array([slot]), deter[None], stoch[None])
        self._boot[slot] = self._boots.setdefault((row.robot, row.boot), len(self._boots))
        self._episode[slot] = row.episode
        self._serial[slot] = self._added
        self._next[slot] = _NONE
        self._added += 1
        self._extend(stream, slot)

    def _extend(self, stream: str, slot: int) -> None:
        tail = self._tails.setdefault(stream, deque(maxlen=self.length))
        while tail and self._serial[tail[0][0]] != tail[0][1]:  # evicted, oldest first
            tail.popleft()
        if tail:
            self._next[tail[-1][0]] = slot
        tail.append((slot, int(self._serial[slot])))
        self._since_queued[stream] = self._since_queued.get(stream, 0) + 1
        if len(tail) < self.length:
            return
        start, serial = tail[0]
        self._starts.add(start)
        if self._last_demonstrated.get(stream, _NONE) > serial:
            self._demonstrated.add(start)
        if self._online_queue and self._since_queued[stream] >= self.length:
            self._since_queued[stream] = 0
            self._fresh.append((start, serial))

    def discard(self, robot: str, boot: str, episode: int) -> int:
        """Never sample a window with a row of this episode again; returns how many rows that are.

        They keep their slots until they are evicted; what follows them in a stream begins anew.
        """
        number = self._boots.get((robot, boot), _NONE)
        dead = np.flatnonzero((self._boot == number) & (self._episode == episode) & (self._serial != _NONE))
        before = np.full(self.capacity, _NONE, np.int64)
        linked = np.flatnonzero(self._next != _NONE)
        before[self._next[linked]] = linked
        self._serial[dead] = self._next[dead] = _NONE
        into = dead  # where a window begins that reaches a dead row: at most `length` - 1 rows before it
        for _ in range(self.length):
            for slot in into:
                self._starts.remove(int(slot))
                self._demonstrated.remove(int(slot))
            into = before[into]
            into = into[(into != _NONE) & (self._serial[into] != _NONE)]
            self._next[into[self._serial[self._next[into]] == _NONE]] = _NONE
        for stream, tail in self._tails.items():
            alive = [self._serial[slot] == serial for slot, serial in tail]
            kept = list(tail)[len(alive) - alive[::-1].index(False) :] if False in alive else tail
            self._tails[stream] = deque(kept, maxlen=self.length)
        self._fresh = deque((x for x in self._fresh if x[0] in self._starts), maxlen=self._fresh.maxlen)
        return len(dead)

    def last(self, stream: str) -> tuple[NDArray[np.float32], NDArray[Any], dict[str, NDArray[Any]]] | None:
        """Stored latent and action of a stream's newest row: where the filter goes on. None: no such row."""
        tail = self._tails.get(stream)
        if not tail or self._serial[tail[-1][0]] != tail[-1][1]:
            return None
        slot = tail[-1][0]
        action = {name: self._rows[f"action/{name}"][slot] for name in self.action_names}
        return self._rows["deter"][slot], self._rows["stoch"][slot], action

    def sample(self, size: int) -> tuple[Batch, Window]:
        """Draw `size` windows, fresh ones first, and last those in which a person acted.

        Raises:
          ValueError: fewer rows than one window; says how many are missing.
        """
        if not self._starts:
            longest = max((len(t) for t in self._tails.values()), default=0)
            raise ValueError(
                f"the replay holds no window of {self.length} rows yet: {self.length - longest} rows are missing"
            )
        starts = self._starts.draw(self._rng, size)
        shown = round(size * min(self._share, _MOST * len(self._demonstrated) / len(self._starts)))
        if shown:
            starts[size - shown :] = self._demonstrated.draw(self._rng, shown)
        for i in range(size - shown):
            while self._fresh:
                slot, serial = self._fresh.popleft()
                if self._serial[slot] == serial and slot in self._starts:  # else it was shorter before a resume
                    starts[i] = slot
                    break
        slots = self._follow(starts, self.length)
        return self._gather(slots), Window(slots[:, 1:], self._serial[slots[:, 1:]])

    def newest(self, size: int, length: int) -> Batch | None:
        """The last `size` windows, or fewer, of `length` rows that do not overlap; None if there is none.

        Draws no random number.
        """
        alive = np.flatnonzero(self._serial != _NONE)
        slots, enough = alive[np.argsort(self._serial[alive])[::-1]], 2 * (size + 1) * length
        windows = self._follow(slots[: enough * self._boots_among(slots[:enough])], length)
        chosen: list[NDArray[np.int64]] = []
        taken = np.zeros(self.capacity, np.bool_)
        for window in windows[(windows != _NONE).all(1)]:
            if len(chosen) < size and not taken[window].any():
                taken[window] = True
                chosen.append(window)
        return self._gather(np.stack(chosen)) if chosen else None

    def newest_episode(self, limit: int) -> Batch | None:
        """The last episode, (1, T), that has ended after at most `limit` rows; None if there is none."""
        first = np.flatnonzero(self._rows["is_first"] & (self._serial != _NONE))
        first = first[np.argsort(self._serial[first])[::-1]]
        for slot in first[: 10 * self._boots_among(first[:limit])]:  # an unlimited one is not looked for
            slots = [int(slot)]
            while not self._rows["is_last"][slots[-1]] and self._next[slots[-1]] != _NONE and len(slots) < limit:
                slots.append(int(self._next[slots[-1]]))
            if self._rows["is_last"][slots[-1]] and len(slots) > 1 and not self._rows["is_first"][slots[1:]].any():
                return self._gather(np.array([slots], np.int64))
        return None

    def _boots_among(self, slots: NDArray[np.int64]) -> int:
        """How many robots act at once: their rows lie between each other, and of each there must be enough."""
        return len(np.unique(self._boot[slots]))

    def _follow(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Slots (n, length) of the rows that follow the slots (n) in their streams; _NONE where a stream ends."""
        slots = np.empty((len(starts), length), np.int64)
        slots[:, 0] = starts
        for t in range(1, length):
            before = slots[:, t - 1]
            slots[:, t] = np.where(before == _NONE, _NONE, self._next[before])
        return slots

    def _gather(self, slots: NDArray[np.int64]) -> Batch:
        def take(name: str) -> torch.Tensor:
            return torch.from_numpy(self._rows[name][slots])

        is_first, is_last = take("is_first"), take("is_last")
        # an episode that was cut off has no last row: the one before the next first row ends it
        is_last[:, :-1] |= is_first[:, 1:]
        return Batch(
            observation={k: take(f"observation/{k}") for k in self.observation_names},
            action={k: take(f"action/{k}") for k in self.action_names},
            reward=take("reward"),
            is_first=is_first,
            is_last=is_last,
            is_terminal=take("is_terminal"),
            deter=torch.from_numpy(self._rows["deter"][slots[:, 0]]),
            stoch=self._latent.unpack(torch.from_numpy(self._rows["stoch"][slots[:, 0]])),
            demonstrated=take("demonstrated"),
        )

    def write_latents(self, window: Window, deter: torch.Tensor, stoch: torch.Tensor) -> None:
        """Overwrite the stored latents of rows that are still there. deter (B, T, D), stoch (B, T, ...) packed."""
        alive = self._serial[window.slots] == window.serials
        slots = window.slots[alive]
        self._put_latents(slots, deter.numpy()[alive], stoch.numpy()[alive])

    def _put_latents(self, slots: NDArray[np.int64], deter: NDArray[np.float32], stoch: NDArray[Any]) -> None:
        """Latents (n, ...) of slots (n); zeros for one that is not finite, which all filtering behind it would keep."""
        finite = np.isfinite(deter).all(-1) & np.isfinite(stoch).all(-1)
        if not finite.all():
            if not self._lost:
                _log.warning("the latents of %d rows are not finite: zeros are stored for such", (~finite).sum())
            self._lost = True
            deter, stoch = (np.where(finite[:, None], x, np.zeros_like(x)) for x in (deter, stoch))
        self._rows["deter"][slots] = deter
        self._rows["stoch"][slots] = stoch
        self.changed[slots] = True

    def state(self) -> dict[str, Any]:
        """The sampler's, as JSON; the rows come back from the experience store, in the same order, `latents` apart."""
        fresh: Sequence[tuple[int, int]] = list(self._fresh)
        return {"added": self._added, "rng": self._rng.bit_generator.state, "fresh": fresh, "capacity": self.capacity}

    def load_state(self, meta: dict[str, Any]) -> None:
        """Put the sampler's state back after the same rows were added again.

        Raises:
          ValueError: other rows were added than the state speaks of, or they lie elsewhere: rows have been evicted, and
            the capacity was another one.
        """
        before, capacity = meta["capacity"], self.capacity
        if before != capacity and meta["added"] > min(before, capacity):
            raise ValueError(
                f"the replay held {before} rows, now it is to hold {capacity}, and older rows have been evicted: "
                f"resume with replay_capacity={before}, or in another log directory"
            )
        if meta["added"] != self._added:
            raise ValueError(f"the replay state speaks of {meta['added']} rows, the store gave back {self._added}")
        self._rng.bit_generator.state = meta["rng"]
        self._fresh = deque(((int(a), int(b)) for a, b in meta["fresh"]), maxlen=self._fresh.maxlen)
