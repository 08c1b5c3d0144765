"""BundleExporter: the learner's way to a bundle. Traces once, then only refreshes the weights."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from importlib.metadata import version as version_of
from pathlib import Path

import onnx
import torch

import robot_dreamer
from export.ports import Ports
from export.rollout import record
from export.trace import fill, trace
from robot_dreamer.behavior.policy import PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.onboard.bundle import write_bundle
from robot_dreamer.onboard.manifest import Manifest
from robot_dreamer.spec import RobotSpec

RECORDED_STEPS = 16
TOLERANCE = 1e-3  # of the recording, relative; float32 rounding gives about 1e-5 across machines


class BundleExporter:
    """Writes bundles of one policy, again and again as it learns.

    Args:
      policy_step: `Agent.policy_step()`; may live on any device and go on training between two exports.
      spec: the robot.
      config: what the agent was built from.
      lineage: see Manifest.
    """

    def __init__(self, policy_step: PolicyStep, spec: RobotSpec, config: Config, lineage: str = "") -> None:
        self._live, self._spec, self._config, self._lineage = policy_step, spec, config, lineage
        self.ports = Ports.of(spec, config)
        self.policy = copy.deepcopy(policy_step).cpu().eval().requires_grad_(False)
        self._model: onnx.ModelProto | None = None

    def export(self, path: str | Path, version: int, training_step: int) -> None:
        """Write the policy as it is now. The first call takes seconds, later ones about as long as 16 policy steps.

        Args:
          path: of the bundle; replaced atomically.
          version: of the bundle; rises with every one of a learner.
          training_step: gradient updates behind this policy.
        """
        self.refresh()
        recording = record(self.policy, self.ports, RECORDED_STEPS, seed=version)
        manifest = Manifest(
            version=version,
            training_step=training_step,
            algorithm=self._config.name,
            spec=self._spec.to_json(),
            spec_hash=self._spec.hash,
            rate=self._spec.rate,
            inputs=self.ports.inputs,
            outputs=self.ports.outputs,
            tolerance=TOLERANCE,
            tools={
                "robot_dreamer": robot_dreamer.__version__,
                "torch": str(torch.__version__),
                "onnx": version_of("onnx"),
            },
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            lineage=self._lineage,
        )
        write_bundle(Path(path), self.model.SerializeToString(), manifest, recording)

    @property
    def model(self) -> onnx.ModelProto:
        """The ONNX model with the weights of the last refresh; traced at the first use."""
        if self._model is None:
            self._model = trace(self.policy, self.ports)
        return self._model

    def refresh(self) -> None:
        """Take the live weights over: into `policy`, a copy on the CPU, and from there into `model`."""
        state = self.policy.state_dict()
        with torch.no_grad():
            for name, value in self._live.state_dict().items():
                state[name].copy_(value)
        fill(self.model, state)
