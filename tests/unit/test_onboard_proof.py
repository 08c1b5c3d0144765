"""The proof of a bundle ends, whatever its model does, and so does its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from robot_dreamer.onboard.bundle import BundleError, read_bundle
from robot_dreamer.onboard.manifest import PassingProblem
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.onboard.proof import PATIENCE, prove
from robot_dreamer.onboard.slot import PolicySlot
from tests.onboard_models import endless, make_bundle, make_foreign_bundle, toy_spec
from tests.waiting import until

SPEC = toy_spec(rate="1000.0")


def proofs(parent: int = os.getpid()) -> list[int]:
    """Processes that prove a bundle for `parent`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if words[1:5] == [b"-m", b"robot_dreamer.servant", str(parent).encode(), b"robot_dreamer.onboard.proof"]:
            found.append(int(folder.name))
    return found


def slow_to_load(model: bytes) -> bytes:
    """The toy model with constants that take minutes to work out: one long operator after the other, before any run."""
    proto = onnx.load_from_string(model)
    side = helper.make_tensor("side", TensorProto.INT64, [2], [3000, 3000])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1e-9])
    nodes = [helper.make_node("ConstantOfShape", ["side"], ["c0"], value=value)]
    nodes += [helper.make_node("MatMul", [f"c{i}", f"c{i}"], [f"c{i + 1}"]) for i in range(1000)]
    nodes += [helper.make_node("ReduceSum", ["c1000"], ["sum"], keepdims=0)]
    at = next(i for i, node in enumerate(proto.graph.node) if "drive" in node.output)
    proto.graph.node[at].output[0] = "undriven"
    for i, node in enumerate([*nodes, helper.make_node("Add", ["undriven", "sum"], ["drive"])]):
        proto.graph.node.insert(at + 1 + i, node)
    proto.graph.initializer.append(side)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("spoil", [endless, slow_to_load], ids=["runs", "loads"])
def test_a_model_that_never_ends_is_refused_by_name_and_leaves_nothing_behind(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = make_foreign_bundle(tmp_path / "endless.bundle", SPEC, spoil)
    with pytest.raises(PassingProblem, match=r"bundle endless.bundle: its proof did not end within 2 s, for 20 steps"):
        prove(path, read_bundle(path, SPEC), patience=1.0)
    assert not proofs()


def test_whoever_ends_does_not_wait_for_a_proof(tmp_path: Path) -> None:
    path = make_foreign_bundle(tmp_path / "endless.bundle", SPEC, endless)
    with pytest.raises(BundleError, match="bundle endless.bundle: its proof was cut short: the node ends"):
        prove(path, read_bundle(path, SPEC), ended=lambda: bool(proofs()), patience=1e9)
    assert not proofs()


def test_a_proof_whose_process_dies_refuses_the_bundle(tmp_path: Path) -> None:
    """As the kernel ends it where memory runs out: the node lives on."""
    path = make_foreign_bundle(tmp_path / "endless.bundle", SPEC, endless)

    def kill() -> None:
        until(proofs)
        os.kill(proofs()[0], signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(PassingProblem, match="bundle endless.bundle: its proof ended with status -9: it said nothing"):
        prove(path, read_bundle(path, SPEC), patience=1e9)


def test_a_proof_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    path = make_foreign_bundle(tmp_path / "endless.bundle", SPEC, endless)
    script = f"""
from pathlib import Path
from robot_dreamer.onboard.proof import prove
from robot_dreamer.onboard.bundle import read_bundle
from tests.onboard_models import toy_spec
path = Path({str(path)!r})
prove(path, read_bundle(path, toy_spec(rate="1000.0")), patience=1e9)
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    until(lambda: proofs(parent.pid))
    parent.kill()
    parent.wait()
    until(lambda: not proofs(parent.pid))


def test_what_the_proof_finds_is_what_is_said(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "own.bundle", SPEC)
    bundle = read_bundle(path, SPEC)
    policy = prove(path, bundle)
    assert policy.version == bundle.manifest.version and not policy.state["hidden"].any()
    wrong = make_foreign_bundle(tmp_path / "wrong.bundle", SPEC, lambda model: model.replace(b"Tanh", b"Tahn"))
    with pytest.raises(BundleError, match=r"bundle wrong.bundle: ONNX Runtime cannot load its model: .*Tahn"):
        prove(wrong, read_bundle(wrong, SPEC))


def test_the_bundle_after_an_endless_one_is_taken(tmp_path: Path) -> None:
    slot = PolicySlot(SPEC, RandomPolicy(SPEC, 0), patience=3.0)
    slot.offer(make_foreign_bundle(tmp_path / "1.bundle", SPEC, endless, 1))
    until(lambda: slot.refused)
    assert slot.last_refusal.startswith("bundle 1.bundle: its proof did not end within")
    slot._patience = PATIENCE  # of a sound one, whose process yields to all others on a busy machine
    slot.offer(make_bundle(tmp_path / "2.bundle", SPEC, 2))
    until(lambda: slot.exchange().policy.version == 2)
    slot.offer(make_foreign_bundle(tmp_path / "3.bundle", SPEC, endless, 3))
    until(proofs)
    slot.stop(timeout=60.0)  # a slow machine is not what is asked about
    assert not proofs() and not any(thread.name == "policy-slot" for thread in threading.enumerate())
