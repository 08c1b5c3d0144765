"""CURVE keys: one pair for the learner, one per robot, and the learner's list of robots that may connect.

`robot-dreamer keys create --keys DIR robot ...` writes, on the workstation:

    DIR/learner.json          the learner's pair (secret: mode 600)
    DIR/robots/<robot>.json   one allowed robot: its public key; deleting the file is revoking
    DIR/handout/<robot>.json  what the robot needs (secret: mode 600): copy it to the robot, then delete it here

The learner gets `--keys DIR`, the policy node `keys:=<robot>.json` and `robot_id:=<robot>`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import zmq
from msgspec import Meta

from robot_dreamer.durable import replace_file
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import Id

_Key = Annotated[str, Meta(min_length=40, max_length=40)]  # Z85
_S = TypeVar("_S", bound=msgspec.Struct)


class RobotKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a robot holds: its pair, and the learner's public key."""

    robot: Id
    public: _Key
    secret: _Key
    learner: _Key


class _Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    public: _Key
    secret: _Key


class _Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    robot: Id
    public: _Key


class LearnerKeys:
    """The learner's pair and its list. Raises LinkError if the directory has no learner key.

    Attributes:
      problem: the newest broken entry of the list, in words.
    """

    def __init__(self, directory: Path) -> None:
        self._robots = directory / "robots"
        pair = _read(directory / "learner.json", _Pair)
        self.public, self.secret = pair.public, pair.secret
        self.problem = ""

    def allowed(self) -> dict[str, str]:
        """Public key -> robot, as the list on disk is now: revoking needs no restart. A broken entry allows nobody."""
        robots, self.problem = {}, ""
        for path in sorted(self._robots.glob("*.json")):
            try:
                entry = _read(path, _Allowed)
            except LinkError as error:  # a slip in one file must not stop a learner that serves the others
                self.problem = str(error)
                continue
            robots[entry.public] = entry.robot
        return robots


def require_robot_id(robot: str) -> None:
    """Raise LinkError unless the id may be used."""
    try:
        msgspec.convert(robot, Id)
    except msgspec.ValidationError as error:
        rule = "use letters, digits, '.', '_', '-', at most 64, with a letter or digit first"
        raise LinkError(f"robot id {robot!r} is not possible: {rule}") from error


def load_robot_keys(path: Path) -> RobotKeys:
    """Read the file that a robot was handed. Raises LinkError."""
    return _read(path, RobotKeys)


def create(directory: Path, robots: list[str]) -> list[Path]:
    """Make the learner's pair if there is none, and a pair per robot. Returns the files to hand out.

    Raises LinkError if a robot already has keys (revoke them first) or has an impossible name.
    """
    for robot in robots:
        require_robot_id(robot)
        if (directory / "robots" / f"{robot}.json").exists():
            raise LinkError(f"robot {robot!r} has keys already; `robot-dreamer keys revoke {robot}` first")
    if not (directory / "learner.json").exists():
        public, secret = _pair()
        _write(directory / "learner.json", _Pair(public, secret), secret=True)
    learner = _read(directory / "learner.json", _Pair).public
    handouts = []
    for robot in robots:
        public, secret = _pair()
        handout = directory / "handout" / f"{robot}.json"
        _write(handout, RobotKeys(robot, public, secret, learner), secret=True)
        _write(directory / "robots" / f"{robot}.json", _Allowed(robot, public), secret=False)
        handouts.append(handout)
    return handouts


def listed(directory: Path) -> dict[str, str]:
    """Robot -> public key of all that may connect."""
    return {robot: key for key, robot in LearnerKeys(directory).allowed().items()}


def revoke(directory: Path, robot: str) -> None:
    """Take a robot off the list; a running learner cuts it off within seconds. Raises LinkError if it is not on it."""
    require_robot_id(robot)
    path = directory / "robots" / f"{robot}.json"
    if not path.exists():
        raise LinkError(f"robot {robot!r} is not allowed anyway; allowed: {', '.join(listed(directory)) or 'none'}")
    path.unlink()
    (directory / "handout" / f"{robot}.json").unlink(missing_ok=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `robot-dreamer keys`."""
    parser.add_argument("action", choices=("create", "list", "revoke"))
    parser.add_argument("robots", nargs="*", help="robot ids (create, revoke)")
    parser.add_argument("--keys", type=Path, default=Path("keys"), help="directory of the learner's keys (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run `robot-dreamer keys`; returns the exit status. Raises LinkError."""
    if args.action == "create":
        for handout in create(args.keys, args.robots):
            told = f"keys:={handout.name} robot_id:={handout.stem}"
            print(f"copy {handout} to robot {handout.stem}, for its policy node: {told}; then delete it here")
        print(f"learner: --keys {args.keys}")
    elif args.action == "list":
        if args.robots:
            raise LinkError(f"list shows all robots: leave out {' '.join(args.robots)}")
        keys = LearnerKeys(args.keys)
        for key, robot in keys.allowed().items():
            print(f"{robot}\t{key}")
        if keys.problem:
            raise LinkError(keys.problem)
    else:
        if not args.robots:
            raise LinkError("name the robots to revoke")
        for robot in args.robots:
            revoke(args.keys, robot)
            print(f"revoked {robot}")
    return 0


def _pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _read(path: Path, kind: type[_S]) -> _S:
    try:
        mode = path.stat().st_mode & 0o777
        if "secret" in kind.__struct_fields__ and mode & 0o077:
            raise LinkError(f"{path} holds a secret key, and others can read it (mode {mode:o}): chmod 600 {path}")
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        hint = "`robot-dreamer keys create` makes keys"
        raise LinkError(f"cannot read key file {path}: {error.strerror}; {hint}") from error
    except msgspec.MsgspecError as error:
        raise LinkError(f"{path} is not a key file of the expected kind: {error}") from error


def _write(path: Path, content: msgspec.Struct, *, secret: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(content) + b"\n", mode=0o600 if secret else 0o666)
