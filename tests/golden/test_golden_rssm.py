"""Filtering and imagining against `rssm_observe*.npz` and `rssm_imagine.npz`."""

import pytest
import torch
from golden import Golden, assert_close, assert_gradients, fields, files, load_parameters, rssm_config

from robot_dreamer.world_model.block_rssm import BlockRSSM
from robot_dreamer.world_model.losses import kl_losses
from robot_dreamer.world_model.rssm import Latents, encode_action
from tests.golden.official_names import OfficialNames

OUT, GRAD = 5e-6, 1e-5
PREFIX = "world_model.rssm."


def build(g, tokens):
    config = rssm_config(g.config)
    action_fields = fields(g.config["action_space"], g.config["action_order"])
    rssm = BlockRSSM(sum(field.features for field in action_fields), tokens, config)
    return rssm, action_fields, OfficialNames((), action_fields, 4), config


@pytest.mark.parametrize("path", files("rssm_observe"))
def test_observe(path):
    g = Golden(path)
    rssm, action_fields, names, config = build(g, g.config["token_dim"])
    assert load_parameters(rssm, PREFIX, names, g.group("param/")) == set(g.group("param/"))
    actions = {f.name: g[f"in/action_{f.name}"] for f in action_fields}
    inputs = {"tokens": g["in/tokens"], "carry_deter": g["in/carry_deter"], "carry_stoch": g["in/carry_stoch"]}
    inputs |= {f"action_{name}": value for name, value in actions.items() if value.is_floating_point()}
    for value in inputs.values():
        value.requires_grad_()
    reset = g["in/reset"]
    flat = encode_action(action_fields, {name: value.flatten(0, 1) for name, value in actions.items()})
    start = Latents(inputs["carry_deter"], inputs["carry_stoch"])
    noise = torch.zeros(reset.shape[1], reset.shape[0], config.stoch, config.classes)
    post = rssm.observe(start, inputs["tokens"], flat.unflatten(0, reset.shape), 1 - reset.float(), noise)
    prior = rssm.prior_statistics(post.deter)
    kl = kl_losses(rssm.latent, post.posterior, prior, config.free_nats)

    assert torch.equal(post.stoch.detach(), g["out/stoch"])
    for name, value in {
        "deter": post.deter,
        "post_logit": post.posterior,
        "prior_logit": prior,
        "kl": kl.kl,
        "dyn_loss": kl.dynamics,
        "rep_loss": kl.representation,
        "dyn_ent": kl.prior_entropy,
        "rep_ent": kl.posterior_entropy,
        "carry_deter": post.deter[:, -1],
        "carry_stoch": post.stoch[:, -1],
    }.items():
        assert_close(value, g[f"out/{name}"], OUT, name)

    scalar = kl.dynamics.mean() + 0.1 * kl.representation.mean()
    for name, value in {"deter": post.deter, "stoch": post.stoch, "logit": post.posterior}.items():
        scalar = scalar + (g[f"weight/{name}"] * value).mean()
    assert_close(scalar, g["out/scalar"], OUT)
    scalar.backward()
    for name, value in inputs.items():
        assert_close(value.grad, g[f"grad/in/{name}"], GRAD, name)
    assert_gradients(rssm, PREFIX, names, g.group("grad/param/"), GRAD)


@pytest.mark.parametrize("path", files("rssm_imagine"))
def test_imagine(path):
    g = Golden(path)
    rssm, action_fields, names, config = build(g, 1)
    golden = g.group("param/")
    with torch.no_grad():
        for name, parameter in rssm.named_parameters():
            if names.name(PREFIX + name) in golden:
                parameter.copy_(golden.pop(names.name(PREFIX + name)))
    assert not golden
    deter, stoch, action = (g[f"in/{name}"].requires_grad_() for name in ("start_deter", "start_stoch", "action"))
    (only,) = action_fields
    start = Latents(deter, stoch)
    deters, stochs, logits = [], [], []
    state = start
    for t in range(action.shape[1]):
        deter = rssm.step(state.deter, state.stoch, encode_action(action_fields, {only.name: action[:, t]}))
        logit = rssm.prior_statistics(deter)
        state = Latents(deter, rssm.latent.draw(logit, torch.zeros_like(logit)))
        deters.append(deter)
        stochs.append(state.stoch)
        logits.append(logit)
    deters, stochs, logits = (torch.stack(values, 1) for values in (deters, stochs, logits))
    assert_close(deters, g["out/deter"], OUT)
    assert torch.equal(stochs.detach(), g["out/stoch"])
    assert_close(logits, g["out/prior_logit"], OUT)
    scalar = sum(
        (g[f"weight/{name}"] * value).mean()
        for name, value in {"deter": deters, "stoch": stochs, "logit": logits}.items()
    )
    assert_close(scalar, g["out/scalar"], OUT)
    scalar.backward()
    for name, value in {"start_deter": start.deter, "start_stoch": start.stoch, "action": action}.items():
        assert_close(value.grad, g[f"grad/in/{name}"], GRAD, name)
    assert_gradients(rssm, PREFIX, names, g.group("grad/param/"), GRAD)
