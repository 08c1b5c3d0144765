"""Where a configuration says that training happens."""

from __future__ import annotations

import torch


def resolve_device(name: str) -> torch.device:
    """The device of a configuration: `auto` takes a GPU if there is one. Raises ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, found {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device: {name!r} is configured, but torch finds no CUDA device; use device=auto or device=cpu"
        )
    return device
