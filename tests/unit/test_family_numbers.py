"""Numbers of the generations before DreamerV3 that follow from their papers by arithmetic: sizes, values at zero."""

import numpy as np
import pytest
import torch

from robot_dreamer.behavior.action_distributions import TanhNormal, TruncatedNormal
from robot_dreamer.behavior.evolution import LinearController
from robot_dreamer.behavior.returns import arrival_return, lambda_return
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.objectives import OBJECTIVES
from robot_dreamer.world_model.distributions import Categorical
from robot_dreamer.world_model.fields import Field, fields_of
from robot_dreamer.world_model.kl_rules import balanced
from robot_dreamer.world_model.latent import Classes, Numbers
from tests.agents import IMAGE, SIX_ACTIONS, WALKER, random_batch, spaces

GREY = spaces.Dict({"image": spaces.Box(0, 255, (64, 64, 1), np.uint8)})


def numbers(count):
    return spaces.Dict({"action": spaces.Box(-1, 1, (count,))})


def sizes(preset, observations, actions):
    """Parameters of RSSM, world model, actor and critic."""
    with torch.device("meta"):
        config = load_config(preset)
        modules = OBJECTIVES[config.objective].build(fields_of(observations), fields_of(actions), config)
    named = modules["world_model"].rssm, modules["world_model"], modules["policy"], modules["critic"]
    return tuple(sum(p.numel() for p in module.parameters()) for module in named)


def test_sizes_of_dreamer_v1():
    """Each action adds one row to the first layer of the RSSM."""
    found = {count: sizes("dreamer_v1:dmc_vision", IMAGE, numbers(count)) for count in (1, 2, 6)}
    assert [found[count][0] for count in (1, 2, 6)] == [556_920, 557_120, 557_920]
    assert found[6][1:] == (5_296_820, 578_412, 413_601)


def test_sizes_of_dreamer_v2():
    """The paper says 20M for the world model of Atari and 1M each for actor and critic."""
    atari = sizes("dreamer_v2:atari", GREY, spaces.Dict({"action": spaces.Discrete(18)}))
    assert atari == (5_664_848, 19_975_379, 1_138_418, 1_131_601)
    _, world, _, critic = sizes("dreamer_v2:dmc_vision", IMAGE, numbers(1))
    assert (world, critic) == (13_655_772, 971_601)


def test_a_controller_that_sees_the_code_alone():
    assert LinearController([Field("action", "vector", (3,))], 32).parameter_count == 99


def test_spreads_of_fresh_networks():
    """What a raw output of zero means to each distribution."""
    zero = torch.zeros(1)
    assert TanhNormal.bounded(zero, zero, 5.0, 1e-4).base.std.item() == pytest.approx(5.0001, abs=1e-5)
    assert TruncatedNormal.bounded(zero, zero, 0.1).std.item() == pytest.approx(1.1)
    raw = torch.zeros(2)
    assert Numbers(1, 0.1)(raw).std.item() == pytest.approx(0.793147, abs=1e-6)
    assert Numbers(1, 0.1, "sigmoid2")(raw).std.item() == pytest.approx(1.1)
    assert Numbers(1, rule="log_variance")(raw).std.item() == 1.0


@pytest.mark.parametrize("latent", [Classes(3, 4), Numbers(3)], ids=["classes", "numbers"])
def test_balancing_shares_the_gradient_of_the_plain_kl(latent):
    g = torch.Generator().manual_seed(0)
    posterior, prior = (
        torch.randn(2, 5, *latent.statistics, generator=g).mul(2).requires_grad_() for _ in ("posterior", "prior")
    )
    plain = torch.autograd.grad(latent.kl(latent(posterior), latent(prior)).mean(), (posterior, prior))
    found = torch.autograd.grad(balanced(latent, latent(posterior), latent(prior), 0.0, 0.8), (posterior, prior))
    assert torch.allclose(found[0], 0.2 * plain[0], atol=1e-7)
    assert torch.allclose(found[1], 0.8 * plain[1], atol=1e-7)


def test_a_straight_through_draw_is_one_hot_and_has_the_gradient_of_the_softmax():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=g).requires_grad_()
    noise, weight = torch.rand(6, 5, generator=g).log().neg().log().neg(), torch.randn(6, 5, generator=g)
    drawn = Categorical(logits, 0.0).sample_one_hot(noise)
    assert set(drawn.flatten().tolist()) == {0.0, 1.0}
    assert (drawn.sum(-1) == 1).all()
    found = torch.autograd.grad((weight * drawn).sum(), logits)[0]
    softmax = torch.autograd.grad((weight * torch.softmax(logits, -1)).sum(), logits)[0]
    assert torch.allclose(found, softmax, atol=1e-6)


def test_lambda_returns_at_both_ends():
    """0: the temporal difference of one step. 1: the discounted sum with the last value."""
    reward, value = torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    live = torch.full_like(reward, 0.99)
    assert torch.allclose(lambda_return(reward, live, value, 0.0), reward[:, 1:] + 0.99 * value[:, 1:])
    assert torch.allclose(arrival_return(reward, live, value, 0.0), reward[:, :-1] + 0.99 * value[:, 1:])
    whole = 2 + 0.99 * (4 + 0.99 * (8 + 0.99 * 40))
    assert lambda_return(reward, live, value, 1.0)[0, 0].item() == pytest.approx(whole)
    arrived = 1 + 0.99 * (2 + 0.99 * (4 + 0.99 * 40))
    assert arrival_return(reward, live, value, 1.0)[0, 0].item() == pytest.approx(arrived)


def test_the_slow_critic_follows_after_weeks_too():
    """In float32 16,777,216 and one more are the same: it would follow at each update from then on, or never again."""
    small = ("device=cpu", "model.units=8", "model.deter=16", "model.hidden=8", "behavior.horizon=3")
    agent = Agent(WALKER, SIX_ACTIONS, load_config("dreamer_v2:cpu", [*small, "behavior.slow_every=5"]))
    critic, slow = (agent.parts.modules[name].out.kernel for name in ("critic", "slow_critic"))
    agent.state["updates"].fill_(2**24 - 1)
    copied = []
    for _ in range(6):
        before = slow.clone()
        assert agent.update(random_batch(agent, 2, 5)).applied
        copied.append(not torch.equal(slow, before) and torch.equal(slow, critic))
    assert copied == [True, False, False, False, False, True]  # 16,777,215 is a multiple of 5
