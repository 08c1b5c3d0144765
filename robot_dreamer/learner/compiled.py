"""Compilation that never breaks anything: where it fails, the plain function runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Compiled:
    """A function compiled by torch.compile at its first call (tens of seconds; a CPU needs a C++ compiler).

    If compiling fails, one warning says why and the function runs as it is from then on.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._run: Callable[..., Any] = torch.compile(function, dynamic=False)
        self._proven = False

    def __call__(self, *arguments: Any) -> Any:
        if self._proven:
            return self._run(*arguments)
        try:
            result = self._run(*arguments)
        except Exception as error:  # Whatever a missing or broken toolchain raises.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"torch.compile failed, continuing without it (compile=false avoids the try): {reason}", stacklevel=2
            )
            self._run = self._plain
            result = self._plain(*arguments)
        self._proven = True
        return result
