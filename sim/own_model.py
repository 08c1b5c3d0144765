"""A MuJoCo model of one's own, MJCF or URDF: physics without a task, beside the robot's YAML file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.beginnings import Beginnings, joint_names
from sim.physics import Before, PhysicsWorld, import_dm_control, whole
from sim.simulation import Drive, Simulation
from sim.tether import Tether
from sim.units import require_known

MJCF, URDF = "mjcf", "urdf"
_ROOTS = {"mujoco": MJCF, "robot": URDF}  # root element of the file -> kind
_PACKAGE = "package://"


class OwnModelWorld(PhysicsWorld):
    """The model of a file. Episodes begin with its keyframe, or near it; a step is a timestep of the model.

    Args:
      file: of the model; meshes lie where it says.
      kind: MJCF or URDF.
      simulation: says how episodes begin, and which actuators are added.
      seed: of where they begin.

    Raises:
      SpecError: the file cannot be read, or lacks what `simulation` names.
    """

    has_task = False

    def __init__(self, file: Path, kind: str, simulation: Simulation, seed: int) -> None:
        model = _compile(file, kind, simulation.drives)
        if kind == URDF:
            _complete(model)
        if model.nu == 0:
            advice = "simulation.drives adds some, such as {joints: […], kind: position, kp: 20.0, kv: 1.0}"
            joints = ", ".join(joint_names(model))
            raise SpecError(f"{file}: the model has no actuators; {advice}; its joints: {joints}")
        keyframes = [model.key(i).name for i in range(model.nkey)]
        if simulation.keyframe:
            require_known("keyframe", [simulation.keyframe], keyframes, str(file))
        self._keyframe = keyframes.index(simulation.keyframe) if simulation.keyframe else 0 if keyframes else None
        self._beginnings = Beginnings(model, simulation.start, file)
        dm_control = import_dm_control("mujoco")
        super().__init__(dm_control.Physics.from_model(dm_control.wrapper.MjModel(model)))
        self._tether = Tether(model, self.data, simulation.drives)
        self.control_step = float(model.opt.timestep)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def observe(self) -> dict[str, NDArray[np.float64]]:
        return {}

    def reset(self) -> None:
        with whole:
            self._physics.reset(self._keyframe)
            if self._beginnings:
                self._beginnings.apply(self.data, self._generator)
                self._physics.after_reset()

    def step(self, control: NDArray[np.float64], steps: int, before: Before | None) -> tuple[float, bool]:
        with whole:
            self.data.ctrl[:] = control
            self._advance(steps, self._tied(before) if self._tether.used else before)
        return 0.0, False

    def _tied(self, before: Before | None) -> Before:
        """The drives' tether before each physics step; and before it `before`, which says anew what is wanted."""
        tether, wanted = self._tether, self._tether.wanted

        def hold(steps: int) -> int:
            if before is None:
                tether.hold(wanted)
            else:
                before(1)
                tether.hold(tether.wanted)
            return 1

        return hold


def model_file(kind: str, name: str, folder: Path | None) -> Path:
    """The file of the model `<kind>:<name>`. Raises SpecError if there is none, and says where it was sought."""
    file = Path(name).expanduser()
    if not name:
        raise SpecError(f"simulation.model: expected {kind}:path/of/a/file, found {kind}:")
    if not file.is_absolute() and folder is None:
        raise SpecError(
            f"simulation.model: {kind}:{name} lies beside the robot's file, and this RobotSpec came without one (from "
            "a bundle, a store or a program); give the YAML file of the robot, or the model's whole path"
        )
    found = file if folder is None else folder / file
    if not found.is_file():
        raise SpecError(f"simulation.model: there is no file {found} (paths count from the robot's file)")
    return found


def _compile(file: Path, kind: str, drives: tuple[Drive, ...]) -> mujoco.MjModel:
    try:
        _, element = next(ElementTree.iterparse(file, ("start",)))  # the rest may be what only MuJoCo forgives
        root = element.tag
        found = _ROOTS.get(root)
        if found != kind:
            meant = f"which is {found}:" if found else f"expected {' or '.join(_ROOTS)}"
            raise SpecError(f"simulation.model: {kind}:{file} has the root element <{root}>, {meant}")
        spec = mujoco.MjSpec.from_file(str(file))
        for mesh in spec.meshes:
            if mesh.file.startswith(_PACKAGE):
                mesh.file = str(_in_package(mesh.file, file))
        model = spec.compile()
        if drives:
            _add_drives(spec, model, drives, file)
            model = spec.compile()
    except ElementTree.ParseError as error:
        raise SpecError(f"{file} is not XML: {error}") from error
    except (ValueError, OSError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{file}: MuJoCo cannot read the model: {error}") from error
    return model


def _complete(model: mujoco.MjModel) -> None:
    """Give a URDF what it cannot say: an integrator that keeps stiff drives on light links stable, and some light."""
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.4, 0.8


def _in_package(uri: str, file: Path) -> Path:
    """Where a URDF's `package://<package>/<path>` lies: the package is a folder around the URDF, or beside one.

    Raises SpecError that says where it was sought.
    """
    package, _, path = uri.removeprefix(_PACKAGE).partition("/")
    around = file.absolute().parents
    for folder in around:
        for found in (folder / path, folder / package / path):
            if found.is_file():
                return found
    raise SpecError(
        f"{file}: mesh {uri}: there is no {path}, nor {package}/{path}, in {around[0]} or a folder around it"
    )


def _add_drives(spec: mujoco.MjSpec, model: mujoco.MjModel, drives: tuple[Drive, ...], file: Path) -> None:
    """Give joints the actuators that `simulation.drives` says, named like the joint, after those of the model."""
    names = [name for drive in drives for name in drive.joints]
    require_known("hinge or slide joint", names, joint_names(model), f"{file}, simulation.drives")
    on_joints = [i for i in range(model.nu) if model.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_JOINT)]
    driven = {model.joint(model.actuator_trnid[i, 0]).name for i in on_joints}
    taken = driven | {model.actuator(i).name for i in range(model.nu)}
    twice = sorted({name for name in names if name in taken or names.count(name) > 1})
    if twice:
        raise SpecError(f"{file}, simulation.drives: one actuator a joint; these have another: {', '.join(twice)}")
    for drive in drives:
        for name in drive.joints:
            actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            gain = {"position": drive.kp, "velocity": drive.kv, "torque": 1.0}[drive.kind]
            actuator.gaintype, actuator.gainprm[0] = mujoco.mjtGain.mjGAIN_FIXED, gain
            if drive.kind != "torque":
                actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
                actuator.biasprm[1], actuator.biasprm[2] = -drive.kp, -drive.kv
            if drive.force:
                actuator.forcelimited, actuator.forcerange = True, [-drive.force, drive.force]
            joint = model.joint(name)
            if drive.kind == "position" and model.jnt_limited[joint.id]:
                actuator.ctrllimited, actuator.ctrlrange = True, joint.range.tolist()
