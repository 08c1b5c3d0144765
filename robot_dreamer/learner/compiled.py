"""Compilation that never breaks anything: where it fails, the plain functions run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from types import FunctionType
from typing import Any, TypeVar

import torch

from robot_dreamer.learner.code_cache import code_cache
from robot_dreamer.learner.memory import is_out_of_memory

FAILED = "torch.compile failed, continuing without it"

_Function = TypeVar("_Function", bound=Callable[..., object])


class Compiler:
    """Compiles functions with torch.compile at their first call.

    That takes a minute or so in all the first time (a CPU needs a C++ compiler), and seconds when the result is in
    the cache on disk. If that fails, one warning says why and no further function is compiled. An error of a
    later call, or memory that runs out, has nothing to do with it and is raised.

    Attributes:
      ready: functions stay as they are until it says true; see `CompileAhead`.
    """

    def __init__(self) -> None:
        self._folder = code_cache()  # PyTorch's own is in the folder for temporary files, which a reboot empties
        self.failed = False
        self.ready: Callable[[], bool] = lambda: True

    def __call__(self, function: _Function) -> _Function:
        """The function, to be compiled at its first call for shapes that stay the same."""
        compiled: Callable[..., object] | None = None  # not before a call of it has come back

        def run(*arguments: object) -> object:
            nonlocal compiled
            if compiled is not None:
                return compiled(*arguments)
            if self.failed or not self.ready():
                return function(*arguments)
            try:
                # Only now: making it imports all that compiles, seconds before which no robot's row would be read.
                made = torch.compile(_own(function), dynamic=False, options={"guard_filter_fn": _few_guards})
                result = made(*arguments)
            except Exception as error:  # Whatever a missing or broken toolchain raises.
                if is_out_of_memory(error):
                    raise
                self.failed = True
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(
                    f"{FAILED} (compile=false avoids the try; a process killed while "
                    f"it compiled may have damaged the cache: delete {self._folder}): {reason}",
                    stacklevel=2,
                )
                return function(*arguments)
            compiled = made
            return result

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

    @property
    def on(self) -> bool:
        """Whether anything is compiled, now or when it is ready."""
        return self._compiler is not None

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Leave all functions as they are until `ready` says true."""
        if self._compiler:
            self._compiler.ready = ready

    def __call__(self, name: str, function: _Function) -> _Function:
        """The form of `function` to call; it must be the same function whenever the name is."""
        if self._compiler is None or name in self._plain:
            return function
        if name not in self._compiled:
            self._compiled[name] = self._compiler(function)
        return self._compiled[name]  # type: ignore[return-value]


def _own(function: Callable[..., object]) -> Callable[..., object]:
    """The function, in code of its own: PyTorch keeps compiled code by the code object that was called, which all
    partials share, and two models share each other's."""

    def call(*arguments: object) -> object:
        return function(*arguments)

    return FunctionType(call.__code__.replace(), call.__globals__, "compiled", None, call.__closure__)


def _few_guards(guards: Sequence[Any]) -> list[bool]:
    """Which of Dynamo's guards to keep: what the function is called with, and modes such as autocast.

    The model that it was made with stays as it is; to look at its modules and parameters again at each call took a
    sixteenth of an update of `cpu_small`.
    """
    return [not guard.is_global and not guard.name.startswith("L['function']") for guard in guards]
