"""Tries once every environment that the installed packages register: trained, refused with its reason, or failed.

    python scripts/try_environments.py [--steps 200] [--only gym] [--seconds 60]

gymnasium (with what ale-py, minigrid and others register there), dm_control's suite, crafter; each in a process of its
own, by random actions through the very path of `train --env`: adapter, controller, store. Prints a table of counts,
refusals by reason, and every failure; exit status 1 if something failed. Takes as long as it takes: minutes to hours.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
import tempfile

ONE = """
import sys, tempfile
from robot_dreamer.learner.local import LocalActor
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import SpecError
from sim.environments import make_environment
for package in ("ale_py", "minigrid"):
    try:
        import gymnasium
        gymnasium.register_envs(__import__(package))
    except ImportError:
        pass
name, steps = sys.argv[1], int(sys.argv[2])
try:
    environment = make_environment(name, seed=0)
except SpecError as error:
    print("refused:", " ".join(str(error).split()))
    raise SystemExit(0)
with tempfile.TemporaryDirectory() as folder:
    store = ExperienceStore(Path(folder) / "store.sqlite", environment.spec)
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store)
    for _ in range(steps):
        actor.step()
    actor.flush()
    print("trained:", store.count(), "rows")
    store.close()
environment.close()
"""


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


def attempt(name: str, steps: int, seconds: float) -> tuple[str, str]:
    """(trained, refused or failed; what it said)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-c", ONE, name, str(steps)],
                capture_output=True,
                text=True,
                timeout=seconds,
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "failed", f"not done after {seconds:g} s"
    last = (done.stdout.strip().splitlines() or [""])[-1]
    kind, _, text = last.partition(":")
    if done.returncode == 0 and kind in ("trained", "refused"):
        return kind, text.strip()
    return "failed", (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


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
    print("| trained | refused | failed |\n|---|---|---|")
    print(f"| {counts['trained']} | {counts['refused']} | {counts['failed']} |\n")
    for reason, which in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"- {len(which)} x {reason[:300]} ({', '.join(which[:3])}{', …' * (len(which) > 3)})")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
