"""Encoder and decoder against `encdec_*.npz`."""

import pytest
import torch
from golden import Golden, assert_close, assert_gradients, coder_options, fields, files, load_parameters

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.decoder import Decoder
from robot_dreamer.world_model.distributions import Categorical, SymlogMSE
from robot_dreamer.world_model.encoder import Encoder
from tests.golden.official_names import OfficialNames

OUT, GRAD = 5e-6, 1e-5


@pytest.mark.parametrize("path", files("encoder_decoder"))
def test_encoder_and_decoder(path):
    g = Golden(path)
    c = g.config
    config = ModelConfig(deter=c["deter"], stoch=c["stoch"], classes=c["classes"], **coder_options(c))
    observation_fields = fields(c["obs_space"], c["obs_order"])
    images = [name for name in c["obs_order"] if c["obs_space"][name]["image"]]
    names = OfficialNames(observation_fields, (), len(config.multipliers), images)
    encoder, decoder = Encoder(observation_fields, config), Decoder(observation_fields, config)
    used = load_parameters(encoder, "world_model.encoder.", names, g.group("param/"))
    used |= load_parameters(decoder, "world_model.decoder.", names, g.group("param/"))
    assert used == set(g.group("param/"))

    lead = (c["batch"], c["time"])
    observation = {name: value.flatten(0, 1) for name, value in g.group("in/obs/").items()}
    tokens = encoder(observation).unflatten(0, lead)
    assert_close(tokens, g["out/tokens"], OUT, "tokens")
    scalar = (g["weight/tokens"] * tokens).sum()
    assert_close(scalar, g["out/enc_scalar"], OUT)
    scalar.backward()
    assert_gradients(encoder, "world_model.encoder.", names, g.group("grad/param/"), GRAD)

    deter, stoch = g["in/deter"].requires_grad_(), g["in/stoch"].requires_grad_()
    flat = deter.flatten(0, 1), stoch.flatten(0, 1)
    for name, output in decoder(*flat).items():
        if isinstance(output, Categorical):
            prediction = output.logits
        else:
            prediction = output.prediction if isinstance(output, SymlogMSE) else output.mean
        assert_close(prediction.unflatten(0, lead), g[f"out/pred/{name}"], OUT, name)
    scalar = 0.0
    for name, loss in decoder.losses(*flat, observation).items():
        assert_close(loss.unflatten(0, lead), g[f"out/loss/{name}"], OUT, name)
        scalar = scalar + (g[f"weight/loss/{name}"] * loss.unflatten(0, lead)).sum()
    assert_close(scalar, g["out/dec_scalar"], OUT)
    scalar.backward()
    assert_gradients(decoder, "world_model.decoder.", names, g.group("grad/param/"), GRAD)
    assert_close(deter.grad, g["grad/in/deter"], GRAD)
    assert_close(stoch.grad, g["grad/in/stoch"], GRAD)

    missing = {name: value.flatten(0, 1) for name, value in g.group("in/missing_obs/").items()}
    if missing:
        assert_close(encoder(missing).unflatten(0, lead), g["out/missing_tokens"], OUT, "missing tokens")
        losses = decoder.losses(*flat, missing)
        assert all(torch.isfinite(loss).all() for loss in losses.values())
