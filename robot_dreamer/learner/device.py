"""Where a configuration says that training happens."""

from __future__ import annotations

import re

import torch


def resolve_device(name: str) -> torch.device:
    """The device of a configuration: `auto` takes a GPU if there is one. Raises ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name):  # what else torch knows has not been tried
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, found {name!r}")
    kind, _, number = name.partition(":")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= there:
        found = " and ".join(f"cuda:{n}" for n in range(there)) or "no CUDA device"
        built = "" if torch.backends.cuda.is_built() else ", for this build of it is without CUDA"
        advice = "use one that is there, device=auto or device=cpu"
        raise ValueError(f"device: {name!r} is configured, but torch finds {found}{built}; {advice}")
    return torch.device(name)
