"""Two processes that train together: the same result as one, and a whole run from the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from team_updates import CONFIGS, make_agent, make_batch, make_noise, state_after

from robot_dreamer.learner.checkpoint import has_checkpoint, load_checkpoint

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what two processes came to: they start once for all of CONFIGS."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(str(Path(__file__).with_name("team_updates.py")), str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_with_half_the_batch_equal_one_with_the_whole(together: Path, name: str) -> None:
    torch.set_num_threads(1)
    words = (together / f"{name}.txt").read_text()
    assert re.search(r"applied 0, not finite: reward, (replay_value, total|model)", words)
    assert "batch_size 3 must be a multiple of the 2 processes" in words
    two = load_file(together / f"{name}.safetensors")
    agent = make_agent(CONFIGS[name], None)
    before = agent.training_state()
    for noise in make_noise(make_agent(CONFIGS[name], None)):
        result = agent.update(make_batch(CONFIGS[name]), noise)
    one = state_after(agent, result.latents, result.losses)
    assert one.keys() == two.keys()
    learned = ("model/", "optimizer", "generator")
    for key in (key for key in one if not key.startswith(learned)):  # losses, latents, what moves with the updates
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    parameters = [key for key in one if key.startswith("model/")]
    error = torch.cat([(one[key] - two[key]).abs().flatten() for key in parameters])
    moved = torch.cat([(one[key] - before[key]).abs().flatten() for key in parameters])
    assert moved.median() > 1e-4
    assert error.quantile(0.999) <= 5e-6 and error.max() <= 1e-4  # the bounds of tests/golden after five updates


def test_a_run_of_two_processes_from_the_command_line(tmp_path: Path) -> None:
    options = ["--env", "dmc:cartpole_balance", "--preset", "nano", "--set", "device=cpu", "--set", "train_ratio=8"]
    done = torchrun("-m", "robot_dreamer.cli", "train", *options, "--steps", "120", "--logdir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["phase"] == "finished" and status["updates"] > 3
    assert load_checkpoint(tmp_path)[1].training_step == status["updates"]
    assert "process 2 of 2: " + str(status["updates"]) + " updates with the leader" in done.stderr


DYING_LEADER = """
import os, torch
from robot_dreamer.learner.team import Team, TeamError
team = Team.join(torch.device("cpu"))
if team.leads:
    team.order_idle()
    os._exit(1)
try:
    team.wait_for_update()
except TeamError as error:
    print(error)
finally:
    Team.leave()  # as joined_team does: torch may abort at the end of a process that has not
"""


def test_a_leader_that_is_gone_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DYING_LEADER]
    leader, follower = (
        subprocess.Popen(command, env=os.environ | place | {"RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in "01"
    )
    shown, _ = follower.communicate(timeout=500)
    leader.communicate(timeout=500)
    assert leader.returncode == 1 and follower.returncode == 0
    assert "process 0, which leads, is gone" in shown


@pytest.mark.soak
def test_torchrun_starts_again_from_the_checkpoint_when_a_follower_dies(tmp_path: Path) -> None:
    options = ["--env", "dmc:cartpole_balance", "--preset", "nano", "--set", "device=cpu", "--set", "train_ratio=8"]
    options += ["--set", "checkpoint_every=1", "--steps", "1500", "--logdir", str(tmp_path)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", "-m", "robot_dreamer.cli", "train", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 300
        while not has_checkpoint(tmp_path) or load_checkpoint(tmp_path)[1].training_step < 5:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        os.kill(member(run.pid, rank=1), signal.SIGKILL)
        assert run.wait(300) == 0, (tmp_path / "said").read_text()
    finally:
        run.kill()
    text = (tmp_path / "said").read_text()
    (resumed,) = re.findall(r"resumed at (\d+) updates", text)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["phase"] == "finished" and status["updates"] > int(resumed) >= 5
    assert load_checkpoint(tmp_path)[1].training_step == status["updates"]


def member(parent: int, rank: int) -> int:
    """Process id of a child that torchrun gave this rank."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in variables:
            return int(child)
    raise AssertionError(f"process {parent} has no child of rank {rank}")
