"""What can be said of a robot without hearing it: its spec, what learns from it, its simulation, its bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robot_dreamer.config import load_config
from robot_dreamer.missing import advice
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.preflight.joints import is_position
from robot_dreamer.spec import ActionSpec, RobotSpec, SpecError, require_lockstep, require_own_topics
from robot_dreamer.spec.safety import goes_on


def spec_findings(spec: RobotSpec) -> Iterator[Finding]:
    """Of a spec that could be loaded: what is allowed, and should be thought of."""
    sizes = ", ".join(f"{o.name} {list(o.shape)}" for o in spec.observations)
    yield note("spec", f"{spec.name} at {spec.rate:g} Hz sees {sizes}; does {', '.join(a.name for a in spec.actions)}")
    if not (spec.safety.limits or spec.safety.tilt):
        yield warning(
            "spec",
            "no safety.limits and no safety.tilt: the guard knows only the limits of commands",
            "say within which positions, velocities or tilts the robot may be",
        )
    try:
        require_own_topics(spec)
    except SpecError as error:
        yield stop("spec", str(error), "the policy node refuses it: a message on a command topic is a whole command")
    for action in spec.actions:
        yield from _leaps(action, spec)
    holding = sorted(rule for rule, reaction in spec.safety.reactions.items() if reaction == "hold")
    moving = [action.name for action in spec.actions if goes_on(action)]
    if holding and moving:
        text = f"hold leaves the last command of {', '.join(moving)} in force, a motion or a force: the robot goes on"
        yield warning("spec", f"{text}, after {', '.join(holding)}", "say stop, ramp or damp there in safety.reactions")
    if not spec.episode.reset_service:
        yield note("spec", "no reset_service: an episode begins where the one before ended")
    free = [o.name for o in spec.observations if o.dtype == "float32" and o.encoding == "raw" and not o.range]
    if free:
        text = f"no range says what can be: {', '.join(free)}"
        yield warning("spec", text, "give each a range: [lowest, highest], so that one erring reading is refused")
    try:
        require_lockstep(spec)
    except SpecError as error:
        yield note("spec", f"real time only: {error}")


def _leaps(action: ActionSpec, spec: RobotSpec) -> Iterator[Finding]:
    """Of a robot that goes where it is told, at once: what may move it far."""
    if not is_position(action):
        return
    where, safety = f"action {action.name}", spec.safety
    if action.name not in safety.pose:
        yield warning(
            where,
            "it commands positions, and safety.pose does not say where the robot stands: the first command is a leap",
            "name the quantity that shows them, a watched one will do: safety: {pose: {" + action.name + ": …}}",
        )
    if not action.max_rate and action.filter is None:
        yield warning(
            where,
            "no max_rate and no filter: from one tick to the next a command may go from end to end, random ones do",
            "give max_rate: what each joint may do in a second",
        )
    if not action.max_rate and not safety.ramp_seconds:
        text = "no max_rate and no safety.ramp_seconds: the way to the neutral command is one step, after a fault too"
        yield warning(where, text, "give safety.ramp_seconds, or max_rate")
    if safety.reaction("e_stop") == "stop" and action.name not in safety.keep:
        text = "a press of the emergency stop is a motion: to the neutral command, as fast as max_rate allows"
        yield warning(where, text, "say safety: {reactions: {e_stop: hold}}, or see that the way there is always free")


def learner_findings(spec: RobotSpec, preset: str) -> Iterator[Finding]:
    """Whether the networks of a preset take what the robot sees and does."""
    where = f"preset {preset}"
    try:
        config = load_config(preset)
    except ValueError as error:
        yield stop(where, str(error), "choose one of: robot-dreamer list")
        return
    try:
        import torch

        from robot_dreamer.learner.objectives import OBJECTIVES
        from robot_dreamer.world_model.fields import action_fields_of, fields_of
    except ModuleNotFoundError as error:
        yield note(where, f"not tried with its networks: {advice(error) or error}")
        return
    try:
        with torch.device("meta"):  # shapes without memory
            observations = fields_of(spec.observation_space())
            OBJECTIVES[config.objective].build(observations, action_fields_of(spec.action_space()), config)
    except ValueError as error:
        yield stop(where, str(error), "change the shape in the spec, or choose another preset")
        return
    yield note(where, "its networks take these observations and actions")


def simulation_findings(spec: RobotSpec) -> Iterator[Finding]:
    """Whether the spec and the simulation's model fit: names, limits, cameras."""
    if not spec.simulation:
        yield note("simulation", "the spec has none; what learns on it learns on the robot from its first row")
        return
    try:
        from sim.robot import SimRobot
    except ModuleNotFoundError as error:
        yield note("simulation", f"not tried: {advice(error) or error}")
        return
    try:
        SimRobot(spec, 0)
    except SpecError as error:
        yield stop("simulation", str(error), "mend the spec's names and limits, or its section simulation")
        return
    yield note("simulation", "names and limits fit the model")


def bundle_findings(spec: RobotSpec, bundle: Path) -> Iterator[Finding]:
    """Whether a bundle is whole and made for this robot."""
    where = f"bundle {bundle}"
    try:
        manifest = read_bundle(bundle, spec).manifest
    except BundleError as error:
        yield stop(where, str(error), "take a bundle of this spec, or the spec that it was made for")
        return
    yield note(where, f"version {manifest.version}, whole and made for this robot")
