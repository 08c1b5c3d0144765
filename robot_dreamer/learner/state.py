"""Comparing a stored training state with the one it is loaded into."""

from __future__ import annotations

from torch import Tensor


def check_tensors(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raise ValueError that names tensors that are missing, unexpected, or of another shape than our own."""
    problems = [f"missing {name}" for name in sorted(own.keys() - stored.keys())]
    problems += [f"unexpected {name}" for name in sorted(stored.keys() - own.keys())]
    problems += [
        f"{name}: expected {tuple(own[name].shape)}, found {tuple(stored[name].shape)}"
        for name in sorted(own.keys() & stored.keys())
        if own[name].shape != stored[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise ValueError(f"the stored training state does not fit this agent: {shown}")
