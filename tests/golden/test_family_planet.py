"""PlaNet against `planet_*`: cell, RSSM, latent overshooting, losses, planner, whole updates.

PlaNet has one output layer for means and one for standard deviations, ours are side by side; its feature is [stoch,
deter], ours [deter, stoch].
"""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch
from family_golden import GRAD, OUT, files, to_ours
from golden import Golden, assert_close

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.behavior.planner import Planner, cem, imagined_return
from robot_dreamer.config import ModelConfig, PlannerConfig, load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import observe_batch
from robot_dreamer.learner.objectives.planet import objective
from robot_dreamer.world_model.distributions import HalfMSE, Normal
from robot_dreamer.world_model.fields import Field, fields_of
from robot_dreamer.world_model.gru_cells import ResetBefore
from robot_dreamer.world_model.gru_rssm import GRURSSM
from robot_dreamer.world_model.heads import NumberHead
from robot_dreamer.world_model.kl_rules import hinge
from robot_dreamer.world_model.overshooting import overshoot, overshooting_loss
from robot_dreamer.world_model.rssm import Latents, feature_of
from robot_dreamer.world_model.world_model64 import WorldModel64


def rssm_parameters(theirs):
    """Parameters (or gradients) of the file by our names."""
    ours = {}

    def layer(name, *others):
        for part in ("kernel", "bias"):
            if f"rssm/{others[0]}/{part}" in theirs:
                ours[f"{name}.{part}"] = torch.cat([theirs[f"rssm/{other}/{part}"] for other in others], -1)

    layer("img_in.0", "img_in")
    layer("prior.0", "prior_hidden")
    layer("prior_out", "prior_mean", "prior_std")
    layer("posterior.0", "post_hidden")
    layer("posterior_out", "post_mean", "post_std")
    names = {"gates_kernel": "w_ru", "gates_bias": "b_ru", "candidate_kernel": "w_c", "candidate_bias": "b_c"}
    return ours | {f"cell.{name}": theirs[f"rssm/gru/{other}"] for name, other in names.items()}


def reward_parameters(theirs, deter):
    layers = ["dense", *(f"dense_{i}" for i in range(1, 9) if f"reward/dense_{i}/bias" in theirs)]
    ours = {}
    for i, layer in enumerate(layers):
        name = "out" if i + 1 == len(layers) else f"trunk.{i}"
        kernel = theirs[f"reward/{layer}/kernel"]
        ours[f"{name}.kernel"] = kernel.roll(deter, 0) if i == 0 else kernel  # [stoch, deter] -> [deter, stoch]
        ours[f"{name}.bias"] = theirs[f"reward/{layer}/bias"]
    return ours


def fill(module, ours):
    """Set parameters by name; those that the file lacks (a posterior that it does not use) stay."""
    own = dict(module.named_parameters())
    assert ours.keys() <= own.keys()
    with torch.no_grad():
        for name, value in ours.items():
            assert own[name].shape == value.shape, name
            own[name].copy_(value)


def check_gradients(module, ours, tolerance=GRAD):
    own = dict(module.named_parameters())
    for name, value in ours.items():
        grad = own[name].grad
        assert_close(torch.zeros_like(own[name]) if grad is None else grad, value, tolerance, name)


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


UPDATE, UPDATE_GRAD, UPDATE_PARAMETERS = 2e-5, 3e-5, 1e-5


def world_parameters(theirs, deter):
    """All parameters of the file by the names of our world model."""
    ours = {f"rssm.{name}": value for name, value in rssm_parameters(theirs).items()}
    ours |= {f"reward.{name}": value for name, value in reward_parameters(theirs, deter).items()}
    layers = {f"encoder.image.layers.{i}": f"enc/conv2d_{i}" if i else "enc/conv2d" for i in range(4)}
    decoder = ["dec/conv2d_transpose", *(f"dec/conv2d_transpose_{i}" for i in (1, 2, 3))]
    layers |= {f"decoder.image.layers.{i}": name for i, name in enumerate(decoder[:3])}
    layers |= {"decoder.image.out": decoder[3]}
    for name, other in layers.items():
        ours[f"{name}.kernel"], ours[f"{name}.bias"] = to_ours(theirs[f"{other}/kernel"]), theirs[f"{other}/bias"]
    ours["decoder.image.dense.kernel"] = theirs["dec/dense/kernel"].roll(deter, 0)
    return ours | {"decoder.image.dense.bias": theirs["dec/dense/bias"]}


def agent_of(g):
    c = g.config
    settings = load_config("planet", ["device=cpu"])
    model = dataclasses.replace(
        settings.model,
        deter=c["belief"],
        hidden=c["embed_size"],
        stoch=c["state"],
        depth=c["depth"],
        free_nats=c["free_nats"],
        reward_layers=c["reward_layers"],
        reward_units=c["reward_units"],
    )
    optimizer = dataclasses.replace(
        settings.optimizer,
        learning_rate=c["lr"],
        epsilon=c["eps"],
        clip=c["clip"],
        beta1=c["beta1"],
        beta2=c["beta2"],
    )
    scales = dataclasses.replace(settings.loss_scales, reward=c.get("loss_scales", {}).get("reward", 10.0))
    config = dataclasses.replace(settings, model=model, optimizer=optimizer, loss_scales=scales)
    images = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    actions = gymnasium.spaces.Dict({"action": gymnasium.spaces.Box(-1, 1, (c["A"],))})
    agent = Agent(images, actions, config)
    fill(agent.parts.world, world_parameters(g.group("param/"), c["belief"]))
    return agent


@pytest.mark.parametrize("path", files("planet_update"))
def test_updates(path):
    g = Golden(path)
    c, agent = g.config, agent_of(g)
    rows, steps = g["in/reward"].shape
    before = torch.zeros(rows, 1)

    def with_context(x):  # our rows have one in front that gives the first action only
        return torch.cat((torch.zeros_like(x[:, :1]), x), 1)

    none = torch.zeros(rows, steps + 1, dtype=torch.bool)
    # Theirs is the action that led to a row, ours the one executed after it.
    action = torch.cat((g["in/action"], torch.zeros(rows, 1, c["A"])), 1)
    batch = Batch(
        {"image": with_context(g["in/image"])},
        {"action": action},
        with_context(g["in/reward"]),
        none,
        none,
        none,
        before.expand(-1, c["belief"]),
        before.expand(-1, c["state"]),
    )
    rssm, log_two_pi = agent.parts.world.rssm, 0.5 * float(np.log(2 * np.pi))
    for i in (1, 2):
        draws = g[f"noise/{i}/post"].transpose(0, 1)
        noise = UpdateNoise(draws, torch.zeros(0), {}, {"pixels": g["noise/uniform"].flatten(0, 1)})
        if i == 1:
            _, post = observe_batch(agent.parts, batch, noise.observe, noise.other["pixels"])
            prior = rssm.prior_statistics(post.deter)
            for name, statistics, draw in (("post", post.posterior, draws), ("prior", prior, g["noise/1/prior"])):
                distribution = rssm.latent(statistics)
                sample = post.stoch if name == "post" else rssm.latent.draw(statistics, draw)
                found = {"mean": distribution.mean, "stddev": distribution.std, "sample": sample, "belief": post.deter}
                for key, value in found.items():
                    assert_close(value, g[f"out/{name}/{key}"], UPDATE, f"{name}/{key}")
            total = objective(agent.parts.modules, agent.config, _, post, noise.other, torch.ones(())).total
            total.backward()
            check_gradients(agent.parts.world, world_parameters(g.group("grad/param/"), c["belief"]), UPDATE_GRAD)
        result = agent.update(batch, noise)
        assert result.applied
        # The file's objectives are log-densities, with their constants.
        image = -result.losses["reconstruction/image"] - 64 * 64 * 3 * log_two_pi
        reward = -result.losses["reward"] - log_two_pi
        assert_close(image, g[f"out/{i}/objective/image"], UPDATE, "image")
        assert_close(reward, g[f"out/{i}/objective/reward"], UPDATE, "reward")
        assert_close(result.losses["kl"], g[f"out/{i}/objective/divergence"], UPDATE, "divergence")
        assert_close(result.metrics["optimizer/gradient_norm"], g[f"out/{i}/norm"], UPDATE_GRAD, "norm")
        parameters = dict(agent.parts.world.named_parameters())
        for name, value in world_parameters(g.group(f"after{i}/param/"), c["belief"]).items():
            assert (parameters[name].detach() - value).abs().max() <= UPDATE_PARAMETERS, (i, name)


def test_parameter_counts():
    """Published sizes, images, one action; with the paper's reward head of two layers of 200 too."""
    images = fields_of(gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}))
    action = [Field("action", "vector", (1,))]

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    world = WorldModel64(images, action, load_config("planet").model)
    assert (count(world.rssm), count(world)) == (556_320, 5_292_220)
    paper = load_config("planet", ["model.reward_layers=2", "model.reward_units=200"])
    assert count(WorldModel64(images, action, paper.model)) == 5_128_620
