"""KL rules, heads, actor and critic of DreamerV2 and DayDreamer against `*_kl*`, `*_heads`, `v2_actor_critic_*`."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from family_dreamer import Names, check_gradients, fill
from family_golden import GRAD, OUT, files
from golden import Golden, assert_close
from torch import nn

from robot_dreamer.behavior.dreamer_actor import DreamerActor
from robot_dreamer.behavior.dreamer_losses import (
    actor_loss,
    critic_loss,
    entropy_span,
    imagined_returns,
    log_prob_of_action,
    state_weights,
)
from robot_dreamer.behavior.imagination import imagine_few, imagine_step_through, imagine_through
from robot_dreamer.behavior.returns import AdvantageScale
from robot_dreamer.config import BehaviorConfig, load_config
from robot_dreamer.learner.objectives.dreamer_parts import judge_states
from robot_dreamer.world_model.distributions import MSE, Binary, Categorical, HalfMSE, Normal, SymlogMSE, symexp, symlog
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.gru_rssm import GRURSSM
from robot_dreamer.world_model.heads import NumberHead, value_head
from robot_dreamer.world_model.kl_rules import adapted, balanced, hinge
from robot_dreamer.world_model.latent import Classes, Numbers
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp
from robot_dreamer.world_model.rssm import Latents

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
@pytest.mark.parametrize("path", files("v2_kl_balance"))
def test_kl_balance(path, kind):
    """Ours has a floor under each mean; the file's other cases are made of the same functions."""
    g = Golden(path)
    names = ("logit",) if kind == "categorical" else ("mean", "std")
    x = {f"{k}/{s}": g[f"in/{kind}/{k}/{s}"].requires_grad_() for k in ("post", "prior") for s in names}

    def distribution(k):
        values = [x[f"{k}/{s}"] for s in names]
        return Categorical(*values) if kind == "categorical" else Normal(*values)

    latent = Classes(g.config["stoch"], g.config.get("classes", 2)) if kind == "categorical" else Numbers(4)
    assert_close(distribution("post").entropy().sum(-1), g[f"out/{kind}/post_entropy"], OUT)
    for name, case in g.config["cases"].items():
        post, prior, free, balance = distribution("post"), distribution("prior"), case["free"], case["balance"]
        value = latent.kl(prior, post) if case["forward"] else latent.kl(post, prior)
        assert_close(value, g[f"out/{kind}/{name}/value"], OUT, name)
        if balance == 0.5:
            loss = hinge(latent, post, prior, free) + free
        elif not case["free_avg"]:
            to_prior = latent.kl(post.detach(), prior).clamp(min=free).mean()
            loss = balance * to_prior + (1 - balance) * latent.kl(post, prior.detach()).clamp(min=free).mean()
        elif case["forward"]:
            loss = balanced(latent, prior, post, free, 1 - balance)
        else:
            loss = balanced(latent, post, prior, free, balance)
        assert_close(loss, g[f"out/{kind}/{name}/loss"], OUT, name)
        for key, gradient in zip(x, torch.autograd.grad(loss, list(x.values())), strict=True):
            assert_close(gradient, g[f"grad/{kind}/{name}/{key}"], GRAD, f"{name}/{key}")


@pytest.mark.parametrize("path", files("dd_kl"))
def test_adapting_scales(path):
    g = Golden(path)
    c = g.config
    latent = Classes(c["stoch"], c["classes"])
    x = [g[f"in/{name}"].requires_grad_() for name in ("post_logit", "prior_logit")]
    post, prior = (Categorical(value) for value in x)
    # The rule takes the mean; balance and gradient are seen row by row.
    to_prior, to_post = latent.kl(post.detach(), prior), latent.kl(post, prior.detach())
    kl = c["balance"] * to_prior + (1 - c["balance"]) * to_post
    assert_close(kl, g["out/kl"], OUT)
    assert_close(balanced(latent, post, prior, 0.0, c["balance"]), g["out/kl"].mean(), OUT)
    assert_close(post.entropy().sum(-1), g["out/post_entropy"], OUT)
    (g["weight/kl"] * kl).sum().backward()
    for value, name in zip(x, ("post_logit", "prior_logit"), strict=True):
        assert_close(value.grad, g[f"grad/{name}"], GRAD, name)

    a, scale = c["adapt"], torch.ones(())
    for i, value in enumerate(g["in/adapt_values"]):
        scale = adapted(scale, value, a["target"], a["min"], a["max"])
        assert_close(scale, g["out/adapt_scale"][i], OUT)
        assert_close(scale * value, g["out/adapt_loss"][i], OUT)
    a, scale = c["entropy_adapt"], torch.ones(g["in/entropy_values"].shape[-1])
    for i, value in enumerate(g["in/entropy_values"]):
        scale = adapted(scale, value.flatten(0, -2).mean(0), a["target"], a["min"], a["max"], inverse=True)
        assert_close(scale, g["out/entropy_scale"][i], OUT)
        assert_close(-scale * value, g["out/entropy_loss"][i], OUT)


class Reader:
    """Heads of a file with the parameters, gradients and feature of one of them."""

    def __init__(self, g):
        self.g, self.day = g, g.config["generation"] == "daydreamer"
        self.c = {**g.config, "deter": g.config["deter"] if self.day else 0}

    def names(self, prefix, method, *arguments):
        theirs = self.g.group(prefix)
        # V2 keeps the norms beside the layers.
        theirs = {
            k.replace("/norm0/", "/dense0/norm/").replace("/norm1/", "/dense1/norm/"): v for k, v in theirs.items()
        }
        names = Names(theirs, self.c)
        getattr(names, method)("head", *arguments)
        return names.ours

    def check(self, head, scalar, inputs, name, method, *arguments):
        scalar.backward()
        check_gradients(nn.ModuleDict({"head": head}), self.names("grad/param/", method, *arguments), 2e-5)
        for key, value in inputs.items():
            assert_close(value.grad, self.g[f"grad/in/{key}_{name}"], 2e-5, name)

    def inputs(self):
        names = ("deter", "stoch") if self.day else ("feat",)
        return {name: self.g[f"in/{name}"].requires_grad_() for name in names}


def number_head(reader, name, output, norm):
    parameters = reader.names("param/", "head", name)
    kernels = [value for key, value in parameters.items() if key.endswith("kernel")]
    head = NumberHead(kernels[0].shape[0], [k.shape[1] for k in kernels[:-1]], "elu", norm, output=output)
    if kernels[-1].shape[1] > 1:
        head.out = GlorotLinear(*kernels[-1].shape)
    fill(nn.ModuleDict({"head": head}), parameters)
    return head


@pytest.mark.parametrize("path", files("v2_heads", "dd_heads"))
def test_number_heads(path):
    g = Golden(path)
    r = Reader(g)
    if r.day:
        heads = {"reward": (SymlogMSE, True), "cont": (Binary, True), "mse": (MSE, True)}
        assert_close(symlog(g["in/symlog_x"]), g["out/symlog"], OUT)
        assert_close(symexp(g["in/symexp_x"]), g["out/symexp"], OUT)
    else:
        heads = {"reward": (HalfMSE, False), "reward_norm": (HalfMSE, True), "discount": (Binary, False)}
    for name, (output, norm) in heads.items():
        if name == "reward_norm" and "param/reward_norm/dense0/bias" in g.arrays:
            continue  # V2's layers with a norm keep their bias, which ours have not; see test_layer_with_norm_and_bias
        head, inputs = number_head(r, name, output, norm), r.inputs()
        feature = torch.cat([x.flatten(1) for x in inputs.values()], -1)
        d = MSE(head.out(head.trunk(feature))) if output is MSE else head(feature)
        assert_close(d.mean, g[f"out/{name}/mean"], OUT, name)
        loss = d.loss(g[f"in/{name}_target"])
        logprob = -(loss.sum(-1) if output is MSE else loss) - (HALF_LOG_TWO_PI if output is HalfMSE else 0.0)
        assert_close(logprob, g[f"out/{name}/logprob"], OUT, name)
        r.check(head, (g[f"weight/{name}"] * logprob).sum(), inputs, name, "head", name)


@pytest.mark.parametrize("path", files("v2_heads"))
def test_layer_with_norm_and_bias(path):
    """DreamerV2 with norms (Crafter) has biases in front of them; they are the one thing ours leaves out."""
    g = Golden(path)
    r = Reader(g)
    parameters = r.names("param/", "head", "reward_norm")
    head = number_head_with_bias(parameters)
    d = head(g["in/feat"])
    assert_close(d.mean, g["out/reward_norm/mean"], OUT)


def number_head_with_bias(parameters):
    kernels = [value for key, value in parameters.items() if key.endswith("kernel")]
    head = NumberHead(kernels[0].shape[0], [k.shape[1] for k in kernels[:-1]], "elu", norm=True)
    for layer in head.trunk:
        layer.bias = nn.Parameter(torch.zeros(layer.kernel.shape[1]))
    fill(nn.ModuleDict({"head": head}), parameters)
    return head


def actor_of(reader, name, kind, discrete):
    c = reader.c
    parameters = reader.names("param/", "actor", name, discrete)
    layers = sum(".trunk." in key and key.endswith("kernel") for key in parameters)
    inputs, units = parameters["head.trunk.0.kernel"].shape
    generation = load_config(c["generation"])
    model = dataclasses.replace(generation.model, units=units)
    behavior = dataclasses.replace(
        generation.behavior,
        actor=kind,
        policy_layers=layers,
        discrete_unimix=c.get("unimix", 0.0),
        min_std=c.get("minstd") or c["min_std"],
        max_std=c.get("maxstd", 1.0),
    )
    count = next(v for k, v in parameters.items() if "heads.0" in k and k.endswith("bias")).numel()
    field = Field("action", "discrete", (), count) if discrete else Field("action", "vector", (count,))
    actor = DreamerActor([field], inputs, model, behavior)
    fill(nn.ModuleDict({"head": actor}), parameters)
    return actor, behavior


@pytest.mark.parametrize("path", files("v2_heads", "dd_heads"))
def test_actors(path):
    g = Golden(path)
    r = Reader(g)
    kinds = (
        {"actor_normal": ("normal", False), "actor_onehot": ("normal", True)}
        if r.day
        else {"actor_trunc": ("truncated_normal", False), "actor_onehot": ("normal", True)}
    )
    for name, (kind, discrete) in kinds.items():
        (actor, behavior), inputs = actor_of(r, name, kind, discrete), r.inputs()
        d = actor(torch.cat([x.flatten(1) for x in inputs.values()], -1))["action"]
        noise, out = g[f"noise/{name}"], f"out/{name}"
        entropy = d.entropy() if discrete else d.entropy().sum(-1)
        if kind == "truncated_normal":
            sample = d.quantile(noise, (1 - noise.double()).float())
            assert_close(d.mean, g[f"{out}/mean_param"], OUT)
            assert_close(d.std, g[f"{out}/std_param"], OUT)
            assert_close(d.mode, g[f"{out}/mode"], OUT)
        elif discrete:
            sample = d.sample_one_hot(noise)
            assert_close(d.sample_one_hot(torch.zeros(())), g[f"{out}/mode"], OUT)
        else:
            sample = d.sample(noise)
            assert_close(d.mean, g[f"{out}/mode"], OUT)
            assert_close(d.std, g[f"{out}/std"], OUT)
            assert_close(d.entropy(), g[f"{out}/entropy_per_dimension"], OUT)
        assert_close(sample, g[f"{out}/sample"], OUT, name)
        assert_close(entropy, g[f"{out}/entropy"], OUT, name)
        if r.day:
            count = 1 if discrete else sample.shape[-1]
            for ours, theirs in zip(entropy_span(d, behavior), ("minent", "maxent"), strict=True):
                assert_close(torch.tensor(ours * count), g[f"{out}/{theirs}"], OUT)
        event = g[f"in/{name}_target" if r.day else f"in/{name}_action"]
        logprob = log_prob_of_action(d, event)
        logprob = logprob if discrete else logprob.sum(-1)
        assert_close(logprob, g[f"{out}/logprob"], OUT, name)
        scalar = (g[f"weight/{name}"] * logprob).sum() + (g[f"weight/{name}_entropy"] * entropy).sum()
        scalar = scalar + (g[f"weight/{name}_sample"] * sample).sum()
        r.check(actor, scalar, inputs, name, "actor", name, discrete)


@pytest.mark.parametrize("path", files("v2_actor_critic_disc", "v2_actor_critic_cont"))
def test_actor_and_critic(path):
    g = Golden(path)
    c, parameters = g.config, g.group("param/")
    discrete, layers = c["discrete_actions"], c["head_layers"]
    config = load_config("dreamer_v2")
    model = dataclasses.replace(
        config.model, deter=c["deter"], hidden=c["hidden"], stoch=c["stoch"], classes=c["classes"], units=c["units"]
    )
    model = dataclasses.replace(model, reward_layers=layers, continue_layers=layers)
    behavior: BehaviorConfig = dataclasses.replace(
        config.behavior,
        entropy=c["actor_ent"],
        dynamics_share=c["actor_grad_mix"],
        return_horizon=round(1 / (1 - c["gamma"])),
        lam=c["lam"],
        min_std=c["min_std"],
        policy_layers=layers,
        critic_layers=layers,
    )
    count = c["nact"]
    field = Field("action", "discrete", (), count) if discrete else Field("action", "vector", (count,))
    size = c["deter"] + c["stoch"] * c["classes"]
    world = nn.Module()
    world.rssm = GRURSSM(count, 1, model)
    world.reward = value_head(size, layers, model)
    widths = [c["units"]] * layers
    world.continuation = NumberHead(size, widths, "elu", output=Binary) if c["pred_discount"] else None
    modules = nn.ModuleDict(
        {
            "world_model": world,
            "policy": DreamerActor([field], size, model, behavior),
            "critic": value_head(size, layers, model),
            "slow_critic": value_head(size, layers, model),
        }
    )
    fill(modules, Names(parameters, c).agent([], discrete))
    policy, critic, slow = modules["policy"], modules["critic"], modules["slow_critic"]

    start = Latents(g["in/start/deter"].flatten(0, 1), g["in/start/stoch"].flatten(0, 1))
    draws = g["noise/action"] if discrete else torch.special.ndtri(g["noise/action"].double()).float()
    dreamt = imagine_through(
        world.rssm,
        partial(imagine_few, partial(imagine_step_through, world.rssm, policy)),
        start,
        g["noise/latent"],
        {"action": draws},
    )
    judged = judge_states(world, dreamt.feature, g["in/is_terminal"].flatten(), behavior)
    value = slow(dreamt.feature).mean
    returns, weight = imagined_returns(judged, value, behavior), state_weights(judged.live, behavior)
    seen = dreamt.feature.detach()
    found = {
        "seq/feat": dreamt.feature.roll(c["stoch"] * c["classes"], -1),
        "seq/discount": judged.live,
        "seq/reward": judged.reward,
        "seq/weight": weight,
        "target": returns,
        "slow_value": value,
        "entropy": policy(seen[:, :-2])["action"].entropy().flatten(2).sum(-1)
        if not discrete
        else policy(seen[:, :-2])["action"].entropy(),
    }
    for name, x in found.items():
        assert_close(x.transpose(0, 1), g[f"out/{name}"], 2 * OUT, name)
    assert_close(dreamt.action["action"].transpose(0, 1), g["out/seq/action"][1:], OUT)

    loss = critic_loss(critic(seen[:, :-1]), returns, weight)
    constant = (weight[:, :-1] * HALF_LOG_TWO_PI).mean()
    assert_close(loss + constant, g["out/critic_loss"], OUT)
    check(loss, {"critic": critic}, g, "critic")
    for gradient in ("dynamics", "reinforce", "mix"):
        name = {"mix": "both"}.get(gradient, gradient)
        scales = AdvantageScale.initial(), {"action": torch.ones(field.shape)}
        action = {"action": dreamt.action["action"][:, :-1]}
        acting = actor_loss(
            policy(seen[:, :-2]), action, returns[:, 1:], value[:, :-2], weight[:, :-2], *scales, gradient, behavior
        )
        assert_close(acting.loss, g[f"out/{name}/actor_loss"], OUT, name)
        check(acting.loss, {"policy": policy}, g, name)


def check(loss, modules, g, name):
    """Gradients of one module with respect to a loss that others follow."""
    for key, module in modules.items():
        module.zero_grad()
        loss.backward(retain_graph=True, inputs=list(module.parameters()))
        golden = Names(g.group(f"grad/{name}/param/"), g.config).agent([], g.config["discrete_actions"])
        golden = {k.removeprefix(f"{key}."): v for k, v in golden.items() if k.startswith(f"{key}.")}
        assert golden
        check_gradients(module, golden, 2 * GRAD)


def test_the_layers_of_a_head_are_those_of_the_others():
    """`value_head` is made of the same hidden layers as `glorot_mlp`, with the outscale of its generation."""
    model = load_config("daydreamer").model
    head = value_head(10, 2, model)
    assert len(head.trunk) == len(glorot_mlp(10, [model.units] * 2, model.activation, model.norm)) == 2
    assert head.out.kernel.abs().max() < math.sqrt(6 * 0.1 / (model.units + 1)) + 1e-6
