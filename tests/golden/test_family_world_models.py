"""World Models: V, M and C against `wm_vae`, `wm_vae_floor`, `wm_mdnrnn`, `wm_mdnrnn_done`, `wm_controller`."""

import dataclasses

import pytest
import torch
from family_golden import OUT, check_gradients, files, load, to_ours
from golden import Golden, assert_close
from torch import nn

from robot_dreamer.behavior.evolution import LinearController
from robot_dreamer.config import OptimizerConfig, load_config
from robot_dreamer.learner.adam import make_optimizer
from robot_dreamer.world_model.coder64 import Decoder64
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import Numbers
from robot_dreamer.world_model.mdn import MDNRNN, done_loss, mixture_loss
from robot_dreamer.world_model.vision import VisionEncoder, kl_to_unit, vision_kl_loss

AFTER = 1e-5  # parameters after updates, absolute

VAE_NAMES = {
    **{f"encoder.trunk.image.layers.{i}": f"enc_conv{i + 1}" for i in range(4)},
    **{f"decoder.image.layers.{i}": f"dec_deconv{i + 1}" for i in range(3)},
    "decoder.image.out": "dec_deconv4",
    "decoder.image.dense": "dec_fc",
    "encoder.mean": "enc_fc_mu",
    "encoder.log_var": "enc_fc_log_var",
}
VAE_NAMES = {f"{a}.{x}": f"vae/{b}/{x}" for a, b in VAE_NAMES.items() for x in ("kernel", "bias")}
RNN_NAMES = {
    "lstm.kernel": "rnn/lstm/kernel",
    "lstm.bias": "rnn/lstm/bias",
    "kernel": "rnn/output_w",
    "bias": "rnn/output_b",
}


def vision(image, latents, depth):
    """V of an image alone."""
    fields = [Field("image", "image", image)]
    config = dataclasses.replace(load_config("world_models").model, stoch=latents, depth=depth)
    return nn.ModuleDict({"encoder": VisionEncoder(fields, config), "decoder": Decoder64(fields, latents, config)})


class Training:
    """The generation's optimiser with the settings of a golden file."""

    def __init__(self, module, config):
        self.module = module
        settings = {"rule": "adam_tf", "warmup": 0, "clip": 1e9, "clip_entries": config.get("grad_clip", 0.0)}
        settings |= {"learning_rate": config["lr"], "epsilon": config["adam_eps"]}
        self.optimizer = make_optimizer(list(module.parameters()), OptimizerConfig(**settings))

    def step(self):
        gradients = [parameter.grad for parameter in self.module.parameters()]
        self.optimizer.step(gradients, torch.ones((), dtype=torch.bool))


def check_after(module, g, names, count):
    for ours, parameter in module.named_parameters():
        golden = to_ours(g[f"after{count}/param/{names[ours]}"])
        assert (parameter - golden).abs().max() <= AFTER, f"{ours} after {count}"


@pytest.mark.parametrize("path", files("wm_vae", "wm_vae_floor"))
def test_vae(path):
    g = Golden(path)
    c = g.config
    vae = vision(tuple(g["in/image"].shape[1:]), c["z_size"], c["width"])
    latent = Numbers(c["z_size"], rule="log_variance")
    load(vae, g, VAE_NAMES)
    observation = {"image": g["in/image"]}
    training = Training(vae, c)
    for update in (1, 2):
        code = vae.encoder(observation)
        z = latent.draw(code, g["noise/z"])
        error = vae.decoder.losses(z, observation)["image"]
        kl = vision_kl_loss(code, c["kl_tolerance"] * c["z_size"])
        loss = error.mean() + kl.mean()
        vae.zero_grad()
        loss.backward()
        if update == 1:
            mean, log_var = code.chunk(2, -1)
            outputs = {"mu": mean, "logvar": log_var, "sigma": latent(code).std, "z": z}
            outputs |= {"recon": vae.decoder(z)["image"].mean, "kl_per_image": kl_to_unit(code)}
            outputs |= {"r_loss": error.mean(), "kl_loss": kl.mean(), "loss": loss}
            assert {f"out/{name}" for name in outputs} == {name for name in g.arrays if name.startswith("out/")}
            for name, value in outputs.items():
                assert_close(value, g[f"out/{name}"], OUT, name)
            check_gradients(vae, g, VAE_NAMES)
        training.step()
        check_after(vae, g, VAE_NAMES, update)


def run(memory, z, action, h, c, restart=None):
    """Over a whole sequence, zeroing the state where an episode begins: predictions (B, T) and the last h, c."""
    states = []
    for t in range(action.shape[1]):
        if restart is not None:
            keep = 1 - restart[:, t : t + 1]
            h, c = h * keep, c * keep
        h, c = memory.step(h, c, z[:, t], action[:, t], None if restart is None else restart[:, t])
        states.append(h)
    return memory.predict(torch.stack(states, 1)), h, c


@pytest.mark.parametrize("path", files("wm_mdnrnn"))
def test_mixture_density_lstm(path):
    g = Golden(path)
    c = g.config
    memory = MDNRNN(c["Z"], c["A"], c["H"], c["K"], reward=False, done=False)
    memory.lstm.forget_bias = c["forget_bias"]
    load(memory, g, RNN_NAMES)
    training = Training(memory, c)
    for update, part in ((1, ""), (2, "second_")):
        z, action = g[f"in/{part}z"], g[f"in/{part}action"]
        row, h, cell = run(memory, z, action, g["in/h"], g["in/c"])
        cost = mixture_loss(row.latent, z[:, 1:]).mean()
        memory.zero_grad()
        cost.backward()
        if update == 1:
            outputs = {"logmix": row.latent.log_weight, "mean": row.latent.mean, "logstd": row.latent.log_std}
            for name, value in {**outputs, "cost": cost, "final_h": h, "final_c": cell}.items():
                assert_close(value, g[f"out/{name}"], OUT, name)
            check_gradients(memory, g, RNN_NAMES)
        training.step()
        check_after(memory, g, RNN_NAMES, update)


@pytest.mark.parametrize("path", files("wm_mdnrnn"))
@torch.no_grad()
def test_dreamt_sequence_at_each_temperature(path):
    g = Golden(path)
    c = g.config
    memory = MDNRNN(c["Z"], c["A"], c["H"], c["K"], reward=False, done=False)
    load(memory, g, RNN_NAMES)
    for temperature in c["temperature"]:
        z, h, cell = g["in/sample_z0"][None], torch.zeros(1, c["H"]), torch.zeros(1, c["H"])
        drawn = []
        draws = (g[f"noise/sample_{kind}/{temperature}"] for kind in ("uniform", "normal"))
        for action, uniform, normal in zip(g["in/sample_action"], *draws, strict=True):
            h, cell = memory.step(h, cell, z, action[None])
            z = memory.predict(h).latent.sample(uniform[None], normal[None], temperature)
            drawn.append(z[0])
        assert_close(torch.stack(drawn), g[f"out/sample/{temperature}"], OUT, str(temperature))


@pytest.mark.parametrize("path", files("wm_mdnrnn_done"))
def test_memory_with_restarts_and_a_done_output(path):
    g = Golden(path)
    c = g.config
    memory = MDNRNN(c["Z"], 1, c["H"], c["K"], reward=False, done=True, restart=True)
    memory.lstm.forget_bias = c["forget_bias"]
    load(memory, g, RNN_NAMES)
    training = Training(memory, c)
    restart = g["in/restart"]
    for update, part in ((1, ""), (2, "second_")):
        z, action = g[f"in/{part}z"], g[f"in/{part}action"].unsqueeze(-1)
        row, h, cell = run(memory, z, action[:, :-1], g["in/h"], g["in/c"], restart)
        z_cost = mixture_loss(row.latent, z[:, 1:]).mean()
        r_cost = done_loss(row.done_logit, restart[:, 1:], c["restart_factor"]).mean()
        memory.zero_grad()
        (z_cost + r_cost).backward()
        if update == 1:
            outputs = {"logmix": row.latent.log_weight, "mean": row.latent.mean, "logstd": row.latent.log_std}
            outputs |= {"restart_logit": row.done_logit, "final_h": h, "final_c": cell}
            outputs |= {"z_cost": z_cost, "r_cost": r_cost, "cost": z_cost + r_cost}
            for name, value in outputs.items():
                assert_close(value, g[f"out/{name}"], OUT, name)
            check_gradients(memory, g, RNN_NAMES)
        training.step()
        check_after(memory, g, RNN_NAMES, update)


@pytest.mark.parametrize("path", files("wm_mdnrnn_done"))
@torch.no_grad()
def test_a_restart_forgets_a_carried_state(path):
    """The original jumps back to the state it was fed (`quirk/`); zero is what it means, and what ours does."""
    g = Golden(path)
    c = g.config
    memory = MDNRNN(c["Z"], 1, c["H"], c["K"], reward=False, done=True, restart=True)
    load(memory, g, RNN_NAMES)
    z, action, restart = g["in/z"], g["in/action"].unsqueeze(-1)[:, :-1], g["in/restart"]
    row, h, cell = run(memory, z, action, g["in/carried_h"], g["in/carried_c"], restart)
    before = restart[:, :-1].cumsum(1) == 0  # rows that no restart precedes: here both agree
    assert before.any() and not before.all()
    assert_close(row.done_logit[before], g["quirk/restart_logit"][before], OUT)
    again, *_ = run(memory, z, action, g["in/h"], g["in/c"], restart)
    assert torch.equal(row.done_logit[~before], again.done_logit[~before])


@pytest.mark.parametrize("path", files("wm_controller"))
def test_linear_controller(path):
    g = Golden(path)
    z, h, cell = g["in/z"], g["in/h"], g["in/c"]
    width = z.shape[1] + h.shape[1]
    car = LinearController([Field("action", "vector", (g["out/car_action"].shape[1],))], width)
    assert car.parameter_count == g["param/car"].numel()
    car.load(g["param/car"].float())
    steer, gas, brake = car.choose(car(car.reading(z, h, cell)))["action"].unbind(-1)
    assert_close(torch.stack((steer, (gas + 1) / 2, brake.clamp(0, 1)), -1), g["out/car_action"], OUT)

    doom = LinearController([Field("action", "vector", (1,))], width + cell.shape[1], bias=False, reads_cell=True)
    assert doom.parameter_count == g["param/doom"].numel()
    doom.load(g["param/doom"].float())
    assert_close(doom.choose(doom(doom.reading(z, h, cell)))["action"], g["out/doom_action"], OUT)


def test_parameter_counts_as_published():
    """Ha & Schmidhuber 2018, appendices A.1 to A.3, car racing and Doom."""

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(vision((64, 64, 3), 32, 32)) == 4_348_547
    assert count(vision((64, 64, 3), 64, 32)) == 4_446_915
    assert count(MDNRNN(32, 3, 256, 5, reward=False, done=False)) == 422_368
    assert count(MDNRNN(64, 1, 512, 5, reward=False, done=True, restart=True)) == 1_678_785
    assert LinearController([Field("action", "vector", (3,))], 32 + 256).parameter_count == 867
    assert LinearController([Field("action", "vector", (1,))], 64 + 2 * 512, bias=False).parameter_count == 1088
