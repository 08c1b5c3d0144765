"""What a bundle says about itself, and what must agree in it: ports with the spec, the recording with the ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.bounds import Count
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.spec import RobotSpec

FORMAT = 1
MIN_STEPS = 16  # of the recording: long enough for an error in the fed-back state to show
MONITORS = ("surprise", "value", "reward")


class BundleError(ValueError):
    """A bundle is broken, or not for this robot; the message says what, what was expected and what was found."""


class PassingProblem(BundleError):
    """Nothing is wrong with a bundle as far as is known: no time, memory or disk for it may be over soon."""


class Port(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of policy.onnx. The tensor has a batch dimension of 1 before `shape`.

    `key` is the observation's or action's name in the spec; for states any name, the same for input and output; for
    monitors one of MONITORS; for an action_noise the action's name, which two draws may share; otherwise free.
    `unit` of a noise port names its distribution, "gumbel" or "normal"; empty means gumbel for latents and discrete
    actions, normal for continuous actions.
    """

    name: str
    role: Literal[
        "observation",
        "previous_action",
        "state",
        "is_first",
        "latent_noise",
        "action_noise",
        "plan_noise",
        "action",
        "monitor",
    ]
    key: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8", "int64", "bool"] = "float32"
    unit: str = ""

    def zeros(self) -> NDArray[Any]:
        """A tensor for this port, batch dimension included."""
        return np.zeros((1, *self.shape), self.dtype)


NOISE_ROLES = ("latent_noise", "action_noise", "plan_noise")
_INPUT_ROLES = ("observation", "previous_action", "state", "is_first", *NOISE_ROLES)
_OUTPUT_ROLES = ("action", "state", "monitor")


TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "int8": 1e-1}
"""By format of the weights: largest drift of a robot from a recording, relative."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle says about itself.

    Attributes:
      format: of the archive; a robot refuses a format that it does not know.
      version: rises with every bundle of a lineage, from 0; a robot refuses an older one.
      lineage: id of the learner's experience store; empty if unknown. Versions and states of different lineages have
        nothing to do with each other.
      training_step: gradient updates behind this policy.
      algorithm: preset or algorithm name, for people.
      spec: the whole RobotSpec as JSON (`RobotSpec.to_json`); spec_hash is its hash.
      rate: control rate, Hz.
      tolerance: largest allowed |out - expected| / (1 + |expected|) when the recording is replayed.
      weights: how the model holds its kernels; int8 needs ONNX Runtime 1.22 or later.
      tools: versions of what made the bundle.
      files: sha256 (hex) of each other file in the archive; `write_bundle` fills it.
      created: UTC, ISO 8601.
    """

    format: int = FORMAT
    version: Count
    training_step: Count
    algorithm: str
    spec: str
    spec_hash: str
    rate: float
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tolerance: float
    weights: Literal["float32", "float16", "int8"] = "float32"
    tools: dict[str, str]
    created: str
    lineage: str = ""
    files: dict[str, str] = {}

    def replaces(self, other: Manifest) -> bool:
        """Whether it is a newer bundle of the same lineage."""
        return self.lineage == other.lineage and self.version > other.version


def own_spec(manifest: Manifest) -> RobotSpec:
    """The spec inside the manifest. Raises BundleError if it is broken or not the one that was hashed."""
    try:  # not as YAML: that takes ten times as long, with the interpreter's lock, which the control loop needs
        spec = decode_json(manifest.spec, RobotSpec)
    except msgspec.DecodeError as error:
        raise BundleError(f"the spec in manifest.json: {error}") from error
    if manifest.spec_hash not in spec.hashes:
        raise BundleError(f"spec_hash: the spec in manifest.json has {spec.hash}, found {manifest.spec_hash}")
    return spec


def check_manifest(manifest: Manifest, spec: RobotSpec) -> None:
    """Raise BundleError unless rate, ports and states fit the spec and each other."""
    if manifest.rate != spec.rate:
        raise BundleError(f"rate: expected {spec.rate} Hz as in the spec, found {manifest.rate}")
    most = TOLERANCES[manifest.weights]  # a bundle must not say itself how wrong it may be
    if not 0 < manifest.tolerance <= most:
        wanted = f"a number above 0, and at most {most:g} with {manifest.weights} weights"
        raise BundleError(f"tolerance: expected {wanted}, found {manifest.tolerance}")
    for kind, ports, roles in (("inputs", manifest.inputs, _INPUT_ROLES), ("outputs", manifest.outputs, _OUTPUT_ROLES)):
        _require_unique(f"{kind}, names", [p.name for p in ports])
        _require_unique(f"{kind}, role and key", [f"{p.role} {p.key}" for p in ports if p.role not in NOISE_ROLES])
        for port in ports:
            if port.role not in roles:
                raise BundleError(f"{kind}, port {port.name}: role {port.role} is not one of {', '.join(roles)}")
            _check_port(port, spec)
    found = sorted(p.key for p in manifest.outputs if p.role == "action")
    if found != sorted(a.name for a in spec.actions):
        raise BundleError(f"outputs: expected the actions {sorted(a.name for a in spec.actions)}, found {found}")
    fed, given = (_states(manifest.inputs), _states(manifest.outputs))
    if fed != given:
        raise BundleError(f"state: inputs and outputs must agree, inputs {fed}, outputs {given}")


def _states(ports: tuple[Port, ...]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {p.key: (p.shape, p.dtype) for p in ports if p.role == "state"}


def _check_port(port: Port, spec: RobotSpec) -> None:
    expected: dict[str, tuple[tuple[int, ...], tuple[str, ...]]]
    if port.role == "observation":
        expected = {o.name: (o.shape, (o.dtype,)) for o in spec.observations}
    elif port.role in ("previous_action", "action"):
        expected = {a.name: (a.shape, (np.dtype(a.dtype).name,)) for a in spec.actions}
    elif port.role == "action_noise":
        expected = {a.name: ((len(a.values),) if a.discrete else a.shape, ("float32",)) for a in spec.actions}
    elif port.role == "monitor":
        expected = {name: ((), ("float32",)) for name in MONITORS}
    elif port.role == "is_first":
        expected = {port.key: ((), ("bool", "float32"))}
    elif port.role in ("latent_noise", "plan_noise"):
        expected = {port.key: (port.shape, ("float32",))}
    else:  # state is opaque, except that it is numbers
        expected = {port.key: (port.shape, ("float32", "int64"))}
    if port.key not in expected:
        raise BundleError(f"port {port.name}: the {port.role} {port.key!r} is not one of {', '.join(expected)}")
    shape, dtypes = expected[port.key]
    if port.shape != shape or port.dtype not in dtypes:
        wanted = f"{'/'.join(dtypes)}{list(shape)}"
        raise BundleError(f"port {port.name}: expected {wanted}, found {port.dtype}{list(port.shape)}")
    if port.role in NOISE_ROLES and port.unit not in ("", "gumbel", "normal"):
        raise BundleError(f"port {port.name}: the unit of a noise must be gumbel, normal or empty, found {port.unit!r}")


def _require_unique(what: str, found: list[str]) -> None:
    twice = sorted({x for x in found if found.count(x) > 1})
    if twice:
        raise BundleError(f"{what}: found twice: {', '.join(twice)}")


def check_recording(recording: Mapping[str, NDArray[Any]], manifest: Manifest) -> None:
    """Raise BundleError unless the recording has all that the ports ask for, in their shapes and dtypes."""
    ports = {f"input/{p.name}": p for p in manifest.inputs if p.role != "state"}
    required = set(ports) | {f"output/{p.name}" for p in manifest.outputs if p.role == "action"}
    ports |= {f"output/{p.name}": p for p in manifest.outputs}
    missing, unknown = sorted(required - set(recording)), sorted(set(recording) - set(ports))
    if missing or unknown:
        raise BundleError(f"recording.npz: missing {missing}, unknown {unknown}")
    lengths = {len(array) if array.ndim else 0 for array in recording.values()}
    if len(lengths) != 1 or min(lengths) < MIN_STEPS:
        raise BundleError(f"recording.npz: expected one length of at least {MIN_STEPS} steps, found {sorted(lengths)}")
    for name, array in recording.items():
        port = ports[name]
        if array.shape[1:] != port.shape or array.dtype != port.dtype:
            wanted, found = f"{port.dtype}{list(port.shape)}", f"{array.dtype}{list(array.shape[1:])}"
            raise BundleError(f"recording.npz, {name}: expected {wanted} per step, found {found}")
