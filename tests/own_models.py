"""Robots with models that nobody here wrote: those of Gymnasium's and dm_control's packages, and a URDF."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

ROBOTS = Path(__file__).parent / "robots"
NAMES = sorted(path.stem for path in ROBOTS.glob("*.yaml"))
MODELS = {  # robot -> package, file or folder in it
    "ant": ("gymnasium", "envs/mujoco/assets/ant.xml"),
    "half_cheetah": ("gymnasium", "envs/mujoco/assets/half_cheetah.xml"),
    "jaco": ("dm_control", "third_party/kinova"),
}


def place(name: str, folder: Path, **changes: str) -> Path:
    """The robot's file in `folder`, its model beside it; `changes`: texts of the file, by what stands for them."""
    text = (ROBOTS / f"{name}.yaml").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)
    if name not in MODELS:
        shutil.copy(ROBOTS / f"{name}.urdf", folder)
        return folder / f"{name}.yaml"
    package, part = MODELS[name]
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None
    source = Path(found.origin).parent / part
    if source.is_dir():
        shutil.copytree(source, folder / source.name, dirs_exist_ok=True)
    else:
        shutil.copy(source, folder)
    return folder / f"{name}.yaml"
