"""The golden files of the generations before DreamerV3: which there are, and who reads them.

Arrays, layouts and tolerances: README.md of this folder. A dense kernel is (in, out) as ours, a convolution
(height, width, in, out), a transposed convolution (height, width, out, in), images are channels-last.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import Golden, assert_close
from torch import Tensor, nn

OUT, GRAD = 5e-6, 1e-5

FOLDER = Path(os.environ.get("GOLDEN_FAMILY_DIR") or Path(__file__).parent / "family")
READ: set[str] = set()
"""Components that some test reads; `files` adds to it when a test module is imported."""


def components(folder: Path) -> dict[Path, str]:
    """The files of a folder with the component that each holds."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            found[path] = json.loads(str(file["config"]))["component"]
    return found


def files(*names: str) -> list[Any]:
    """The golden files of these components, as pytest parameters."""
    READ.update(names)
    return [pytest.param(path, id=path.stem) for path, name in components(FOLDER).items() if name in names]


def to_ours(golden: Tensor) -> Tensor:
    """A golden parameter in our layout: (height, width, a, b) -> (b, a, height, width), others as they are."""
    return golden.permute(3, 2, 0, 1) if golden.dim() == 4 else golden


def load(module: nn.Module, golden: Golden, names: dict[str, str]) -> None:
    """Fill all parameters of a module; names: ours -> theirs, without the prefix "param/"."""
    parameters = dict(module.named_parameters())
    assert parameters.keys() == names.keys()
    with torch.no_grad():
        for ours, theirs in names.items():
            value = to_ours(golden[f"param/{theirs}"])
            assert value.shape == parameters[ours].shape, f"{theirs}: {value.shape}, ours {parameters[ours].shape}"
            parameters[ours].copy_(value)


def check_gradients(
    module: nn.Module, golden: Golden, names: dict[str, str], tolerance: float = GRAD, prefix: str = "grad/param/"
) -> None:
    """Compare `.grad` of all parameters of a module with the golden gradients below `prefix`."""
    for ours, parameter in module.named_parameters():
        theirs = prefix + names[ours]
        assert parameter.grad is not None, ours
        assert_close(parameter.grad, to_ours(golden[theirs]), tolerance, theirs)
