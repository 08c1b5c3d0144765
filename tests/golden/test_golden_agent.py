"""A whole agent against `agent_*.npz`: losses, gradients, five updates, acting."""

import numpy as np
import pytest
import torch
from golden import Golden, agent_config, assert_close, dict_space, files, load_parameters, metric_name

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from robot_dreamer.world_model.losses import kl_losses
from tests.agents import forward
from tests.golden.official_names import OfficialNames

OUT, TOTAL, GRAD = 1e-5, 2e-6, 3e-5
LOSSES = {
    "dyn": "dynamics",
    "rep": "representation",
    "rew": "reward",
    "con": "continuation",
    "policy": "policy",
    "value": "value",
    "repval": "replay_value",
}


class Case:
    """A golden file with an agent that has its parameters."""

    def __init__(self, path):
        self.g = g = Golden(path)
        c = g.config
        observations, actions = (
            dict_space(c["obs_space"], c["obs_order"]),
            dict_space(c["action_space"], c["action_order"]),
        )
        self.agent = Agent(observations, actions, agent_config(c["config"]))
        images = [name for name in c["obs_order"] if c["obs_space"][name]["image"]]
        self.names = OfficialNames(
            self.agent.observation_fields, self.agent.action_fields, len(self.agent.config.model.multipliers), images
        )
        used = load_parameters(self.agent, "", self.names, g.group("param/"))
        assert used == set(g.group("param/"))
        self.agent.state["return_range/low"].copy_(g["in/retnorm_lo"])
        self.agent.state["return_range/high"].copy_(g["in/retnorm_hi"])
        data = g.group("in/batch/")
        self.batch = Batch(
            {name: data[name] for name in c["obs_space"]},
            {name: data[name] for name in c["action_space"]},
            data["reward"],
            data["is_first"],
            data["is_last"],
            data["is_terminal"],
            data["dyn/deter"][:, 0],
            data["dyn/stoch"][:, 0],
            torch.zeros_like(data["is_first"]),
        )

    def noise(self, normal=None):
        """The constants that replaced random numbers."""
        zero = self.agent.draw_noise(*self.batch.reward.shape)
        normal = self.g.config["normal_noise"] if normal is None else normal
        action = {
            f.name: torch.full_like(
                zero.action[f.name], self.g.config["gumbel_noise"] if f.kind == "discrete" else normal
            )
            for f in self.agent.action_fields
        }
        gumbel = self.g.config["gumbel_noise"]
        return UpdateNoise(torch.full_like(zero.observe, gumbel), torch.full_like(zero.imagine, gumbel), action)

    def official(self):
        """Parameters under their published names and layouts."""
        return {
            self.names.name(name): self.names.to_official(name, parameter.detach())
            for name, parameter in self.agent.named_parameters()
        }

    def rounding(self, name=None):
        """How far the file's mean of a loss term, or its total, is from its own rows: compiled code may add the
        squared errors of all pixels of a batch one after the other, which rounds more than the bounds allow."""
        g, scales = self.g, self.g.config["config"]["loss_scales"]
        if name:
            return abs(float(g[f"out/metric/loss/{name}"]) - g[f"out/loss/{name}"].double().mean())
        terms = {name: rows.double().mean() for name, rows in g.group("out/loss/").items()}
        return abs(float(g["out/total_loss"]) - sum(scales.get(name, scales["rec"]) * x for name, x in terms.items()))

    def assert_total(self, ours, golden):
        """A total loss, relative to which the bound is the tightest."""
        assert abs(float(ours) - float(golden)) <= TOTAL * abs(float(golden)) + self.rounding()

    def loss_name(self, official):
        return LOSSES.get(official, f"reconstruction/{official}")


def split_feature(agent, feature):
    """Deter and stoch of a feature."""
    width = agent.config.model.deter
    return feature[..., :width], feature[..., width:].unflatten(-1, agent.world_model.rssm.latent.shape)


@pytest.fixture(params=files("agent"))
def case(request):
    return Case(request.param)


def test_losses_and_intermediate_values(case):
    g, agent = case.g, case.agent
    observed, imagined, losses = forward(agent, case.batch, case.noise())
    for name, value in g.group("out/loss/").items():
        assert_close(losses.terms[case.loss_name(name)], value, OUT, name)
    assert set(losses.terms) == {case.loss_name(name) for name in g.group("out/loss/")}
    case.assert_total(losses.total, g["out/total_loss"])

    world = agent.world_model
    flat = {name: value[:, 1:].flatten(0, 1) for name, value in case.batch.observation.items()}
    lead = g["out/tokens"].shape[:2]
    feature = imagined.feature
    assert torch.equal(observed.stoch.detach(), g["out/post/stoch"])
    imagined_deter, imagined_stoch = split_feature(agent, feature)
    assert torch.equal(imagined_stoch, g["out/imag/feat/stoch"])
    prior = world.rssm.prior_statistics(observed.deter)
    dreamed = world.rssm.prior_statistics(imagined_deter[:, 1:])
    expected = {
        "kl": kl_losses(world.rssm.latent, observed.posterior, prior, agent.config.model.free_nats).kl,
        "carry/deter": observed.deter[:, -1],
        "carry/stoch": observed.stoch[:, -1],
        "tokens": world.encoder(flat).unflatten(0, lead),
        "prior_logit": prior,
        "post/deter": observed.deter,
        "post/logit": observed.posterior,
        "imag/feat/deter": imagined_deter,
        "imag/feat/logit": torch.cat((observed.posterior.flatten(0, 1).unsqueeze(1), dreamed), 1),
        "imag/con": world.continuation(feature).mean,
        "imag/rew": world.reward(feature).mean,
        "imag/val": agent.critic(feature).mean,
        "imag/slowval": agent.slow_critic(feature).mean,
        "imag/ret": losses.acting.returns,
        "imag/policy_loss": losses.acting.policy,
        "imag/value_loss": losses.acting.value,
        "replay_ret": losses.replayed.returns,
    }
    for name, distribution in agent.policy(feature).items():
        expected[f"imag/act/{name}"] = imagined.action[name]
        for part in ("mean", "std", "logits"):
            if hasattr(distribution, part):
                expected[f"imag/pol/{name}/{part}"] = getattr(distribution, part)
    for name, value in expected.items():
        assert_close(value, g[f"out/{name}"], OUT, name)


def test_gradients(case):
    agent, golden = case.agent, case.g.group("grad/param/")
    losses = forward(agent, case.batch, case.noise()).objective
    gradients = torch.autograd.grad(losses.total, agent.optimizers["all"].parameters)
    trained = [name for name, parameter in agent.named_parameters() if parameter.requires_grad]
    for name, gradient in zip(trained, gradients, strict=True):
        official = case.names.name(name)
        assert_close(case.names.to_official(name, gradient), golden.pop(official), GRAD, official)
    assert not golden


def test_five_updates(case):
    g, agent = case.g, case.agent
    initial = case.official()
    noise = case.noise()
    for update in range(1, 6):
        result = agent.update(case.batch, noise)
        latents, metrics = result.latents, result.scalars()
        if update not in (1, 5):
            continue
        state = g.group(f"after{update}/")
        for name in ("lo", "hi"):
            ours = agent.state[{"lo": "return_range/low", "hi": "return_range/high"}[name]]
            assert abs(float(ours - state[f"retnorm_{name}"])) <= 1e-5
        # Later latents also carry the rounding of the parameters, in the file too: at size 1m it is 1e-5 from float64.
        assert_close(latents.deter, state["replay/dyn/deter"], OUT if update == 1 else 2 * OUT, "deter")
        assert torch.equal(latents.stoch, state["replay/dyn/stoch"])
        official = case.official()
        differences = []
        for name, value in g.group(f"after{update}/param/").items():
            difference = (official[name] - value).abs()
            if name.startswith("slowval"):
                assert difference.max() <= 1e-5, name
            else:
                differences.append(difference.flatten())
        if differences:
            differences = torch.cat(differences)
            assert np.quantile(differences.numpy(), 0.999) <= 5e-6
            assert differences.max() <= 1e-4
        if update == 1 and g.config["first_update_lr_zero"]:
            trained = {name for name in official if not name.startswith("slowval")}
            assert all(torch.equal(official[name], initial[name]) for name in trained)
        for name, value in g.group(f"after{update}/metric/loss/").items():
            # The mean of rows that cancel carries the rounding of the rows, later also that of the parameters.
            bound = (OUT if update == 1 else 10 * OUT) * g[f"out/loss/{name}"].abs().max() + case.rounding(name)
            assert abs(metrics[f"loss/{case.loss_name(name)}"] - value) <= bound, name
        for name, ours in {
            "grad_norm": "gradient_norm",
            "grad_rms": "gradient_rms",
            "update_rms": "update_rms",
            "param_rms": "parameter_rms",
        }.items():
            tolerance = GRAD if update == 1 else 10 * GRAD
            assert_close(metrics[f"optimizer/{ours}"], state[f"metric/opt/{name}"], tolerance, name)
        assert agent.updates == update == state["metric/opt/updates"]
        if update == 1:
            case.assert_total(metrics["loss/total"], state["metric/opt/loss"])
        else:
            assert_close(metrics["loss/total"], state["metric/opt/loss"], 10 * OUT, "total")
    assert agent.trained_parameters == g["out/metric/opt/param_count"]


def test_metrics(case):
    g = case.g
    metrics = case.agent.update(case.batch, case.noise()).metrics
    # A mean over rows that cancel carries the rounding of the rows.
    rows = {name: f"out/imag/{name}" for name in ("rew", "con", "val", "slowval")} | {"tar": "out/imag/ret"}
    rows |= {"adv": "out/metric/adv_mag", "ret": "out/metric/ret_max", "ret_min": "out/metric/ret_max"}
    for name, value in g.group("out/metric/").items():
        if name.startswith(("loss/", "opt/")):
            continue
        ours = {"dyn_ent": "entropy/prior", "rep_ent": "entropy/posterior"}.get(name) or metric_name(name)
        scale = torch.maximum(value.abs(), g[rows[name]].abs().max() if name in rows else value.abs())
        assert abs(metrics[ours] - value) <= 2e-5 * scale, name


def test_zero_noise(case):
    g, agent = case.g, case.agent
    zero = g.group("zero/")
    if not zero:
        pytest.skip("this file has no pass without Gaussian noise")
    _, imagined, losses = forward(agent, case.batch, case.noise(normal=0.0))
    case.assert_total(losses.total, zero["total_loss"])
    for name in ("policy", "value", "repval"):
        assert_close(losses.terms[LOSSES[name]], zero[f"loss/{name}"], OUT, name)
    deter, stoch = split_feature(agent, imagined.feature)
    assert_close(deter, zero["imag/feat/deter"], OUT)
    assert torch.equal(stoch, zero["imag/feat/stoch"])
    assert_close(losses.acting.returns, zero["imag/ret"], OUT)
    for name, action in imagined.action.items():
        assert_close(action, zero[f"imag/act/{name}"], OUT)
    gradients = dict(
        zip(
            [name for name, p in agent.named_parameters() if p.requires_grad],
            torch.autograd.grad(losses.total, agent.optimizers["all"].parameters),
            strict=True,
        )
    )
    official = {case.names.name(name): case.names.to_official(name, value) for name, value in gradients.items()}
    for name, value in g.group("zero/grad/param/").items():
        assert_close(official[name], value, GRAD, name)


def test_acting(case):
    g, agent = case.g, case.agent
    observation = {f.name: g[f"in/act/obs/{f.name}"] for f in agent.observation_fields}
    previous = {f.name: g[f"in/act/prevact/{f.name}"] for f in agent.action_fields}
    rows = g["in/act/carry/deter"].shape[0]

    def act(normal):
        noise = {"latent_noise": torch.full_like(g["in/act/carry/stoch"], g.config["gumbel_noise"])}
        for f in agent.action_fields:
            if f.kind == "discrete":
                noise[f"action_noise_{f.name}"] = torch.full((rows, *f.shape, f.classes), g.config["gumbel_noise"])
            else:
                noise[f"action_noise_{f.name}"] = torch.full((rows, *f.shape), normal)
        with torch.no_grad():
            return agent.policy_step()(
                observation,
                previous,
                {"deter": g["in/act/carry/deter"], "stoch": g["in/act/carry/stoch"]},
                g["in/act/obs/is_first"],
                noise,
            )

    action, state, _ = act(g.config["normal_noise"])
    deter, stoch = state["deter"], state["stoch"]
    assert_close(deter, g["out/act/carry/deter"], OUT)
    assert torch.equal(stoch, g["out/act/carry/stoch"])
    assert_close(deter, g["out/act/dyn/deter"], OUT)  # what the learner stores is what the filter carries
    assert torch.equal(stoch, g["out/act/dyn/stoch"])
    outputs = {"out": action, "zero": act(0.0)[0]} if g.group("zero/") else {"out": action}
    for f in agent.action_fields:
        for part, ours in outputs.items():
            golden = g[f"{part}/act/action/{f.name}"]
            assert_close(ours[f.name], golden.clamp(-1, 1) if f.kind == "vector" else golden, OUT, f.name)
