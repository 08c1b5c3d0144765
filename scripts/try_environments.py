"""Tries once every environment that the installed packages register: trained, refused, broken by itself, or failed.

    python scripts/try_environments.py [--steps 200] [--only gym] [--seconds 60]

gymnasium (with what ale-py, minigrid and others register there), dm_control's suite, crafter; each in a process of its
own, by random actions through the very path of `train --env`: adapter, controller, store. Prints a table of counts,
refusals by reason, what broke in the environment's own code (which is named), and every failure; status 1 if something
failed. Takes as long as it takes: minutes to hours.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import os
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from robot_dreamer.environment import EnvironmentFailed
from robot_dreamer.learner.local import LocalActor
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import SpecError
from sim.environments import make_environment

_FORK = multiprocessing.get_context("fork")  # everything is imported once


def names() -> list[str]:
    """Of all environments, as `train --env` takes them."""
    import gymnasium

    found = []
    for package in ("ale_py", "minigrid"):
        try:
            gymnasium.register_envs(__import__(package))
        except ImportError:
            print(f"{package} is not installed: its environments are left out", file=sys.stderr)
    found += [f"gym:{name}" for name in sorted(gymnasium.registry)]
    try:
        from sim.worlds import load_suite

        found += [f"dmc:{domain}_{task}" for domain, task in load_suite().ALL_TASKS]
    except ImportError:
        print("dm_control is not installed: its tasks are left out", file=sys.stderr)
    return [*found, "crafter:reward", "crafter:noreward"]


def live(name: str, steps: int, folder: Path) -> tuple[str, str]:
    """(trained or refused, what there is to say). Raises EnvironmentFailed where the environment's own code does."""
    try:
        environment = make_environment(name, seed=0)
    except SpecError as error:
        return "refused", " ".join(str(error).split())
    store = ExperienceStore(folder / "store.sqlite", environment.spec)
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store)
    for _ in range(steps):
        actor.step()
    actor.flush()
    rows = store.count()
    store.close()
    environment.close()
    return "trained", f"{rows} rows"


def _report(name: str, steps: int, folder: Path, answer: Connection) -> None:
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = live(name, steps, folder)
    except EnvironmentFailed as error:
        found = "broken", str(error)
    except BaseException:
        found = "failed", traceback.format_exc().strip().splitlines()[-1]
    answer.send(found)


def attempt(name: str, steps: int, seconds: float) -> tuple[str, str]:
    """(trained, refused, broken or failed; what it said), from a process of its own."""
    ours, theirs = _FORK.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = _FORK.Process(target=_report, args=(name, steps, Path(folder), theirs))
        process.start()
        theirs.close()
        try:
            found: tuple[str, str] = ours.recv() if ours.poll(seconds) else ("failed", f"not done after {seconds:g} s")
        except EOFError:
            process.join(10.0)
            found = "failed", f"its process ended with status {process.exitcode}"
        process.kill()
        process.join()
    return found


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0, help="for one environment")
    parser.add_argument("--only", default="", help="names that begin so")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    reasons: dict[str, list[str]] = collections.defaultdict(list)
    for name in [name for name in names() if name.startswith(options.only)]:
        kind, text = attempt(name, options.steps, options.seconds)
        counts[kind] += 1
        if kind != "trained":
            reasons[f"{kind}: {text.replace(name.partition(':')[2], '…')}"].append(name)
        print(f"{name}: {kind} {text}", file=sys.stderr, flush=True)
    kinds = ("trained", "refused", "broken", "failed")
    print(f"| {' | '.join(kinds)} |\n{'|---' * len(kinds)}|\n| {' | '.join(str(counts[kind]) for kind in kinds)} |\n")
    for reason, which in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"- {len(which)} x {reason[:300]} ({', '.join(which[:3])}{', …' * (len(which) > 3)})")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
