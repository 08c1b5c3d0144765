"""Dreamer V1 against `v1_*`: KL, heads, whole updates."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from family_dreamer import Names, batch_of, check_gradients, fill, noise_of, spaces_of
from family_golden import GRAD, OUT, files
from golden import Golden, assert_close

from robot_dreamer.behavior.dreamer_losses import imagined_returns
from robot_dreamer.behavior.imagination import imagine_few, imagine_step_through, imagine_through
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.objectives.dreamer import starts
from robot_dreamer.learner.objectives.dreamer_parts import judge_states
from robot_dreamer.learner.objectives.parts import observe_batch
from robot_dreamer.world_model.distributions import Binary, HalfMSE, Normal
from robot_dreamer.world_model.heads import NumberHead
from robot_dreamer.world_model.kl_rules import floor_of_mean
from robot_dreamer.world_model.latent import Numbers
from robot_dreamer.world_model.rssm import feature_of

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
UPDATE, UPDATE_GRAD, UPDATE_PARAMETERS = 2e-5, 3e-5, 1e-5


@pytest.mark.parametrize("path", files("v1_kl"))
@pytest.mark.parametrize("free", [0, 3, 1000])
def test_kl(path, free):
    g = Golden(path)
    x = {f"{k}/{s}": g[f"in/{k}/{s}"].requires_grad_() for k in ("post", "prior") for s in ("mean", "std")}
    post, prior = Normal(x["post/mean"], x["post/std"]), Normal(x["prior/mean"], x["prior/std"])
    latent = Numbers(g.config["stoch"])
    assert_close(latent.kl(post, prior), g["out/kl"], OUT)
    loss = floor_of_mean(latent, post, prior, float(free))
    assert_close(loss, g[f"out/loss_free{free}"], OUT)
    loss.backward()
    for name, value in x.items():
        assert_close(value.grad, g[f"grad/free{free}/{name}"], GRAD, name)


@pytest.mark.parametrize("path", files("v1_heads"))
def test_heads(path):
    g = Golden(path)
    c = {"generation": "dreamer_v1", "deter": 0}
    for name, output in (("reward", HalfMSE), ("value", HalfMSE), ("pcont", Binary)):
        names = Names(g.group("param/"), c)
        names.head("head", name)
        widths = [x.shape[1] for key, x in names.ours.items() if key.endswith("kernel") and "trunk" in key]
        head = NumberHead(g["in/feat"].shape[-1], widths, "elu", output=output)
        fill(torch.nn.ModuleDict({"head": head}), names.ours)
        feature = g["in/feat"].requires_grad_()
        d = head(feature)
        constant = HALF_LOG_TWO_PI if output is HalfMSE else 0.0
        logprob = -d.loss(g[f"in/{name}_target"]) - constant
        assert_close(d.mean, g[f"out/{name}/mean"], OUT, name)
        assert_close(logprob, g[f"out/{name}/logprob"], OUT, name)
        if output is HalfMSE:
            assert_close(d.mean, g[f"out/{name}/mode"], OUT, name)
        (g[f"weight/{name}"] * logprob).sum().backward()
        names = Names(g.group("grad/param/"), c)
        names.head("head", name)
        check_gradients(torch.nn.ModuleDict({"head": head}), names.ours, 2e-4)
        assert_close(feature.grad, g[f"grad/in/feat_{name}"], 2e-4, name)


def agent_of(g):
    c = g.config
    config = load_config("dreamer_v1", ["device=cpu"])
    layers = c.get("layers", {"reward": 2, "pcont": 3, "value": 3, "actor": 4})
    model = dataclasses.replace(
        config.model,
        deter=c["deter"],
        hidden=c["hidden"],
        stoch=c["stoch"],
        units=c["units"],
        depth=c["cnn_depth"],
        free_nats=c["free_nats"],
        min_std=c["min_std"],
        reward_layers=layers["reward"],
        continue_layers=layers["pcont"],
        continue_head=c.get("pcont", False),
        tanh_rewards=c.get("clip_rewards") == "tanh",
    )
    behavior = dataclasses.replace(
        config.behavior,
        horizon=c["H"],
        return_horizon=round(1 / (1 - c["gamma"])),
        lam=c["lam"],
        init_std=c["init_std"],
        min_std=c["min_std_actor"],
        critic_layers=layers["value"],
        policy_layers=layers["actor"],
    )
    rates = c["lr"]
    optimizers = {
        name: dataclasses.replace(config.optimizer, learning_rate=rates[key], epsilon=c["eps"], clip=c["clip"])
        for name, key in (("optimizer", "model"), ("actor_optimizer", "actor"), ("critic_optimizer", "value"))
    }
    scales = dataclasses.replace(config.loss_scales, continuation=c["pcont_scale"], kl=c["kl_scale"])
    observations, actions, _ = spaces_of(g)
    config = dataclasses.replace(config, model=model, behavior=behavior, loss_scales=scales, **optimizers)
    agent = Agent(observations, actions, config)
    fill(agent, Names(g.group("param/"), c).agent([], False))
    return agent


@pytest.mark.parametrize("path", files("v1_update", "v1_update_pcont"))
def test_updates(path):
    g = Golden(path)
    c, agent, batch = g.config, agent_of(g), batch_of(g)
    world, rssm = agent.parts.world, agent.parts.world.rssm
    pixels = 64 * 64 * g["in/image"].shape[-1]
    for i in (1, 2):
        noise = noise_of(g, i)
        if i == 1:
            rows, post = observe_batch(agent.parts, batch, noise.observe)
            prior = rssm.prior_statistics(post.deter)
            for name, statistics, stoch in (
                ("post", post.posterior, post.stoch),
                ("prior", prior, rssm.latent.draw(prior, g["noise/1/observe_prior"])),
            ):
                d = rssm.latent(statistics)
                for key, value in {"mean": d.mean, "std": d.std, "stoch": stoch, "deter": post.deter}.items():
                    assert_close(value, g[f"out/{name}/{key}"], UPDATE, f"{name}/{key}")
            start, terminal = starts(agent.config, rows, post)
            dreamt = imagine_through(
                rssm,
                partial(imagine_few, partial(imagine_step_through, rssm, agent.policy)),
                start,
                noise.imagine,
                noise.action,
            )
            feature = dreamt.feature[:, 1:]
            assert_close(feature.roll(c["stoch"], -1).transpose(0, 1), g["out/imag_feat"], UPDATE, "feature")
            judged = judge_states(world, dreamt.feature, terminal, agent.config.behavior)
            judged = type(judged)(*(x[:, 1:] for x in judged))
            value = agent.critic(feature).mean
            found = {
                "reward": judged.reward[:, :-1],
                "value": value[:, :-1],
                "pcont": judged.live[:, :-1],
                "returns": imagined_returns(judged, value, agent.config.behavior),
            }
            for key, x in found.items():
                assert_close(x.transpose(0, 1), g[f"out/imag_{key}"], UPDATE, key)
            assert_close(value[:, -1], g["out/imag_bootstrap"], UPDATE)
            gradients = captured_gradients(agent, batch, noise)
            for name, value in Names(g.group("grad/param/"), c).agent([], False).items():
                assert_close(gradients[name], value, UPDATE_GRAD, name)
        result = agent.update(batch, noise)
        assert result.applied
        # Log-densities there have their constants.
        model = result.losses["model"] + (pixels + 1) * HALF_LOG_TWO_PI
        assert_close(model, g[f"out/{i}/model_loss"], UPDATE, "model")
        assert_close(result.losses["actor"], g[f"out/{i}/actor_loss"], UPDATE, "actor")
        if not c.get("pcont"):
            weight = sum((c["gamma"] ** t for t in range(c["H"] - 1)), 0.0) / (c["H"] - 1)
            value = result.losses["critic"] + weight * HALF_LOG_TWO_PI
            assert_close(value, g[f"out/{i}/value_loss"], UPDATE, "value")
        for ours, theirs in (("model", "model"), ("actor", "actor"), ("critic", "value")):
            norm = result.metrics[f"optimizer/{ours}/gradient_norm"]
            assert_close(norm, g[f"out/{i}/{theirs}_norm"], UPDATE_GRAD, theirs)
        parameters = dict(agent.named_parameters())
        for name, value in Names(g.group(f"after{i}/param/"), c).agent([], False).items():
            assert (parameters[name].detach() - value).abs().max() <= UPDATE_PARAMETERS, (i, name)


def captured_gradients(agent, batch, noise):
    """Gradients of the first part of an update, in which all three are computed, by parameter."""
    part = next(agent.generation.update(agent.parts, batch, noise))
    found = {}
    for group, total in part.groups.items():
        names = [name for name, _ in agent._trained[group]]
        gradients = torch.autograd.grad(total, agent.optimizers[group].parameters, retain_graph=True)
        found |= dict(zip(names, gradients, strict=True))
    return found


def test_parameter_counts():
    """Published sizes, images, six actions (facts of the published code)."""
    import gymnasium
    import numpy as np

    images = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    actions = gymnasium.spaces.Dict({"action": gymnasium.spaces.Box(-1, 1, (6,))})
    agent = Agent(images, actions, load_config("dreamer_v1", ["device=cpu"]))

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    found = (count(agent.world_model.rssm), count(agent.world_model), count(agent.critic), count(agent.policy))
    assert found == (557_920, 5_296_820, 413_601, 578_412)
    assert feature_of(torch.zeros(1, 200), torch.zeros(1, 30)).shape == (1, agent.world_model.feature_size)
