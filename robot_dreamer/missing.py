"""Packages that come with an extra: which one brings what, for a message instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

EXTRAS = {
    "torch": "learner",
    "gymnasium": "learner",
    "safetensors": "learner",
    "tensorboard": "learner",
    "onnx": "learner",
    "onnxscript": "learner",
    "rich": "pilot",
    "matplotlib": "learner",
    "jinja2": "learner",
    "cma": "learner",
    "mujoco": "sim",
    "dm_control": "sim",
    "scipy": "sim",
    "PIL": "compressed",
    "rosbags": "data",
    "imageio": "film",
    "imageio_ffmpeg": "film",
    "rerun": "rerun",
    "pyarrow": "lerobot-data",
    "av": "lerobot-data",
    "cryptography": "sign",
    "huggingface_hub": "hub",
    "ale_py": "atari",
    "crafter": "crafter",
    "bsuite": "bsuite",
    "submitit": "slurm",
    "onnxruntime": "onnx-cpu",
    "rclpy": "ros-wheels",
}
"""Top-level module -> extra of robot_dreamer that installs it."""


def advice(error: ModuleNotFoundError) -> str:
    """What to install, in one line; empty for a module that is none of ours to bring."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    sourced = ", or source the setup.bash of ROS 2" if module == "rclpy" else ""
    return f"{module} is missing: pip install 'robot_dreamer[{extra}]'{sourced}" if extra else ""


def explain_missing(program: str) -> None:
    """From here on a missing package ends this process with what to install and status 2, as it ends the command.

    For what `python -m` starts: a package that its first imports miss is missed before anything of ours can catch it.
    """

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = advice(error) if isinstance(error, ModuleNotFoundError) else ""
        if not text:
            sys.__excepthook__(kind, error, trace)
            return
        print(f"{program}: {text}", file=sys.stderr)
        raise SystemExit(2)

    sys.excepthook = tell
