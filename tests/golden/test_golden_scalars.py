"""Distributions and small functions against `scalars.npz`."""

import pytest
import torch
from golden import Golden, assert_close, files

from robot_dreamer.behavior.returns import ReturnRange
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import (
    Binary,
    Categorical,
    Normal,
    SymlogMSE,
    TwoHot,
    symexp,
    symexp_bins,
    symlog,
)

OUT, GRAD, GRAD_TANH = 2e-6, 5e-6, 3e-5


@pytest.fixture(params=files("scalars"))
def g(request):
    return Golden(request.param)


@pytest.mark.parametrize(("name", "function"), [("symlog", symlog), ("symexp", symexp)])
def test_symlog_and_symexp(g, name, function):
    x = g[f"in/{name}_x"].requires_grad_()
    y = function(x)
    assert_close(y, g[f"out/{name}"], OUT)
    y.sum().backward()
    inner = x.detach() != 0  # The derivative at 0 is a matter of convention.
    assert_close(x.grad[inner], g[f"grad/{name}"][inner], GRAD)


def test_two_hot(g):
    bins = symexp_bins(g.config["bins"])
    assert_close(bins, g["out/twohot_bins"], OUT)
    assert bins[len(bins) // 2] == 0
    assert torch.equal(bins, -bins.flip(0))
    bins = g["out/twohot_bins"]
    logits = g["in/twohot_logits"].requires_grad_()
    target = g["in/twohot_target"]
    dist = TwoHot(logits, bins)
    index, weight = dist.encode(target)
    encoding = torch.zeros_like(logits).scatter_add(-1, index, weight)
    assert_close(encoding, g["out/twohot_encoding"], OUT)
    (loss,) = dist.loss(target)
    assert_close(loss, g["out/twohot_loss"], OUT)
    assert_close(dist.mean, g["out/twohot_pred"], OUT)
    assert dist.mean[0] == 0
    (g["weight/twohot"] * loss).sum().backward()
    assert_close(logits.grad, g["grad/twohot_loss_logits"], GRAD)


def test_two_hot_expectation_of_wild_logits(g):
    bins, logits = g["out/twohot_bins"], g["in/twohot_wild_logits"]
    bound = 1e-6 * (logits.softmax(-1) * bins.abs()).sum(-1)
    assert ((TwoHot(logits, bins).mean - g["out/twohot_wild_pred"]).abs() <= bound).all()


def test_latent_distribution(g):
    p, q = g["in/unimix_logits_p"].requires_grad_(), g["in/unimix_logits_q"].requires_grad_()
    dist, other = (Categorical(logits, g.config["unimix"]) for logits in (p, q))
    assert_close(dist.log_probs, g["out/unimix_logprob_p"], OUT)
    assert_close(dist.entropy(), g["out/unimix_entropy_p"], OUT)
    assert_close(dist.kl(other), g["out/unimix_kl_pq"], OUT)
    sample = dist.sample_one_hot(torch.zeros_like(p))
    assert torch.equal(sample.detach(), g["out/unimix_sample_p"])
    for value, logits, name in (
        (dist.kl(other) * g["weight/unimix_kl"], p, "kl_p"),
        (dist.kl(other) * g["weight/unimix_kl"], q, "kl_q"),
        (dist.entropy() * g["weight/unimix_entropy"], p, "entropy_p"),
        (sample * g["weight/unimix_sample"], p, "sample_p"),
    ):
        (grad,) = torch.autograd.grad(value.sum(), logits, retain_graph=True)
        assert_close(grad, g[f"grad/unimix_{name}"], GRAD, name)


def test_discrete_policy_distribution(g):
    logits = g["in/categorical_logits"].requires_grad_()
    dist = Categorical(logits)
    log_prob, entropy = dist.log_prob(g["in/categorical_event"]), dist.entropy()
    assert_close(log_prob, g["out/categorical_logp"], OUT)
    assert_close(entropy, g["out/categorical_entropy"], OUT)
    (g["weight/categorical_logp"] * log_prob + g["weight/categorical_entropy"] * entropy).sum().backward()
    assert_close(logits.grad, g["grad/categorical_logits"], GRAD)


def test_continuous_policy_distribution(g):
    mean, std = g["in/normal_raw_mean"].requires_grad_(), g["in/normal_raw_std"].requires_grad_()
    dist = Normal.bounded(mean, std, g.config["minstd"], g.config["maxstd"])
    log_prob, entropy = dist.log_prob(g["in/normal_event"]).sum(-1), dist.entropy().sum(-1)
    assert_close(dist.mean, g["out/normal_mean"], OUT)
    assert_close(dist.std, g["out/normal_std"], OUT)
    assert_close(log_prob, g["out/normal_logp"], OUT)
    assert_close(entropy, g["out/normal_entropy"], OUT)
    (g["weight/normal_logp"] * log_prob + g["weight/normal_entropy"] * entropy).sum().backward()
    assert_close(mean.grad, g["grad/normal_raw_mean"], GRAD_TANH)
    assert_close(std.grad, g["grad/normal_raw_std"], GRAD_TANH)


def test_binary(g):
    logit = g["in/binary_logit"].requires_grad_()
    dist = Binary(logit)
    loss = dist.loss(g["in/binary_label"])
    assert_close(loss, g["out/binary_loss"], OUT)
    assert_close(dist.mean, g["out/binary_prob1"], OUT)
    (g["weight/binary"] * loss).sum().backward()
    assert_close(logit.grad, g["grad/binary_logit"], GRAD)


def test_symlog_mse(g):
    prediction = g["in/symlogmse_pred"].requires_grad_()
    loss = SymlogMSE(prediction).loss(g["in/symlogmse_target"]).sum(-1)
    assert_close(loss, g["out/symlogmse_loss"], OUT)
    (g["weight/symlogmse"] * loss).sum().backward()
    assert_close(prediction.grad, g["grad/symlogmse_pred"], GRAD)


def test_return_range(g):
    c = g.config["retnorm"]
    config = BehaviorConfig(
        return_rate=c["rate"], return_percentile_low=c["perclo"], return_percentile_high=c["perchi"]
    )
    state = ReturnRange(g["in/retnorm_lo"], g["in/retnorm_hi"])
    history = []
    for returns in g["in/retnorm_x"]:
        state = state.updated(returns, config)
        history.append((*state, state.scale(c["limit"])))
    for values, name in zip(zip(*history, strict=True), ("lo", "hi", "scale"), strict=True):
        assert_close(torch.stack(values), g[f"out/retnorm_{name}"], OUT, name)
