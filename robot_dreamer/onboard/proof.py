"""The proof of a bundle: a process of its own loads its model and replays its recording, within a limit of time.

A model is a foreign program: it may never end, and loading it may not either. What a process does can be ended by
force, whatever it is doing; what a thread does cannot. So only a model that came to its end elsewhere is loaded here.
The proof runs on the CPU, which every bundle must be able to do, and yields to everything else on the robot.

  python -m robot_dreamer.onboard.proof BUNDLE THREADS     the RobotSpec as JSON on standard input
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from robot_dreamer import servant
from robot_dreamer.onboard.bundle import Bundle, BundleError, read_bundle
from robot_dreamer.onboard.manifest import PassingProblem
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import RobotSpec

PATIENCE = 60.0  # seconds until the first step has been done
_PERIODS = 50  # control periods for each step of the recording: who is that slow cannot act
_POLL = 0.05  # seconds until whoever waits notices that the node ends
_REFUSED = 3  # exit status; why stands on standard output


def prove(
    path: Path,
    bundle: Bundle,
    threads: int = 1,
    provider: str = "cpu",
    ended: Callable[[], bool] = lambda: False,
    patience: float = PATIENCE,
) -> OnnxPolicy:
    """A policy that has replayed its bundle's recording, elsewhere and here.

    Args:
      path, bundle: what `read_bundle` was given, and gave.
      threads, provider: see `OnnxPolicy`.
      ended: asked 20 times a second; once it says true, nobody waits any more.
      patience: seconds until the first step has been done; each step of the recording may take 50 control periods more.

    Raises:
      BundleError: the model cannot be loaded, or does not do as its recording says; or `ended`.
      PassingProblem: it takes too long, or something ended the process, as the kernel does where memory runs out.
    """
    steps = len(next(iter(bundle.recording.values())))
    limit = patience + _PERIODS * steps / bundle.spec.rate
    deadline = time.monotonic() + limit
    process = subprocess.Popen(
        servant.command("robot_dreamer.onboard.proof", str(path), str(threads)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=servant.environment(),
        start_new_session=True,  # a Ctrl-C in the terminal is for the node
    )
    said: str | None = bundle.spec.to_json()
    try:
        while True:
            try:
                output, errors = process.communicate(said, _POLL)
                break
            except subprocess.TimeoutExpired:
                said = None
            if ended():
                raise BundleError(f"bundle {bundle.source}: its proof was cut short: the node ends")
            if time.monotonic() > deadline:
                text = f"its proof did not end within {limit:.3g} s, for {steps} steps of a policy"
                raise PassingProblem(f"bundle {bundle.source}: {text}")
    finally:
        process.kill()
        process.communicate()
    if process.returncode == _REFUSED:
        raise BundleError(output)
    if process.returncode:
        words = errors.strip().splitlines()[-1:] or ["it said nothing"]
        raise PassingProblem(f"bundle {bundle.source}: its proof ended with status {process.returncode}: {words[0]}")
    policy = OnnxPolicy(bundle, threads, provider)
    policy.verify()  # with this provider; also warms it up
    return policy


def main() -> int:
    """Prove a bundle, see the module. Exit status 0; 3 if it is refused."""
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    try:
        OnnxPolicy(read_bundle(path, msgspec.json.decode(sys.stdin.read(), type=RobotSpec)), threads).verify()
    except BundleError as error:
        print(error, end="")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
