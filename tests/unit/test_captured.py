"""What a recording as a CUDA graph asks of an update, as far as it can be checked without a GPU."""

import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import batch_to
from robot_dreamer.learner.captured import CapturedUpdate
from tests.agents import MIXED, MIXED_ACTIONS, SIX_ACTIONS, WALKER, nano, random_batch


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class NoWaiting(TorchDispatchMode):
    """Fails where a value of a tensor is asked for, which on a GPU waits for the device, or a shape depends on data."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        assert name not in self.FORBIDDEN, name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, {"observations": MIXED, "actions": MIXED_ACTIONS}])
def test_an_update_neither_waits_for_the_device_nor_moves_its_state(options):
    agent = nano(**options)
    batch, noise = random_batch(agent, 2, 6), agent.draw_noise(2, 6)
    before = {name: tensor.data_ptr() for name, tensor in agent._state_tensors().items()}
    old = agent.optimizers["all"].flat.clone()
    with NoWaiting():
        for _ in range(2):
            agent.update(batch, noise)
    assert {name: tensor.data_ptr() for name, tensor in agent._state_tensors().items()} == before
    assert agent.updates == 2
    assert not torch.equal(agent.optimizers["all"].flat, old)


def test_the_check_notices_waiting():
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        float(torch.ones(()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fast", ["cuda_graph=true", "compile=true"])
def test_the_fast_path_on_a_gpu_equals_the_eager_one(fast):
    agents = [nano("device=cuda", option) for option in ("cuda_graph=false", fast)]
    batch, noise = random_batch(agents[0], 2, 6), agents[0].draw_noise(2, 6)
    batch = batch_to(batch, agents[0].device)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="torch.compile failed|the update could not be recorded")
        for _ in range(6):  # three before the recording, three replayed
            ours, theirs = (agent.update(batch, noise) for agent in agents)
    assert agents[0].updates == agents[1].updates == 6
    torch.testing.assert_close(theirs.latents.deter, ours.latents.deter, rtol=1e-3, atol=1e-4)
    for name, value in ours.scalars().items():
        torch.testing.assert_close(theirs.scalars()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("option", ["cuda_graph", "compile"])
def test_what_several_processes_leave_out_is_told(option):
    team = SimpleNamespace(join_rows=lambda part: part)
    with pytest.warns(UserWarning, match=f"{option}=true .*under torchrun"):
        Agent(WALKER, SIX_ACTIONS, load_config("nano", ["device=cpu", f"{option}=true"]), team)


def record_failing(monkeypatch, error):
    """A capture whose recording raises this error, on a machine without CUDA."""

    @contextmanager
    def recording(graph):
        raise error
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    agent = nano()
    captured = CapturedUpdate(agent._update)
    captured._calls = 3  # after the warm-up
    return captured(random_batch(agent, 2, 6), agent.draw_noise(2, 6))


def test_a_recording_that_fails_falls_back_with_a_warning(monkeypatch):
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph.*not permitted"):
        result = record_failing(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    assert result.applied


def test_memory_that_runs_out_while_recording_is_raised(monkeypatch):
    with pytest.raises(torch.OutOfMemoryError):
        record_failing(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))


def test_a_cuda_graph_without_cuda_is_refused():
    with pytest.raises(ValueError, match="cuda_graph: expected a CUDA device, found cpu"):
        nano("cuda_graph=true")
