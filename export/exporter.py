"""BundleExporter: the learner's way to a bundle. Traces once, then only refreshes the weights."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from importlib.metadata import version as version_of
from pathlib import Path

import onnx
import torch

import robot_dreamer
from export.compare import OnnxSide
from export.metadata import describe
from export.ports import Ports
from export.rollout import record, step
from export.trace import fill, trace
from export.weights import FORMATS, convert
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.onboard.bundle import Bundle, write_bundle
from robot_dreamer.onboard.manifest import Manifest
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec

RECORDED_STEPS = 16


class BundleExporter:
    """Writes bundles of one policy, again and again as it learns.

    Args:
      policy_step: of an agent, or the average of one (`Trainer.policy_step()`); may live on any device and go on
        training between two exports.
      spec: the robot.
      config: what the agent was built from.
      lineage: of the learner, see `Manifest`.
      weights: a key of `export.weights.FORMATS`.
    """

    def __init__(
        self, policy_step: PolicyStep, spec: RobotSpec, config: Config, lineage: str = "", weights: str = "float32"
    ) -> None:
        self._live, self._spec, self._config, self._lineage = policy_step, spec, config, lineage
        self.format = FORMATS[weights]
        self.ports = Ports.of(spec, policy_step.layout)
        self.policy = copy.deepcopy(policy_step).cpu().eval().requires_grad_(False)
        self._model: onnx.ModelProto | None = None

    def export(self, path: str | Path, version: int, training_step: int) -> None:
        """Write the policy as it is now. The first call takes seconds, later ones about as long as 16 policy steps.

        The recording is PyTorch's. With int8 or float16 weights it is what ONNX Runtime computes here with the same
        weights: a robot proves that it runs the program that was compared with PyTorch (`export.onnx`).

        Args:
          path: of the bundle; replaced atomically.
          version: of the bundle; rises with every one of a learner.
          training_step: gradient updates behind this policy.
        """
        self.refresh()
        manifest = Manifest(
            version=version,
            training_step=training_step,
            algorithm=self._config.name,
            spec=self._spec.to_json(),
            spec_hash=self._spec.hash,
            rate=self._spec.rate,
            inputs=self.ports.inputs,
            outputs=self.ports.outputs,
            tolerance=self.format.recorded_tolerance,
            weights=self.format.name,
            tools={
                "robot_dreamer": robot_dreamer.__version__,
                "torch": str(torch.__version__),
                "onnx": version_of("onnx"),
            },
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            lineage=self._lineage,
        )
        model = convert(self.model, self.format.name).SerializeToString()
        side = (
            self._torch if self.format.exact else OnnxSide(Bundle(manifest, model, {}, self._spec, "new"), self.ports)
        )
        recording = record(side, self.ports, RECORDED_STEPS, version, self.format.margin)
        write_bundle(Path(path), model, manifest, recording)

    def _torch(self, inputs: Arrays) -> Arrays:
        return step(self.policy, self.ports, inputs)

    @property
    def model(self) -> onnx.ModelProto:
        """The float32 ONNX model with the weights of the last refresh; traced at the first use."""
        if self._model is None:
            self._model = trace(self.policy, self.ports, split_above=self.format.split_above)
            describe(self._model, self._spec, self.ports, self._config.name)
        return self._model

    def refresh(self) -> None:
        """Take the live weights over: into `policy`, a copy on the CPU, and from there into `model`."""
        state = self.policy.state_dict()
        with torch.no_grad():
            for name, value in self._live.state_dict().items():
                state[name].copy_(value)
        fill(self.model, state)
