"""A model card: what a run made, for those who were not there. Markdown, with the YAML that the Hugging Face hub reads.

Numbers come from the run's files; what these do not say is said to be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import robot_dreamer
from robot_dreamer.report.figures import UNKNOWN, amount, failed_episodes, number
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.signal import Signal

UNSTATED = "unknown"
"""The hub's word for a licence that nobody has given."""


class GateResult(NamedTuple):
    """A verdict beside a bundle, `problem` why it says nothing of the bundle that is there; `there`: whether one is."""

    bundle: str
    passed: bool
    failed: tuple[str, ...]
    created: str
    problem: str = ""
    there: bool = True


def card(files: RunFiles, gates: Sequence[GateResult], sweep: dict[str, Any], licence: str = UNSTATED) -> str:
    """The text of the card.

    Args:
      files: of the run.
      gates: verdicts on its bundles.
      sweep: sweep.json of the runs with other seeds, empty if there are none.
      licence: an identifier of the hub, such as apache-2.0.
    """
    spec = files.spec
    generation = str(files.config.get("name", UNKNOWN))
    title = f"{generation} on {spec.name if spec else 'an unknown robot'}"
    parts = [
        _front(files, generation, licence),
        f"# {title}\n",
        "A policy for one robot, made with robot_dreamer. It runs on board from one ONNX bundle.\n",
        "## Robot and task\n",
        *([_robot(spec)] if spec else ["The files of the run do not say for which robot.\n"]),
        "## Data\n",
        _table(_data(files)),
        "## Returns\n",
        *_returns(files, sweep),
        "## Gate\n",
        *_gate(gates),
        "## How it is made again\n",
        *_again(files),
        "## What it was not tried for\n",
        *[f"- {line}" for line in _limits(files, gates, sweep)],
        f"\n## Licence\n\n{licence if licence != UNSTATED else 'Not stated.'}\n",
        f"Written by robot_dreamer {robot_dreamer.__version__} from the files of the run.",
    ]
    return "\n".join(parts) + "\n"


def _front(files: RunFiles, generation: str, licence: str) -> str:
    """JSON values are YAML too."""
    evaluation = files.evaluation.get("evaluation")
    head: dict[str, Any] = {
        "license": licence,
        "library_name": "robot_dreamer",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["robotics", "reinforcement-learning", "world-model", "dreamer", "onnx", "ros2"],
    }
    mean = number(evaluation.get("mean")) if isinstance(evaluation, dict) else None
    if mean is not None and files.spec is not None:
        metric = {"type": "mean_reward", "name": "mean return", "value": mean, "verified": False}
        task = {"type": "reinforcement-learning", "name": "reinforcement learning"}
        data = {"type": files.spec.name, "name": files.spec.name}
        head["model-index"] = [{"name": generation, "results": [{"task": task, "dataset": data, "metrics": [metric]}]}]
    return "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items()) + "---\n"


def _robot(spec: RobotSpec) -> str:
    observed = ", ".join(f"`{o.name}` {list(o.shape)}" for o in spec.observations)
    acted = ", ".join(f"`{a.name}` [{a.size}]" + (f" in {a.unit}" if a.unit else "") for a in spec.actions)
    lines = [
        ("robot", spec.name + (f": {spec.description}" if spec.description else "")),
        ("spec", f"`{spec.hash}`; no other robot takes the bundle"),
        ("control rate", f"{spec.rate:g} Hz"),
        ("observes", observed),
        ("does", acted),
        ("reward", _signal(spec.reward)),
        ("terminal", _signal(spec.terminal) if spec.terminal else "never: episodes end by the time limit"),
        ("episode", f"at most {spec.episode.max_steps} steps, {spec.episode.max_steps / spec.rate:g} s"),
    ]
    return _table(lines)


def _signal(signal: Signal) -> str:
    if signal.expression:
        return f"`{signal.expression}`"
    return f"`{signal.names[0]}` on the topic `{signal.topic}`, computed elsewhere"


def _data(files: RunFiles) -> Iterator[tuple[str, str]]:
    status, spec = files.status, files.spec
    robots = [str(r.get("robot", UNKNOWN)) for r in status.robots] if status else []
    yield "rows", amount(status.env_steps if status else None)
    yield "robot minutes", amount(status.lived / spec.rate / 60 if status and spec else None, ".1f")
    yield "episodes", amount(len(files.episodes))
    yield "robots", ", ".join(robots) or str(files.run.get("environment", UNKNOWN))
    yield "updates", amount(status.updates if status else None)
    yield "minutes of training", amount(status.elapsed_s / 60 if status else None, ".1f")


def _returns(files: RunFiles, sweep: dict[str, Any]) -> Iterator[str]:
    rows = []
    for name, what in (("evaluation", "this policy"), ("random", "random actions")):
        found = files.evaluation.get(name)
        if isinstance(found, dict):
            interval = found.get("interval")
            between = f"{amount(interval[0], '.4g')} to {amount(interval[1], '.4g')}" if interval else "unknown"
            seeds = found.get("seeds") or []
            rows.append((what, amount(found.get("mean"), ".4g"), between, amount(len(seeds) or None)))
    if rows:
        yield _table(rows, ("", "mean return", "95 % interval", "episodes"))
        drawn = any(x.get("deterministic") is False for x in files.evaluation.values() if isinstance(x, dict))
        yield f"Simulated episodes, with the code that runs on board, {'drawn' if drawn else 'mean'} actions.\n"
        if lost := failed_episodes(files.evaluation):
            yield f"{lost}\n"
    else:
        last = [episode.total for episode in files.episodes][-10:]
        mean = amount(sum(last) / len(last) if last else None, ".4g")
        whose = "that it learned from, whoever acted" if files.offline else "of the training, acted with noise"
        yield f"Not evaluated. The last {len(last)} episodes {whose}: {mean} on average.\n"
    if sweep:
        interval, values = sweep.get("interval"), list((sweep.get("values") or {}).values())
        failed = values.count(None)
        between = f", 95 % {amount(interval[0], '.4g')} to {amount(interval[1], '.4g')}" if interval else ""
        middle = amount(sweep.get("interquartile_mean"), ".4g")
        without = f"; {failed} more came to no return" if failed else ""
        yield f"Over {len(values) - failed} training seeds: interquartile mean {middle}{between}{without}.\n"


def _gate(gates: Sequence[GateResult]) -> Iterator[str]:
    if not gates:
        yield "No verdict: `robot-dreamer gate` has not been run on a bundle of this run.\n"
    for gate in gates:
        said = "passed" if gate.passed else "did not pass: " + "; ".join(gate.failed)
        gone = "" if gate.there else "; its file is no longer there"
        yield f"- `{gate.bundle}` {gate.problem or said} ({gate.created}){gone}"
    if gates:
        yield ""


def _again(files: RunFiles) -> Iterator[str]:
    commands = "\n".join(str(line.get("command", UNKNOWN)) for line in files.commands)
    yield f"```\n{commands}\n```\n" if commands else "The commands were not written down.\n"
    run = files.config.get("run", {})
    yield _table(
        [
            ("seed", str(run.get("seed", files.config.get("seed", UNKNOWN)))),
            ("generation", str(files.config.get("objective", UNKNOWN))),
            *((name, str(files.run.get(name, UNKNOWN))) for name in ("code", "torch", "machine")),
        ]
    )


def _limits(files: RunFiles, gates: Sequence[GateResult], sweep: dict[str, Any]) -> Iterator[str]:
    spec = files.spec
    if spec is not None:
        yield f"Any robot but one with the spec `{spec.hash[:12]}`, and any task but the reward above."
        if spec.simulation and not spec.simulation.get("vary"):
            yield "A robot that differs from the model: nothing varied in the simulation (`simulation.vary`)."
        if spec.simulation and not spec.simulation.get("delay"):
            yield "Late sensors and commands: the simulation had none (`simulation.delay`)."
    if not any(gate.passed and not gate.problem for gate in gates):
        yield "Delays, losses, noise, pushes: no bundle of it has passed the gate."
    if not sweep:
        yield "Another training seed: this is one run, and says nothing of how the next one ends."
    if not isinstance(files.evaluation.get("evaluation"), dict):
        yield "Acting without exploration: no evaluation was made."
    if files.status is None or files.status.phase != "finished":
        yield "A finished training: the run was stopped before its budget was spent, or goes on."
    yield "Protecting people: neither the policy nor the guard in software replaces an emergency stop."


def _table(rows: Iterable[tuple[str, ...]], head: Sequence[str] = ("", "")) -> str:
    lines = [head, ["---"] * len(head), *rows]
    shown = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in shown)
