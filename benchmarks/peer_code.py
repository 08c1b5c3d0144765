"""Modules of other people's code for `peers.py`, from a folder that a person made by hand; nothing is fetched here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.config import OptimizerConfig


class Checkout(NamedTuple):
    """A public code: where it is from, and where a person has put it."""

    repository: str
    """owner/name on GitHub."""
    commit: str
    """What the benchmark was written for."""
    folder: Path | None = None
    """None: not given."""

    def __str__(self) -> str:
        return f"{self.repository} {self.commit}"

    def modules(self, *names: str) -> list[ModuleType]:
        """Its modules of these names; `sys.modules` forgets them, so that another code can have modules of the same.

        Raises ImportError that says what is missing.
        """
        if self.folder is None:
            raise ImportError(f"no folder given: expected a checkout of https://github.com/{self.repository}")
        if not self.folder.is_dir():
            raise ImportError(f"no folder {self.folder}: expected a checkout of https://github.com/{self.repository}")
        sys.path.insert(0, str(self.folder))
        try:
            return [importlib.import_module(name) for name in names]
        except Exception as error:  # whatever old code does with new libraries
            raise ImportError(f"{self.repository} in {self.folder}: {type(error).__name__}: {error}") from error
        finally:
            sys.path.remove(str(self.folder))
            own = [
                n for n, m in sys.modules.items() if (getattr(m, "__file__", None) or "").startswith(f"{self.folder}/")
            ]
            for name in own:
                del sys.modules[name]


def parameters_of(*modules: nn.Module) -> list[nn.Parameter]:
    """Of all of them."""
    return [parameter for module in modules for parameter in module.parameters()]


def step_of(parameters: list[nn.Parameter], rule: OptimizerConfig) -> Callable[[Tensor], None]:
    """From a loss to new parameters by torch's Adam, with the constants of `rule`."""
    optimizer = torch.optim.Adam(parameters, lr=rule.learning_rate, eps=rule.epsilon)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, rule.clip)
        optimizer.step()

    return step


def count_of(parameters: list[nn.Parameter]) -> str:
    """Numbers in them, as text."""
    return f"{sum(parameter.numel() for parameter in parameters):,} parameters"
