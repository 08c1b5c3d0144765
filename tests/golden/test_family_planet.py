"""PlaNet against `planet_*`: cell, RSSM, latent overshooting, losses, planner, whole updates.

PlaNet has one output layer for means and one for standard deviations, ours are side by side; its feature is [stoch,
deter], ours [deter, stoch].
"""

import pytest
import torch
from family_dreamer import check_gradients, fill
from family_golden import GRAD, OUT, files
from golden import Golden, assert_close

from robot_dreamer.behavior.planner import Planner, cem, imagined_return
from robot_dreamer.config import ModelConfig, PlannerConfig
from robot_dreamer.world_model.distributions import HalfMSE, Normal
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.gru_cells import ResetBefore
from robot_dreamer.world_model.gru_rssm import GRURSSM
from robot_dreamer.world_model.heads import NumberHead
from robot_dreamer.world_model.kl_rules import hinge
from robot_dreamer.world_model.overshooting import overshoot, overshooting_loss
from robot_dreamer.world_model.rssm import Latents, feature_of
from tests.golden.planet_names import reward_parameters, rssm_parameters


def rssm_of(g):
    c = g.config
    config = ModelConfig(
        cell="reset_before",
        latent="numbers",
        deter=c["belief"],
        hidden=c["embed_size"],
        stoch=c["state"],
        blocks=1,
        decoder_blocks=1,
        prior_layers=1,
        posterior_layers=1,
        activation=c.get("act", "relu"),
        min_std=c.get("min_std", 0.1),
    )
    rssm = GRURSSM(c["A"], c["E"], config)
    fill(rssm, rssm_parameters(g.group("param/")))
    return rssm


def reward_of(g):
    c = g.config
    head = NumberHead(c["belief"] + c["state"], [c["reward_units"]] * c["reward_layers"], c["act"])
    fill(head, reward_parameters(g.group("param/"), c["belief"]))
    return head


def observe(g, rssm, embed, action, noise):
    keep = torch.ones(action.shape[:2])
    return rssm.observe(rssm.initial(action.shape[0]), embed, action, keep, noise.transpose(0, 1))


@pytest.mark.parametrize("path", files("planet_gru"))
def test_cell(path):
    g = Golden(path)
    cell = ResetBefore(g.config["inputs"], g.config["units"])
    names = {"gates_kernel": "w_ru", "gates_bias": "b_ru", "candidate_kernel": "w_c", "candidate_bias": "b_c"}
    fill(cell, {name: g[f"param/{other}"] for name, other in names.items()})
    x, h = g["in/x"].requires_grad_(), g["in/h"].requires_grad_()
    out = cell(x, h)
    assert_close(out, g["out/h"], OUT)
    (g["weight/h"] * out).sum().backward()
    check_gradients(cell, {name: g[f"grad/param/{other}"] for name, other in names.items()})
    assert_close(x.grad, g["grad/in/x"], GRAD)
    assert_close(h.grad, g["grad/in/h"], GRAD)


@pytest.mark.parametrize("path", files("planet_rssm_observe"))
def test_observe(path):
    g = Golden(path)
    rssm = rssm_of(g)
    embed, action = g["in/embed"].requires_grad_(), g["in/action"].requires_grad_()
    post = observe(g, rssm, embed, action, g["noise/post"])
    statistics = rssm.prior_statistics(post.deter)
    scalar = 0.0
    for name, distribution, sample in (
        ("post", rssm.latent(post.posterior), post.stoch),
        ("prior", rssm.latent(statistics), rssm.latent.draw(statistics, g["noise/prior"])),
    ):
        found = {"mean": distribution.mean, "stddev": distribution.std, "sample": sample, "belief": post.deter}
        for key, value in found.items():
            assert_close(value, g[f"out/{name}/{key}"], OUT, f"{name}/{key}")
            scalar = scalar + (g[f"weight/{name}/{key}"] * value).sum()
    assert_close(scalar, g["out/scalar"], OUT)
    scalar.backward()
    check_gradients(rssm, rssm_parameters(g.group("grad/param/")))
    assert_close(embed.grad, g["grad/in/embed"], GRAD)
    assert_close(action.grad, g["grad/in/action"], GRAD)


@pytest.mark.parametrize("path", files("planet_rssm_imagine"))
def test_imagine(path):
    g = Golden(path)
    rssm = rssm_of(g)
    action = g["in/action"].requires_grad_()
    start = Latents(g["in/start_belief"].requires_grad_(), g["in/start_sample"].requires_grad_())
    deter, stoch = start
    rows = []
    for t in range(action.shape[1]):
        deter = rssm.step(deter, stoch, action[:, t])
        statistics = rssm.prior_statistics(deter)
        stoch = rssm.latent.draw(statistics, g["noise/prior"][:, t])
        prior = rssm.latent(statistics)
        rows.append((prior.mean, prior.std, stoch, deter))
    scalar = 0.0
    for key, values in zip(("mean", "stddev", "sample", "belief"), zip(*rows, strict=True), strict=True):
        value = torch.stack(values, 1)
        assert_close(value, g[f"out/{key}"], OUT, key)
        scalar = scalar + (g[f"weight/{key}"] * value).sum()
    assert_close(scalar, g["out/scalar"], OUT)
    scalar.backward()
    check_gradients(rssm, rssm_parameters(g.group("grad/param/")))
    assert_close(action.grad, g["grad/in/action"], GRAD)
    assert_close(start.deter.grad, g["grad/in/start_belief"], GRAD)
    assert_close(start.stoch.grad, g["grad/in/start_sample"], GRAD)


@pytest.mark.parametrize("path", files("planet_overshooting"))
def test_latent_overshooting(path):
    """The file counts the first and the last distance, and does not use them in its loss."""
    g = Golden(path)
    rssm, c = rssm_of(g), g.config
    action, length = g["in/action"], g["in/length"]
    post = observe(g, rssm, g["in/embed"], action, g["noise/closed_post"])
    steps = torch.arange(action.shape[1])
    keep = (steps != length[:, None]).float()  # what follows a shorter row is another episode
    noise = g["noise/open"].movedim(2, 0)  # (distance, B, T, S)
    shot = overshoot(rssm, post, action, keep, noise[: c["amount"]])
    own = steps < length[:, None]
    valid, kl = shot.valid & own, torch.where(own, shot.kl, 0.0)
    assert torch.equal(valid, g["out/mask"][..., 1:].movedim(-1, 0))
    assert_close(kl, g["out/kl_masked"][..., 1:].movedim(-1, 0), OUT)

    used = shot._replace(kl=kl[:-1])
    assert_close(overshooting_loss(used, c["free_nats"]).mean(), g["out/loss"], OUT)
    loss = overshooting_loss(used, 0.0).mean()
    assert_close(loss, g["out/loss_without_free_nats"], OUT)
    loss.backward()
    check_gradients(rssm, rssm_parameters(g.group("grad/without_free_nats/param/")))


@pytest.mark.parametrize("path", files("planet_losses"))
@pytest.mark.parametrize("free", [0.0, 3.0])
def test_losses(path, free):
    g = Golden(path)
    c, head, name = g.config, reward_of(g), f"free{free:.0f}"
    state = {f"{k}/{x}": g[f"in/{k}/{x}"].requires_grad_() for k in ("post", "prior") for x in ("mean", "stddev")}
    belief, sample = g["in/post/belief"].requires_grad_(), g["in/post/sample"].requires_grad_()
    post = Normal(state["post/mean"], state["post/stddev"])
    prior = Normal(state["prior/mean"], state["prior/stddev"])
    latent = rssm_latent(c)
    divergence = hinge(latent, post, prior, free)
    assert_close(latent.kl(post, prior), g["out/kl"], OUT)
    assert_close(divergence, g[f"out/{name}/divergence"], OUT)
    output = head(feature_of(belief, sample))
    assert isinstance(output, HalfMSE)
    assert_close(output.mean, g["out/reward"], OUT)
    # A unit normal: half the squared error, and a constant that trains nothing.
    logprob = -output.loss(g["in/reward"]).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    assert_close(logprob, g["out/reward_logprob_mean"], OUT)
    scales = c["loss_scales"]
    total = scales["divergence"] * divergence - scales["reward"] * logprob
    assert_close(total, g[f"out/{name}/total"], OUT)
    total.backward()
    check_gradients(head, reward_parameters(g.group(f"grad/{name}/param/"), c["belief"]))
    for key, value in (state | {"post/belief": belief, "post/sample": sample}).items():
        assert_close(value.grad, g[f"grad/{name}/{key}"], GRAD, key)


def rssm_latent(c):
    return GRURSSM(
        c["A"],
        c["E"],
        ModelConfig(cell="reset_before", latent="numbers", deter=8, blocks=1, decoder_blocks=1, stoch=c["state"]),
    ).latent


@pytest.mark.parametrize("path", files("planet_cem"))
def test_planner(path):
    g = Golden(path)
    c, rssm, head = g.config, rssm_of(g), reward_of(g)
    state = Latents(g["in/start/belief"], g["in/start/sample"])
    actions, latents = g["noise/action"][None], g["noise/latent"][None]
    returns = []

    def evaluate(candidates, iteration):
        returns.append(imagined_return(rssm, head, state, candidates, latents[:, iteration]))
        return returns[-1]

    for i in range(c["iterations"]):
        returns.clear()
        plan = cem(evaluate, actions[:, : i + 1], c["topk"])
        assert_close(torch.cat(returns), g["out/returns"][: i + 1], OUT)
        assert_close(plan.mean[0], g["out/mean"][i], OUT)
        assert_close(plan.std[0], g["out/std"][i], OUT)
    assert_close(plan.mean[0], g["out/plan"], OUT)

    sizes = {"horizon": c["horizon"], "iterations": c["iterations"], "candidates": c["amount"], "elites": c["topk"]}
    config = PlannerConfig(**sizes, exploration=c["exploration"])
    planner = Planner([Field("action", "vector", (c["A"],))], rssm.latent, config)
    for key, draw in (("action", torch.zeros(1, c["A"])), ("action_explored", g["noise/exploration"][None])):
        noise = {"plan_actions": actions, "plan_latents": latents, "action_noise_action": draw}
        action = planner.act(rssm, {"reward": head}, state, feature_of(*state), noise)["action"][0]
        # The policy step clips what it returns.
        assert_close(action.clamp(-1, 1), g[f"out/{key}"], OUT, key)
