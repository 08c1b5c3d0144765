"""The processes that test_link_kills.py kills: forked from one that has imported everything, so that starting is cheap.

Each can be told to end itself at the n-th step of its durable work, and tells through a pipe what it has done so far.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import rclpy
import torch
from link_peers import FAST
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from benchmarks.synthetic import synthetic_row
from robot_dreamer.config import load_config
from robot_dreamer.learner import checkpoint
from robot_dreamer.learner.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from robot_dreamer.learner.checkpoint_meta import Progress
from robot_dreamer.link.inbox import Inbox
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import read_bundle, write_bundle
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY, record, toy_manifest, toy_model
from tests.ros.fake_robot import FakeRobot
from tests.unit.dying import dying_at

SPECS: dict[str, RobotSpec] = {"cartpole": load_spec("cartpole"), "toy": parse_spec(TOY)}
CONFIG = load_config("nano")
EVERYWHERE = ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "open"), (Path, "unlink"))
ON_THE_ROBOT = (*EVERYWHERE, (Spool, "append"), (Spool, "settle"), (Shipper, "handle"), (Inbox, "receive"))
AT_THE_LEARNER = (
    *EVERYWHERE,
    (ExperienceStore, "add_chunk"),
    (ExperienceStore, "settled"),
    (ExperienceStore, "set_published"),
    (LinkServer, "_send"),
    (checkpoint.shutil, "rmtree"),  # type: ignore[attr-defined]
    (checkpoint.safetensors.torch, "save_file"),
)


def die_at(point: int | None, steps: Iterable[tuple[Any, str]]) -> None:
    """End this process at the n-th of these steps, counted over all of them; None: do not."""
    if point is not None:
        dying = dying_at(point)
        for owner, name in steps:
            setattr(owner, name, dying(getattr(owner, name)))


def totals(rows: Iterable[StepRecord], before: dict[str, list[int]] | None = None) -> dict[str, list[int]]:
    """By boot: number of rows, and sum of their numbers; what a consumer that skips or repeats a row gets wrong."""
    counts, sums = Counter[str](), Counter[str]()
    for boot, (count, total) in (before or {}).items():
        counts[boot], sums[boot] = count, total
    for row in rows:
        counts[row.boot] += 1
        sums[row.boot] += row.sequence
    return {boot: [counts[boot], sums[boot]] for boot in counts}


def robot(words: Connection, folder: Path, address: str, spec_name: str, point: int | None) -> None:
    """Recorder, spool, uplink and inbox of a robot; says boot and number of rows that are on its disk."""
    spec = SPECS[spec_name]
    die_at(point, ON_THE_ROBOT)
    link = RobotLink(spec, "r1", folder / "r1", address, timing=FAST)
    link.start()
    for sequence in itertools.count():
        link.record(synthetic_row(spec, "r1", link.boot, sequence))
        if sequence % 10 == 9:
            time.sleep(0.01)
            link.check()
            bundle = link.take_bundle()
            if bundle is not None:
                read_bundle(bundle, spec)
            words.send((link.boot, link.status().recorded))


def node(words: Connection, folder: Path, address: str, spec_name: str, point: int | None) -> None:
    """The policy node in lockstep with a scripted robot; says the same."""
    die_at(point, ON_THE_ROBOT)
    file = folder / "robot.yaml"
    if not file.exists():
        file.write_text(TOY)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    values = {"robot": str(file), "clock": "lockstep", "learner": address, "logdir": str(folder / "node")}
    values |= {"robot_id": "r1", "automatic": True, "random_actions": True, "threads": 1}
    body = FakeRobot(None)
    brain = PolicyNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(body)
    executor.add_node(brain)
    assert brain.bring_up()
    link = brain.components.link
    while True:
        executor.spin_once(timeout_sec=0.01)
        body.poke()
        words.send((link.boot, link.status().recorded))


def learner(words: Connection, folder: Path, address: str, spec_name: str, point: int | None) -> None:
    """Store, server, checkpoints and bundles of a learner that counts rows; says its cursor and the newest version."""
    torch.set_num_threads(1)
    spec = SPECS[spec_name]
    die_at(point, AT_THE_LEARNER)
    store = ExperienceStore(folder / "store.sqlite", spec)
    server = LinkServer(store, spec, address, timing=FAST)
    server.start()
    checkpoints, bundles = folder / "checkpoints", folder / "bundles"
    bundles.mkdir(exist_ok=True)
    cursor, seen = counted(checkpoints)
    version = store.published()[0]
    model, inputs, outputs = toy_model(spec)
    recording = record(model, inputs, outputs)
    while True:
        server.check()
        rows = store.read(cursor, 500)
        if not rows:
            time.sleep(0.005)
            continue
        cursor, seen = rows[-1][0], totals((row for _, row in rows), seen)
        progress = Progress(training_step=version + 1, env_step=cursor, cursor=cursor, replay=seen)
        save_checkpoint(checkpoints, {"agent/count": torch.tensor(cursor)}, progress, spec=spec, config=CONFIG, keep=2)
        version += 1
        bundle = bundles / f"bundle-{version:08d}.zip"
        write_bundle(bundle, model, toy_manifest(spec, inputs, outputs, version, store.id), recording)
        server.publish(bundle, version, cursor)
        words.send((cursor, version))
        time.sleep(1.0 if spec_name == "toy" else 0.05)  # a node proves each bundle in a process


def counted(checkpoints: Path) -> tuple[int, dict[str, list[int]]]:
    """Cursor and totals of the newest checkpoint; nothing of anything if there is none."""
    if not has_checkpoint(checkpoints):
        return 0, {}
    tensors, meta = load_checkpoint(checkpoints)
    assert int(tensors["agent/count"]) == meta.cursor
    return meta.cursor, meta.replay
