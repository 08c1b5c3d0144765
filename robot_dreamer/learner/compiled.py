"""Compilation that never breaks anything: where it fails, the plain functions run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import torch

from robot_dreamer.learner.memory import is_out_of_memory

_Function = TypeVar("_Function", bound=Callable[..., object])


class Compiler:
    """Compiles functions with torch.compile at their first call.

    That takes a minute or so in all the first time (a CPU needs a C++ compiler), and seconds when the result is in
    the cache on disk. If that fails, one warning says why and no further function is compiled. An error of a
    later call, or memory that runs out, has nothing to do with it and is raised.
    """

    def __init__(self) -> None:
        # By default the cache is in the folder for temporary files, which a reboot empties.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "robot_dreamer" / "inductor"))
        self.failed = False

    def __call__(self, function: _Function) -> _Function:
        """The function, to be compiled at its first call for shapes that stay the same."""
        compiled = torch.compile(function, dynamic=False)
        worked = False

        def run(*arguments: object) -> object:
            nonlocal worked
            if worked:
                return compiled(*arguments)
            if self.failed:
                return function(*arguments)
            try:
                result = compiled(*arguments)
                worked = True
                return result
            except Exception as error:  # Whatever a missing or broken toolchain raises.
                if is_out_of_memory(error):
                    raise
                self.failed = True
                cache = os.environ["TORCHINDUCTOR_CACHE_DIR"]
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(
                    "torch.compile failed, continuing without it (compile=false avoids the try; a process killed while "
                    f"it compiled may have damaged the cache: delete {cache}): {reason}",
                    stacklevel=2,
                )
                return function(*arguments)

        return run  # type: ignore[return-value]


class CompiledFunctions:
    """Functions by name, each compiled once.

    Args:
      compiler: None leaves all as they are.
      plain: names of functions that stay as they are.
    """

    def __init__(self, compiler: Compiler | None, plain: Collection[str] = ()) -> None:
        self._compiler = compiler
        self._plain = frozenset(plain)
        self._compiled: dict[str, Callable[..., object]] = {}

    def __call__(self, name: str, function: _Function) -> _Function:
        """The form of `function` to call; it must be the same function whenever the name is."""
        if self._compiler is None or name in self._plain:
            return function
        if name not in self._compiled:
            self._compiled[name] = self._compiler(function)
        return self._compiled[name]  # type: ignore[return-value]
