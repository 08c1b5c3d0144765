"""The 2018 image stack, and the vector layers beside it, against `planet_convs`, `v1_convs`, `v2_convs`, `dd_convs`."""

import math

import pytest
import torch
from family_golden import GRAD, OUT, check_gradients, files, load
from golden import Golden, assert_close
from torch import nn

from robot_dreamer.world_model.conv64 import Conv64Decoder, Conv64Encoder, pixels
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp

# By generation: pixel code, names of the four convolutions, of the layer before the decoder, of the decoder's layers.
_HIDDEN = {
    "planet": ("five_bit", ["enc/conv2d", *(f"enc/conv2d_{i}" for i in (1, 2, 3))], "dec/dense"),
    "dreamer_v1": ("centered", [f"enc/h{i}" for i in (1, 2, 3, 4)], "dec/h1"),
    "dreamer_v2": ("centered", [f"enc/conv{i}" for i in range(4)], "dec/convin"),
    "daydreamer": ("unit", [f"enc/cnn/conv{i}" for i in range(4)], None),
}
_DECODER = {
    "planet": ["dec/conv2d_transpose", *(f"dec/conv2d_transpose_{i}" for i in (1, 2, 3))],
    "dreamer_v1": [f"dec/h{i}" for i in (2, 3, 4, 5)],
    "dreamer_v2": [f"dec/conv{i}" for i in range(4)],
    "daydreamer": [*(f"dec/cnn/conv{i}" for i in range(3)), "dec/cnn/out"],
}


class Networks(nn.Module):
    """Encoder and decoder of one file."""

    def __init__(self, g):
        super().__init__()
        c = g.config
        self.day = c["generation"] == "daydreamer"
        depth, act = c.get("depth") or c["cnn_depth"], c["act"]
        channels = g["in/image"].shape[-1]
        inputs = sum(math.prod(x.shape[2:]) for x in self.features(g))
        self.encoder = Conv64Encoder(channels, depth, act, norm=self.day)
        self.decoder = Conv64Decoder(inputs, channels, depth, act, norm=self.day, dense=not self.day)
        self.keys = c.get("vector_keys", [])
        if self.keys:
            sizes = [g[f"in/{key}"].shape[-1] for key in self.keys]
            widths = [c["mlp_units"]] * c["mlp_layers"] if self.day else c["mlp_layers"]
            self.vector_encoder = glorot_mlp(sum(sizes), widths, act, norm=self.day)
            self.vector_decoder = glorot_mlp(inputs, widths, act, norm=self.day)
            self.heads = nn.ModuleList(GlorotLinear(widths[-1], size) for size in sizes)

    def features(self, g):
        """The decoder's input; DayDreamer: [deter, stoch], before it one array in the order of the file."""
        return [g["in/deter"], g["in/stoch"]] if self.day else [g["in/feat"]]

    def decode(self, feature):
        image = self.decoder(feature)
        outputs = {"image": torch.sigmoid(image) if self.day else image}
        if self.keys:
            hidden = self.vector_decoder(feature)
            outputs |= {key: head(hidden) for key, head in zip(self.keys, self.heads, strict=True)}
        return outputs


def names_of(networks, generation):
    """Our parameter names -> theirs."""
    _, encoder, dense = _HIDDEN[generation]
    layers = {f"encoder.layers.{i}": name for i, name in enumerate(encoder)}
    *decoder, out = _DECODER[generation]
    layers |= {f"decoder.layers.{i}": name for i, name in enumerate(decoder)} | {"decoder.out": out}
    if dense:
        layers["decoder.dense"] = dense
    part = "/mlp" if networks.day else ""
    for i in range(len(networks.vector_encoder) if networks.keys else 0):
        layers[f"vector_encoder.{i}"] = f"enc{part}/dense{i}"
        layers[f"vector_decoder.{i}"] = f"dec{part}/dense{i}"
    for i, key in enumerate(networks.keys):
        layers[f"heads.{i}"] = f"dec/mlp/{key}/out" if networks.day else f"dec/dense_{key}"
    rest = {"kernel": "kernel", "bias": "bias", "norm.scale": "norm/scale", "norm.bias": "norm/bias"}
    ours = dict(networks.named_parameters())
    named = {f"{a}.{x}": f"{b}/{y}" for a, b in layers.items() for x, y in rest.items()}
    return {name: theirs for name, theirs in named.items() if name in ours}


@pytest.mark.parametrize("path", files("planet_convs", "v1_convs", "v2_convs", "dd_convs"))
def test_image_stack(path):
    g = Golden(path)
    generation = g.config["generation"]
    networks = Networks(g)
    names = names_of(networks, generation)
    load(networks, g, names)
    assert set(names.values()) == set(g.group("param/"))

    x = pixels(g["in/image"], _HIDDEN[generation][0], g["noise/uniform"] if generation == "planet" else None)
    if generation == "planet":
        assert_close(x, g["out/preprocessed"], OUT)
    lead = x.shape[:2]
    embed = [networks.encoder(x.flatten(0, 1)).unflatten(0, lead)]
    if networks.keys:
        vectors = networks.vector_encoder(torch.cat([g[f"in/{key}"] for key in networks.keys], -1))
        embed.append(vectors)
    embed = torch.cat(embed, -1)
    assert_close(embed, g["out/embed"], OUT, "embed")
    (g["weight/embed"] * embed).sum().backward()

    features = [x.requires_grad_() for x in networks.features(g)]
    outputs = networks.decode(torch.cat([x.flatten(2) for x in features], -1).flatten(0, 1))
    single = "out/mean" in g.arrays
    scalar = 0.0
    for key, output in outputs.items():
        output = output.unflatten(0, lead)
        assert_close(output, g["out/mean" if single else f"out/mean/{key}"], OUT, key)
        target = x if key == "image" else g[f"in/{key}"]
        squares = (output - target).square().flatten(2)
        # A unit normal; DayDreamer has the squared error without the half and without the constant.
        constant = 0.5 * math.log(2 * math.pi) * squares.shape[-1]
        logprob = -squares.sum(-1) if networks.day else -0.5 * squares.sum(-1) - constant
        assert_close(logprob, g["out/logprob" if single else f"out/logprob/{key}"], OUT, key)
        scalar = scalar + (g[f"weight/{key}"] * logprob).sum()
    scalar.backward()
    # The gradient of the last bias is a sum over all pixels of numbers that nearly cancel.
    check_gradients(networks, g, names, 2e-4 if generation == "dreamer_v1" else GRAD)
    for name, value in zip(["deter", "stoch"] if networks.day else ["feat"], features, strict=True):
        assert_close(value.grad, g[f"grad/in/{name}"], GRAD, name)
