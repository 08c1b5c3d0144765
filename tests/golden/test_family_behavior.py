"""Actions and returns of Dreamer V1, DreamerV2 and DayDreamer against `v1_actor`, `v2_trunc_normal*`, `*_returns`.

Trajectories there are (time, rows), ours (rows, time).
"""

import pytest
import torch
from family_golden import GRAD, OUT, check_gradients, files
from golden import Golden, assert_close
from torch import nn

from robot_dreamer.behavior.action_distributions import TanhNormal, TruncatedNormal, normal_cdf, normal_quantile
from robot_dreamer.behavior.dreamer_losses import Judged, imagined_returns, state_weights
from robot_dreamer.behavior.returns import AdvantageScale, arrival_return
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import Categorical
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp


class Network(nn.Module):
    """Hidden layers and one output layer, with the parameters of a head of the file."""

    def __init__(self, g, head, layers):
        super().__init__()
        kernels = [g[f"param/{head}/{layer}/kernel"] for layer in layers]
        widths = [kernel.shape[1] for kernel in kernels]
        self.trunk = glorot_mlp(kernels[0].shape[0], widths[:-1], "elu")
        self.out = GlorotLinear(widths[-2], widths[-1])
        ours = [f"trunk.{i}" for i in range(len(layers) - 1)] + ["out"]
        pairs = zip(ours, layers, strict=True)
        self.names = {f"{a}.{x}": f"{head}/{b}/{x}" for a, b in pairs for x in ("kernel", "bias")}
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(g[f"param/{self.names[name]}"])

    def forward(self, x):
        return self.out(self.trunk(x))


@pytest.mark.parametrize("path", files("v1_actor"))
def test_tanh_normal(path):
    g = Golden(path)
    c = g.config
    layers = [*(f"h{i}" for i in range(c["layers"])), "hout"]
    network = Network(g, "actor", layers)

    def distribution():
        mean, std = network(g["in/feat"]).chunk(2, -1)
        return TanhNormal.bounded(mean, std, c["init_std"], c["min_std"])

    def backward(scalar, name):
        network.zero_grad()
        scalar.backward()
        check_gradients(network, g, network.names, prefix=f"grad/{name}/param/")

    d = distribution()
    assert_close(d.base.mean, g["out/mean"], OUT)
    assert_close(d.base.std, g["out/std"], OUT)
    u = d.base.sample(g["noise/sample"])
    assert_close(u, g["out/pre_tanh"], OUT)
    assert_close(d.sample(g["noise/sample"]), g["out/sample"], OUT)
    assert_close(d.sample(torch.zeros(())), torch.tanh(g["out/mean"]), OUT)
    backward((g["weight/sample"] * d.sample(g["noise/sample"])).sum(), "sample")

    d = distribution()
    assert_close(d.base.log_prob(u) - d.log_prob_of(u), g["out/log_det_jacobian"], OUT)
    own = d.log_prob_of(d.base.sample(g["noise/sample"])).sum(-1)
    assert_close(own, g["out/logprob_from_pre_tanh"], OUT)
    assert_close(own, g["out/logprob_original"], 5e-3)
    backward((g["weight/logprob"] * own).sum(), "logprob_from_pre_tanh")

    event = distribution().log_prob(g["in/event"]).sum(-1)
    assert_close(event, g["out/logprob_event"], OUT)
    backward((g["weight/logprob"] * event).sum(), "logprob_event")

    entropy = distribution().entropy(g["noise/entropy"]).sum(-1)
    assert_close(entropy, g["out/entropy_from_pre_tanh"], OUT)
    assert_close(entropy, g["out/entropy_original"], 5e-3)
    backward((g["weight/logprob"] * entropy).sum(), "entropy_from_pre_tanh")

    # The best of the original's draws for its mode; ours is the tanh of the mean, which costs no draws.
    d = distribution()
    d = TanhNormal(d.base.mean[0], d.base.std[0])
    draws = d.base.sample(g["noise/mode"])
    best = d.log_prob_of(draws).sum(-1).argmax()
    assert_close(torch.tanh(draws[best]), g["out/mode_of_first_row"], OUT)

    network = Network(g, "onehot", layers)
    for name in ("sample", "logprob"):
        d = Categorical(network(g["in/feat"]))
        if name == "sample":
            value, weight = d.sample_one_hot(g["noise/onehot"]), g["weight/onehot_sample"]
        else:
            value, weight = (d.log_probs * g["in/onehot_action"]).sum(-1), g["weight/logprob"]
        assert_close(value, g[f"out/onehot/{name}"], OUT)
        backward((weight * value).sum(), f"onehot_{name}")
    assert_close(d.sample_one_hot(torch.zeros(())), g["out/onehot/mode"], OUT)


def test_tanh_entropy_without_draws():
    d = TanhNormal(torch.tensor([0.0, 1.5]), torch.tensor([1.0, 0.3]))
    draws = torch.randn((200_000, 2), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(d.entropy(), d.entropy(draws), atol=0.03)


@pytest.mark.parametrize("path", files("v2_trunc_normal", "v2_trunc_normal_exact"))
def test_truncated_normal(path):
    g = Golden(path)
    c, uniform = g.config, g["noise/uniform"]
    raw = {name: g[f"in/{name}"].requires_grad_() for name in ("raw_mean", "raw_std")}
    exact = c["component"].endswith("exact")
    d = TruncatedNormal.bounded(*raw.values(), c["min_std"], exact)
    sample = d.quantile(uniform, (1 - uniform.double()).float())
    assert_close(d.mean, g["out/mean"], OUT)
    assert_close(d.std, g["out/std"], OUT)
    values = {
        "sample": sample,
        "mode": d.mode,
        "entropy": d.entropy().sum(-1),
        "logprob": d.log_prob(g["in/event"]).sum(-1),
        "self_logprob": d.log_prob(sample).sum(-1),
    }
    for name, value in values.items():
        assert_close(value, g[f"out/{name}"], OUT, name)
        scalar = (g[f"weight/{name}"] * value).sum() + 0 * sum(x.sum() for x in raw.values())
        gradients = torch.autograd.grad(scalar, list(raw.values()), retain_graph=True)
        for (key, _), gradient in zip(raw.items(), gradients, strict=True):
            assert_close(gradient, g[f"grad/{name}/{key}"], GRAD, f"{name}/{key}")


def test_noise_of_a_truncated_normal():
    d = TruncatedNormal(torch.tensor([-0.9, 0.0, 0.999]), torch.tensor([0.5, 1.5, 0.1]))
    noise = torch.linspace(-5.1, 5.1, 30).unsqueeze(-1).expand(-1, 3)
    sample = d.sample(noise)
    assert (sample.diff(dim=0) >= 0).all() and (sample.abs() < 1).all()
    assert torch.equal(d.sample(torch.zeros(3)), d.mean)
    # A sample's rank among all is that of its noise.
    cut = [normal_cdf((x - d.mean) / d.std) for x in (torch.tensor(-1.0), sample, torch.tensor(1.0))]
    assert torch.allclose((cut[1] - cut[0]) / (cut[2] - cut[0]), normal_cdf(noise), atol=1e-4)


def test_normal_quantile():
    p = torch.logspace(-7, -0.35, 200, dtype=torch.float64)
    assert torch.allclose(normal_quantile(p.float()).double(), torch.special.ndtri(p), rtol=2e-6)


def rows(x):
    return x.transpose(0, 1)


@pytest.mark.parametrize("path", files("v1_returns", "v2_returns"))
def test_returns_with_the_reward_of_the_state(path):
    g = Golden(path)
    c, v1 = g.config, g.config["component"] == "v1_returns"
    config = BehaviorConfig(lam=c["lam"], returns="arrival")
    inputs = {name: rows(g[f"in/{name}"]).requires_grad_() for name in ("reward", "value")}
    live = rows(g["in/pcont" if v1 else "in/discount"]).requires_grad_()
    name = "returns" if v1 else "target"
    returns = imagined_returns(Judged(inputs["reward"], live), inputs["value"], config)
    assert_close(rows(returns), g[f"out/{name}"], OUT)
    weight = rows(state_weights(live, config))
    assert_close(weight[:-1] if v1 else weight, g["out/discount" if v1 else "out/weight"], OUT)
    (rows(g[f"weight/{name}"]) * returns).sum().backward()
    for key, value in (inputs | {"pcont" if v1 else "discount": live}).items():
        assert_close(rows(value.grad), g[f"grad/in/{key}"], GRAD, key)
    for lam in ("0.0", "0.5", "1.0"):
        found = arrival_return(inputs["reward"], live, inputs["value"], float(lam))
        assert_close(rows(found), g[f"out/{name}_lambda{lam}"], OUT, lam)
    constant = torch.full_like(live, c["gamma"])
    found = arrival_return(inputs["reward"], constant, inputs["value"], c["lam"])
    assert_close(rows(found), g[f"out/{name}_constant_discount"], OUT)
    if not v1:  # the true end counts for the first state, the prediction for all others
        true = c["gamma"] * (1 - g["in/is_terminal"])
        assert_close(torch.cat((true[None], g["in/discount_predicted"][1:])), g["in/discount"], OUT)


@pytest.mark.parametrize("path", files("dd_returns"))
def test_returns_of_daydreamer(path):
    g = Golden(path)
    c = g.config
    config = BehaviorConfig(lam=c["lam"], returns="departure", return_horizon=round(1 / (1 - c["gamma"])))
    reward, value, cont = (rows(g[f"in/{name}"]).requires_grad_() for name in ("reward", "value", "cont"))
    # The file has rewards of the states after the first.
    rewards = torch.cat((torch.zeros_like(reward[:, :1]), reward), 1)
    live = c["gamma"] * cont
    returns = imagined_returns(Judged(rewards, live), value, config)
    assert_close(rows(returns), g["out/gve"], OUT)
    assert_close(rows(returns), g["out/gae"], OUT)
    assert_close(rows(value[:, :-1]), g["out/baseline"], OUT)
    assert_close(rows(state_weights(live, config)), g["out/weight"], OUT)
    (rows(g["weight/ret"]) * returns).sum().backward()
    for name, x in (("reward", reward), ("value", value), ("cont", cont)):
        assert_close(rows(x.grad), g[f"grad/in/{name}"], GRAD, name)

    scale, rate = AdvantageScale.initial(), 1 - c["normalize"]["decay"]
    for i, advantage in enumerate(g["in/advantages"]):
        scale = scale.updated(advantage, rate)
        assert_close(scale.normalise(advantage, rate), g["out/normalized_mean_std"][i], OUT)
    assert_close(scale.mean, g["out/normalizer_mean"], OUT)
    assert_close(scale.square, g["out/normalizer_sqrs"], OUT)
    assert scale.steps == g["out/normalizer_steps"]
