"""C of World Models: a linear controller, and CMA-ES over its parameters (Ha & Schmidhuber 2018, sections 2.3 and 2.4).

    a = tanh([z, h] kernel + bias)          discrete actions: the class with the largest output

CMA-ES is the library `cma` (Hansen 2016, "The CMA evolution strategy: a tutorial") with its defaults: full covariance,
active update. The library's own stopping rules are not asked: under a noisy fitness they end a search that is not over.

Letters: N rows, P candidates, F inputs, O outputs, n = F O + O parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_dreamer.behavior.actor import noise_port
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.mdn import MemoryRSSM
from robot_dreamer.world_model.rssm import RSSM, Latents

# Of the library's object, what the next generation depends on; the rest is settings, logs and records of the best.
_MATRICES = ("C", "B")
_VECTORS = ("mean", "pc", "pc2", "ps", "D")
_NUMBERS = ("sigma", "countiter", "countevals", "count_tell", "last_update", "count_eigen", "_ps_updated_iteration")


class LinearController(nn.Module):
    """One linear layer from the state to all actions; starts at zero, as its evolution does. An `Actor`.

    Continuous: tanh, in [-1, 1]. Discrete: one output for each class, and the class with the largest one. (The original
    cuts one output into three classes, at -1/3 and 1/3; classes without an order have no such axis.)

    Args:
      fields: of the action, in alphabetical order.
      inputs: F, the size of `reading`.
      bias: whether the layer has one.
      reads_cell: see `reading`.
    """

    def __init__(self, fields: Sequence[Field], inputs: int, bias: bool = True, reads_cell: bool = False) -> None:
        super().__init__()
        self.fields, self.reads_cell = list(fields), reads_cell
        self.outputs = sum(field.features for field in self.fields)
        self.kernel = nn.Parameter(torch.zeros(inputs, self.outputs), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(self.outputs), requires_grad=False) if bias else None
        self.spread = nn.Parameter(torch.ones(()), requires_grad=False)
        """() size of the noise on the action: 1, all noise, until there is a controller to speak of."""
        self.noise = tuple(noise_port(field) for field in self.fields)

    @property
    def parameter_count(self) -> int:
        """n: of kernel and bias, which evolve."""
        return self.kernel.numel() + (0 if self.bias is None else self.bias.numel())

    def reading(self, z: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """What the controller reads, (..., F): [z, h] (car racing), or with `reads_cell` [z, c, h] (Doom)."""
        return torch.cat((z, c, h) if self.reads_cell else (z, h), -1)

    def forward(self, reading: Tensor) -> Tensor:
        """(N, F) -> linear outputs (N, O)."""
        return reading @ self.kernel if self.bias is None else reading @ self.kernel + self.bias

    def act(
        self, rssm: RSSM, heads: Mapping[str, nn.Module], state: Latents, feature: Tensor, noise: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `Actor`. `rssm` is a `MemoryRSSM`."""
        assert isinstance(rssm, MemoryRSSM)
        h, c, _ = rssm.split(state.deter)
        outputs = self(self.reading(state.stoch, h, c))
        return self.choose(outputs, {port.key: self.spread * noise[port.name] for port in self.noise})

    def choose(self, outputs: Tensor, noise: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Linear outputs (N, O) -> action (N, *shape) per field, not clipped: float, or class index.

        noise by field: added to a continuous action, or to the outputs (N, *shape, classes) of a discrete one.
        """
        actions = {}
        sizes = [field.features for field in self.fields]
        for field, part in zip(self.fields, outputs.split(sizes, -1), strict=True):
            if field.kind == "discrete":
                scores = part.unflatten(-1, (*field.shape, field.classes))
                actions[field.name] = (scores if noise is None else scores + noise[field.name]).argmax(-1)
            else:
                value = torch.tanh(part).unflatten(-1, field.shape)
                actions[field.name] = value if noise is None else value + noise[field.name]
        return actions

    def split(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Parameter vectors (..., n) -> kernels (..., F, O) and biases (..., O), zeros where there is none.

        A vector holds the bias first, then the kernel row by row, as the original's.
        """
        if self.bias is None:
            kernel = vectors.unflatten(-1, self.kernel.shape)
            return kernel, torch.zeros_like(kernel[..., 0, :])
        return vectors[..., self.outputs :].unflatten(-1, self.kernel.shape), vectors[..., : self.outputs]

    @torch.no_grad()
    def hand_over(self, vector: Tensor, exploration: float) -> None:
        """From now on act with these parameters (n), and with noise of this size."""
        self.load(vector)
        self.spread.fill_(exploration)

    @torch.no_grad()
    def load(self, vector: Tensor) -> None:
        """Take over a parameter vector (n)."""
        kernel, bias = self.split(vector)
        self.kernel.copy_(kernel)
        if self.bias is not None:
            self.bias.copy_(bias)


class Evolution:
    """CMA-ES as two steps, ask and tell, that maximise a fitness.

    Args:
      parameters: n; population: P; sigma: initial standard deviation of each parameter, around zero.
      state: of an earlier one of this size, as `tensors` gave it; goes on exactly from there.
    """

    def __init__(
        self, parameters: int, population: int, sigma: float, state: Mapping[str, Tensor] | None = None
    ) -> None:
        self.population, self._first_sigma = population, sigma
        self._start(np.zeros(parameters) if state is None else state["mean"].cpu().numpy().copy())
        if state is None or not state["countiter"]:  # nothing has happened since the start
            return
        # The library sets up timers and paths in its first generation: any one will do, all that counts is replaced.
        candidates = self.ask(torch.ones(population, parameters).cumsum(0))
        self.tell(candidates, torch.arange(population))
        for name in (*_MATRICES, *_VECTORS, *_NUMBERS):
            owner, array = self._owner(name), state[name].double().cpu().numpy().copy()
            if name in _MATRICES:  # into the library's own: a product is summed in the order of its columns in memory
                getattr(owner, name)[...] = array
            else:
                setattr(owner, name, type(getattr(owner, name))(array) if name in _NUMBERS else array)

    def _start(self, mean: NDArray[np.float64]) -> None:
        import cma  # takes seconds, and World Models alone needs it

        options = {
            "popsize": self.population,
            "randn": self._normal,
            "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA,
            "verbose": -9,
            "verb_log": 0,
            "seed": np.nan,
        }
        self._search = cma.CMAEvolutionStrategy(mean, self._first_sigma, options)
        self._search.adapt_sigma.initialize(self._search)

    def _normal(self, *shape: int) -> NDArray[np.float64]:
        if shape != self._noise.shape:
            raise RuntimeError(f"cma asked for noise of shape {shape}, expected {self._noise.shape}: another version?")
        return self._noise

    @property
    def mean(self) -> Tensor:
        """(n): the distribution's mean, which is the result of the search; no candidate's luck is in it."""
        return torch.from_numpy(np.array(self._search.mean))

    @property
    def sigma(self) -> float:
        """The overall standard deviation."""
        return float(self._search.sigma)

    def ask(self, noise: Tensor) -> Tensor:
        """Candidates (P, n) in float64 from standard-normal noise (P, n)."""
        self._noise = noise.double().cpu().numpy().copy()
        return torch.from_numpy(np.stack(self._search.ask()))

    def tell(self, candidates: Tensor, fitness: Tensor) -> None:
        """Move towards the candidates (P, n) with the larger fitness (P). Raises ValueError if one is not finite."""
        if not torch.isfinite(fitness).all():
            raise ValueError(f"fitness: expected finite numbers, found {int((~torch.isfinite(fitness)).sum())} others")
        self._search.tell(list(candidates.numpy()), (-fitness.double()).tolist())

    def restart(self) -> None:
        """Forget step size and covariance; the mean stays."""
        self._start(np.array(self._search.mean))

    def tensors(self) -> dict[str, Tensor]:
        """The state: copies in float64, of the same names and shapes throughout a search."""
        names = (*_MATRICES, *_VECTORS, *_NUMBERS)
        return {name: torch.from_numpy(np.array(getattr(self._owner(name), name), np.float64)) for name in names}

    def _owner(self, name: str) -> object:
        search = self._search
        return next(owner for owner in (search.adapt_sigma, search.sm, search) if name in vars(owner))
