"""Where the time of an eager DreamerV3 update goes: each part beside its own floor; see `step_time.py --parts`.

A part's floor is the time that its matrix products take here by themselves, each shape measured alone with its operands
in the cache; for parts without products the bytes that they must read and write, at the rate of a large copy. What lies
between the floor and the time is everything else: activations, norms, distributions, and starting operators at all. All
is processor time, which other work on the machine disturbs least; convolutions are not counted among the products.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from robot_dreamer.behavior.actor import ActorNetwork
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.objectives import dreamer_v3
from robot_dreamer.learner.optimizer import Optimizer
from robot_dreamer.learner.replay import Replay
from robot_dreamer.learner.write_back import WriteBack
from robot_dreamer.world_model.decoder import Decoder
from robot_dreamer.world_model.encoder import Encoder
from robot_dreamer.world_model.fast.filtering import FilterScan
from robot_dreamer.world_model.heads import BinaryHead, TwoHotHead

LOSSES, DERIVATIVES = "losses", "derivatives of the rest"
# name of the part, who has the function, its name, and within which part alone it counts as a part of its own
PLACES: list[tuple[str, Any, str, str]] = [
    ("sampling", Replay, "sample", ""),
    ("noise", Agent, "draw_noise", ""),
    ("filtering", dreamer_v3, "observe_batch", ""),
    ("encoder", Encoder, "forward", "filtering"),
    ("imagination", dreamer_v3, "imagine", ""),
    (LOSSES, dreamer_v3, "objective", ""),
    *(("heads", head, "forward", LOSSES) for head in (TwoHotHead, BinaryHead, ActorNetwork, Decoder)),
    (DERIVATIVES, torch.autograd, "grad", ""),
    ("derivative of filtering", FilterScan, "backward", DERIVATIVES),
    ("optimiser", Optimizer, "step", ""),
    ("slow critic", dreamer_v3, "move_towards", ""),
    ("write-back", WriteBack, "__init__", ""),
    ("write-back", WriteBack, "finish", ""),
]
REST = "rest"
Shape = tuple[str, tuple[tuple[int, ...], ...]]  # operator, shapes of its operands


@dataclass
class Part:
    """What one update does in a part."""

    operators: int = 0
    products: Counter[Shape] = field(default_factory=Counter)


class Parts:
    """Which part runs now, how long each took, and what it called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.called: dict[str, Part] = defaultdict(Part)
        self._stack = [REST]
        self._since = time.process_time()

    @property
    def now(self) -> str:
        """The innermost part."""
        return self._stack[-1]

    def turn(self, name: str | None) -> None:
        """Enter a part, or leave the present one; the time so far belongs to the one that ends here."""
        moment = time.process_time()
        self.seconds[self.now] += moment - self._since
        self._since = moment
        if name is None:
            self._stack.pop()
        else:
            self._stack.append(name)

    def timed(self, update: Callable[[], object]) -> dict[str, float]:
        """Seconds of each part of one call."""
        self.seconds.clear()
        self._since = time.process_time()
        self.turn(REST)
        update()
        self.turn(None)
        return dict(self.seconds)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, functions of `PLACES` are parts."""
        before = [(owner, name, vars(owner)[name]) for _, owner, name, _ in PLACES]
        try:
            for part, owner, name, within in PLACES:
                setattr(owner, name, self._wrapped(part, within, vars(owner)[name]))
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def _wrapped(self, part: str, within: str, function: Any) -> Any:
        plain = function.__func__ if isinstance(function, staticmethod) else function

        def run(*arguments: Any, **options: Any) -> Any:
            if within and self.now != within:
                return plain(*arguments, **options)
            self.turn(part)
            try:
                return plain(*arguments, **options)
            finally:
                self.turn(None)

        return staticmethod(run) if isinstance(function, staticmethod) else run


class Calls(TorchDispatchMode):
    """Counts operators and matrix products by part."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        part = self._parts.called[self._parts.now]
        part.operators += 1
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            operands = tuple(tuple(x.shape) for x in args if isinstance(x, Tensor))
            part.products[name, operands] += 1
        return func(*args, **(kwargs or {}))


PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "mm": torch.mm,
    "addmm": torch.addmm,
    "bmm": torch.bmm,
    "baddbmm": torch.baddbmm,
}


def parts_table(update: Callable[[], object], agent: Agent, rounds: int) -> str:
    """Times of the parts of `update`, medians over `rounds`, beside their floors, as text; on a CPU, eager."""
    parts = Parts()
    times: list[dict[str, float]] = []
    with parts.watched():
        for _ in range(rounds):
            times.append(parts.timed(update))
        with Calls(parts):
            update()
    floors = {name: products_floor(part.products) for name, part in parts.called.items()}
    floors |= bytes_floors(agent)
    names = [name for name in dict.fromkeys([*(place[0] for place in PLACES), REST]) if name in parts.called]
    median = {name: float(np.median([one[name] for one in times])) for name in names}
    lines = [f"{'part':26}{'ms':>8}{'share':>8}{'floor ms':>10}{'ms / floor':>12}{'operators':>11}"]
    for name in [*names, "all"]:
        chosen = names if name == "all" else [name]
        taken, floor = (1e3 * sum(values.get(n, 0.0) for n in chosen) for values in (median, floors))
        ratio = f"{taken / floor:.1f}" if floor > 0 else "–"
        share = taken / (1e3 * sum(median.values()))
        operators = sum(parts.called[n].operators for n in chosen)
        lines.append(f"{name:26}{taken:8.2f}{share:8.0%}{floor:10.2f}{ratio:>12}{operators:11}")
    return "\n".join(lines)


def products_floor(products: Counter[Shape]) -> float:
    """Seconds of all products, each shape alone."""
    return sum(count * alone(*shape) for shape, count in products.items())


def alone(name: str, shapes: tuple[tuple[int, ...], ...]) -> float:
    """Seconds of one product of these shapes, least of twenty."""
    operands = [torch.randn(shape) for shape in shapes]
    return least(lambda: PRODUCTS[name](*operands), 20)


def bytes_floors(agent: Agent) -> dict[str, float]:
    """Seconds for the least that parts without products must move through memory."""
    config, rssm, parameters = agent.config, agent.parts.world.rssm, agent.trained_parameters
    rows = config.batch_size * config.batch_length
    latent = rows * (4 * rssm.deter + np.prod(rssm.latent.stored[0]))
    slow = sum(x.numel() for x in agent.parts.modules["slow_critic"].parameters())
    moved = {
        "write-back": 2 * latent,
        "optimiser": 4
        * parameters
        * (4 + 3),  # reads parameters, gradient and two moments, writes all but the gradient
        "slow critic": 4 * slow * (2 + 1),
    }
    source = torch.randn(2**24)
    target = torch.empty_like(source)
    rate = 2 * source.numel() * 4 / least(lambda: target.copy_(source), 5)
    return {name: float(amount) / rate for name, amount in moved.items()}


def least(call: Callable[[], object], tries: int) -> float:
    """Seconds of the quickest of some calls."""
    seconds = []
    for _ in range(tries):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)
