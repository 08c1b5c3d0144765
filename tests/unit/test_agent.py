"""The agent as a whole: sizes, updates, resuming, filtering, acting."""

import shutil
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.carry import Carry
from robot_dreamer.learner.memory import keep_freed_memory
from tests.agents import (
    IMAGE,
    MIXED,
    MIXED_ACTIONS,
    SIX_ACTIONS,
    WALKER,
    count_parameters,
    forward,
    nano,
    random_batch,
    spaces,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("size", "vision", "proprio_millions"),
    [
        ("1m", 686_846, 0.640867),
        ("12m", 10_494_158, 9.738019),
        ("25m", 23_489_326, 21.78),
        ("50m", 41_650_062, 38.61),
        ("100m", 93_468_238, 86.62),
        ("200m", 165_948_686, 153.77),
        ("400m", 372_896_398, 345.47),
    ],
)
def test_parameter_counts_are_those_of_the_published_code(size, vision, proprio_millions):
    with torch.device("meta"):
        assert count_parameters(IMAGE, SIX_ACTIONS, load_config(size)) == vision
        proprio = count_parameters(WALKER, SIX_ACTIONS, load_config(size))
    digits = len(str(proprio_millions).split(".")[1])  # as precise as it is known
    assert round(proprio / 1e6, digits) == proprio_millions


def test_parameter_count_with_the_actions_of_atari():
    with torch.device("meta"):
        actions = spaces.Dict({"action": spaces.Discrete(18)})
        assert count_parameters(IMAGE, actions, load_config("200m")) == 165_967_124


def test_parameter_counts_of_the_parts():
    agent = Agent(WALKER, SIX_ACTIONS, load_config("1m", ["device=cpu"]))
    world = agent.world_model
    counts = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in {
            "rssm": world.rssm,
            "decoder": world.decoder,
            "critic": agent.critic,
            "policy": agent.policy,
            "reward": world.reward,
            "continuation": world.continuation,
            "encoder": world.encoder,
        }.items()
    }
    assert counts == {
        "rssm": 364_416,
        "decoder": 51_096,
        "critic": 66_111,
        "policy": 50_316,
        "reward": 57_663,
        "continuation": 41_153,
        "encoder": 10_112,
    }


def test_update_with_every_kind_of_field():
    agent = nano(observations=MIXED, actions=MIXED_ACTIONS)
    batch = random_batch(agent, 3, 7)
    before = agent.optimizers["all"].flat.clone()
    agent.update(batch)  # The first update has learning rate 0.
    assert torch.equal(agent.optimizers["all"].flat, before)
    result = agent.update(batch)
    latents, metrics = result.latents, result.scalars()
    assert not torch.equal(agent.optimizers["all"].flat, before)
    assert latents.deter.shape == (3, 6, 64) and latents.stoch.shape == (3, 6, 4, 4)
    assert not latents.deter.requires_grad and not latents.stoch.requires_grad
    assert all(value.shape == () and not value.requires_grad and torch.isfinite(value) for value in metrics.values())
    assert metrics["optimizer/applied"] == 1


def test_learning_reduces_the_losses_of_the_world_model():
    agent = nano("optimizer.warmup=0", "optimizer.learning_rate=1e-3")
    batch = random_batch(agent, 4, 9)
    history = [agent.update(batch).scalars() for _ in range(60)]
    for name in ("loss/reward", "loss/reconstruction/velocity"):
        assert history[-1][name] < 0.9 * history[0][name], name


def test_imagination_may_start_from_the_last_rows_only():
    agent = nano("behavior.imagine_last=3")
    found = forward(agent, random_batch(agent, 2, 9), agent.draw_noise(2, 9))
    assert found.imagined.feature.shape[0] == 2 * 3
    assert found.objective.terms["replay_value"].shape == (2, 2)


@pytest.mark.parametrize("where", ["observation", "reward"])
def test_a_batch_that_is_not_finite_changes_nothing(where):
    agent = nano()
    good = random_batch(agent, 2, 6)
    agent.update(good)
    before = agent.training_state()
    if where == "reward":
        bad = good._replace(reward=torch.full_like(good.reward, torch.nan))
    else:
        bad = good._replace(observation={**good.observation, "height": torch.full_like(good.reward, torch.nan)})
    result = agent.update(bad)
    assert not result.applied
    broken = {name for name, value in result.losses.items() if not torch.isfinite(value)}
    assert ("reward" if where == "reward" else "reconstruction/height") in broken
    after = agent.training_state()
    assert all(torch.equal(before[name], after[name]) for name in before if name != "generator")


def test_a_step_that_is_too_long_for_the_parameters_leaves_them_as_they_are():
    agent = nano("optimizer.warmup=0", "optimizer.learning_rate=1e39")
    before = {name: value.clone() for name, value in agent.named_parameters()}
    assert not agent.update(random_batch(agent, 2, 6)).applied
    assert all(torch.equal(before[name], value) for name, value in agent.named_parameters())
    assert all(torch.isfinite(value).all() for value in agent.training_state().values())


def test_resumed_training_equals_uninterrupted_training():
    batches = None
    agent = nano(observations=MIXED, actions=MIXED_ACTIONS)
    batches = [random_batch(agent, 2, 6, seed) for seed in range(6)]
    for batch in batches[:3]:
        agent.update(batch)
    tensors = agent.training_state()
    other = nano("seed=7", observations=MIXED, actions=MIXED_ACTIONS)
    other.load_training_state(tensors)
    for batch in batches[3:]:
        first, second = agent.update(batch), other.update(batch)
        assert torch.equal(first.latents.deter, second.latents.deter)
        assert all(torch.equal(value, second.scalars()[name]) for name, value in first.scalars().items())
    ours, theirs = agent.training_state(), other.training_state()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_loading_a_state_that_does_not_fit_names_the_tensors():
    agent = nano()
    tensors = agent.training_state()
    before = agent.optimizers["all"].flat.clone()
    name = "model/policy.trunk.0.bias"
    broken = {key: value + 1 if value.is_floating_point() else value for key, value in tensors.items()}
    del broken["return_range/low"]
    broken["extra"] = torch.zeros(1)
    broken[name] = torch.zeros(3)
    with pytest.raises(ValueError, match="missing return_range/low.*unexpected extra") as error:
        agent.load_training_state(broken)
    assert f"{name}: expected (16,), found (3,)" in str(error.value)
    assert torch.equal(agent.optimizers["all"].flat, before)


def test_same_seed_same_parameters_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, second, other = nano(), nano(), nano("seed=1")
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first.optimizers["all"].flat, second.optimizers["all"].flat)
    assert not torch.equal(first.optimizers["all"].flat, other.optimizers["all"].flat)


def test_filtering_in_pieces_equals_filtering_at_once_and_acting_step_by_step():
    agent = nano(observations=MIXED, actions=MIXED_ACTIONS)
    batch = random_batch(agent, 2, 8)
    noise = agent.draw_noise(2, 9).observe
    whole = agent.observe(batch.observation, batch.action, batch.is_first, None, noise)

    def part(data, start, stop):
        return {name: value[:, start:stop] for name, value in data.items()}

    first = agent.observe(
        part(batch.observation, 0, 3), part(batch.action, 0, 3), batch.is_first[:, :3], None, noise[:3]
    )
    carry = Carry.after(first, part(batch.action, 0, 3))
    second = agent.observe(
        part(batch.observation, 3, 8), part(batch.action, 3, 8), batch.is_first[:, 3:], carry, noise[3:]
    )
    torch.testing.assert_close(torch.cat((first.deter, second.deter), 1), whole.deter)
    assert torch.equal(torch.cat((first.stoch, second.stoch), 1), whole.stoch)

    step = agent.policy_step()
    state = agent.world_model.rssm.initial(2)._asdict()
    previous = {name: torch.zeros_like(value[:, 0]) for name, value in batch.action.items()}
    quiet = {port.name: torch.zeros(2, *port.shape) for port in step.layout.noise}
    for t in range(8):
        first = batch.is_first[:, t] if t else torch.ones(2, dtype=torch.bool)
        observation = {name: value[:, t] for name, value in batch.observation.items()}
        with torch.no_grad():
            action, state, monitors = step(observation, previous, state, first, quiet | {"latent_noise": noise[t]})
        surprise, value, reward = (monitors[name] for name in ("surprise", "value", "reward"))
        deter, stoch = state["deter"], state["stoch"]
        torch.testing.assert_close(deter, whole.deter[:, t])
        assert torch.equal(stoch, whole.stoch[:, t])
        assert action["arm"].shape == (2, 2) and action["arm"].abs().max() <= 1
        assert action["grip"].shape == (2,) and action["grip"].dtype == torch.int64
        assert surprise.shape == value.shape == reward.shape == (2,) and (surprise >= 0).all()
        assert (value == 0).all() and (reward == 0).all()  # Fresh heads predict exactly zero.
        previous = {name: value[:, t] for name, value in batch.action.items()}


@pytest.mark.parametrize(
    ("observations", "actions", "part"),
    [
        (spaces.Dict({"x": spaces.MultiDiscrete([2, 3])}), SIX_ACTIONS, "'x'"),
        (spaces.Dict({"x": spaces.Box(0, 9, (3,), np.int32)}), SIX_ACTIONS, "'x'"),
        (spaces.Dict({"x": spaces.Box(0, 255, (60, 64, 3), np.uint8)}), SIX_ACTIONS, "'x'"),
        (spaces.Dict({}), SIX_ACTIONS, "observation space"),
        (WALKER, spaces.Dict({}), "action space"),
        (WALKER, IMAGE, "'image'"),
    ],
)
def test_spaces_that_do_not_fit_are_named(observations, actions, part):
    with pytest.raises(ValueError, match=part):
        nano(observations=observations, actions=actions)


def test_unknown_device_is_explained():
    with pytest.raises(ValueError, match="device"):
        nano("device=tpu7")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            nano("device=cuda")


def test_bfloat16_stays_close_to_float32():
    exact, rough = nano(), nano("precision=bfloat16")
    batch, noise = random_batch(exact, 2, 6), exact.draw_noise(2, 6)
    a, b = forward(exact, batch, noise).objective, forward(rough, batch, noise).objective
    assert a.total.dtype == b.total.dtype == torch.float32
    for name in ("reward", "continuation", "dynamics", "reconstruction/velocity"):
        torch.testing.assert_close(a.terms[name].mean(), b.terms[name].mean(), rtol=0.1, atol=0.1)
    assert rough.update(batch).applied


def test_a_compiler_that_fails_costs_one_warning_and_nothing_else(monkeypatch):
    def broken(function, **options):
        def run(*arguments):
            raise RuntimeError("no compiler found\nand many more lines")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    plain, fallen_back = nano(), nano("compile=true")
    batch = random_batch(plain, 2, 6)
    with pytest.warns(UserWarning, match="torch.compile failed.*delete .*: no compiler found") as caught:
        for _ in range(2):
            expected, found = plain.update(batch).latents, fallen_back.update(batch).latents
            assert torch.equal(expected.deter, found.deter)
    assert len(caught) == 1
    assert torch.equal(plain.optimizers["all"].flat, fallen_back.optimizers["all"].flat)


def assert_compiled_equals_eager(rtol, **spaces):
    """Latents, losses and gradients of the compiled agent are those of the plain one, up to rtol of the largest."""
    eager, fast = nano(**spaces), nano("compile=true", **spaces)
    batch, noise = random_batch(eager, 2, 6), eager.draw_noise(2, 6)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile failed")
        for _ in range(2):
            eager.update(batch, noise)
            fast.update(batch, noise)
        (a, b) = seen = forward(eager, batch, noise), forward(fast, batch, noise)
        gradients = [
            torch.autograd.grad(x.objective.total, agent.optimizers["all"].parameters)
            for x, agent in zip(seen, (eager, fast), strict=True)
        ]
    assert torch.equal(a.observed.stoch, b.observed.stoch)
    pairs = {"imagined": (a.imagined.feature, b.imagined.feature)}
    a, b = a.objective, b.objective
    pairs |= {"total": (a.total, b.total)}
    pairs |= {name: (a.terms[name], b.terms[name]) for name in a.terms}
    pairs |= {name: (a.metrics[name], b.metrics[name]) for name in a.metrics}
    pairs |= {f"gradient {i}": pair for i, pair in enumerate(zip(*gradients, strict=True))}
    for name, (ours, theirs) in pairs.items():
        torch.testing.assert_close(
            theirs, ours, rtol=0, atol=rtol * max(1e-3, float(ours.detach().abs().max())), msg=name
        )


@pytest.mark.timeout(600)  # Ten seconds on a quiet machine.
def test_what_is_compiled_equals_eager(monkeypatch):
    # Traced, functionalised and differentiated as for the compiler, but run by PyTorch's own kernels: takes seconds.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert_compiled_equals_eager(1e-5, observations=MIXED, actions=MIXED_ACTIONS)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.timeout(900)
def test_compiled_equals_eager():
    assert_compiled_equals_eager(1e-4)


def test_freed_memory_is_kept_on_linux():
    assert keep_freed_memory() is sys.platform.startswith("linux")


def test_a_depth_that_the_blocks_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="model.depth: 3 x 4 channels .* multiple of model.decoder_blocks = 8"):
        nano("model.depth=3", observations=IMAGE)


def test_the_random_numbers_of_another_kind_of_device_begin_anew_and_that_is_said(caplog):
    """A CPU's generator has 5056 bytes of state, a GPU's 16."""
    agent, other = nano(), nano()
    batch = random_batch(agent, 2, 4)
    agent.update(batch)
    for size in (16, 5057):
        caplog.clear()
        stored = agent.training_state() | {"generator": torch.zeros(size, dtype=torch.uint8)}
        other.load_training_state(stored)
        assert (
            f"random numbers begin anew: the state on cpu has 5056 bytes, the checkpoint has one of {size}"
            in caplog.text
        )
        first = other.draw_noise(2, 5).observe
        other.load_training_state(stored)
        assert torch.equal(other.draw_noise(2, 5).observe, first)  # from seed and updates
    assert other.updates == 1
