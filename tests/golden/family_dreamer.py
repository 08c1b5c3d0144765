"""Parameters of Dreamer V1, DreamerV2 and DayDreamer by our names, and agents with the sizes of a file.

Their features are [stoch, deter] but in DayDreamer, ours [deter, stoch]. V1's actor has one output layer for means and
standard deviations, ours two.
"""

import dataclasses

import gymnasium
import numpy as np
import torch
from family_golden import GRAD, to_ours
from golden import assert_close

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.config import load_config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.world_model.gru_rssm import GRURSSM
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp

_RSSM = {
    "dreamer_v1": [("img_in.0", "img1"), ("prior.0", "img2"), ("prior_out", "img3")]
    + [("posterior.0", "obs1"), ("posterior_out", "obs2")],
    "dreamer_v2": [("img_in.0", "img_in"), ("prior.0", "img_out_0"), ("prior_out", "img_dist_0")]
    + [("posterior.0", "obs_out"), ("posterior_out", "obs_dist")],
    "daydreamer": [("img_in.0", "img_in"), *((f"prior.{i}", f"img_out_{i}") for i in range(9))]
    + [("prior_out", "img_stats"), ("posterior.0", "obs_out"), ("posterior_out", "obs_stats")],
}
_CELL = {
    "dreamer_v1": {"kernel": "gru/kernel", "recurrent": "gru/recurrent", "bias": "gru/bias2"},
    "dreamer_v2": {"kernel": "gru/kernel", "bias": "gru/bias", "norm.scale": "gru_norm/scale"}
    | {"norm.bias": "gru_norm/bias"},
    "daydreamer": {"kernel": "gru_out/kernel", "norm.scale": "gru_out/norm/scale", "norm.bias": "gru_out/norm/bias"},
}
_HEADS = {
    "dreamer_v1": {"world_model.reward": "reward", "world_model.continuation": "pcont", "critic": "value"},
    "dreamer_v2": {"world_model.reward": "reward", "world_model.continuation": "discount", "critic": "critic"}
    | {"slow_critic": "slow_critic"},
    "daydreamer": {"world_model.reward": "reward", "world_model.continuation": "cont", "critic": "critic"}
    | {"slow_critic": "slow_critic"},
}
_ENCODER = {
    "dreamer_v1": [f"enc/h{i}" for i in (1, 2, 3, 4)],
    "dreamer_v2": [f"enc/conv{i}" for i in range(4)],
    "daydreamer": [f"enc/cnn/conv{i}" for i in range(4)],
}
_DECODER = {
    "dreamer_v1": [f"dec/h{i}" for i in (2, 3, 4, 5)],
    "dreamer_v2": [f"dec/conv{i}" for i in range(4)],
    "daydreamer": [*(f"dec/cnn/conv{i}" for i in range(3)), "dec/cnn/out"],
}


class Names:
    """Finds the arrays of a file by our names."""

    def __init__(self, theirs, config):
        self.theirs, self.ours = theirs, {}
        self.generation, self.deter = config["generation"], config["deter"]

    def layer(self, ours, theirs, feature=False):
        for a, b in {"kernel": "kernel", "bias": "bias", "norm.scale": "norm/scale", "norm.bias": "norm/bias"}.items():
            if f"{theirs}/{b}" in self.theirs:
                value = to_ours(self.theirs[f"{theirs}/{b}"])
                self.ours[f"{ours}.{a}"] = self.feature(value) if feature and a == "kernel" else value

    def feature(self, kernel):
        """A kernel that reads the feature."""
        return kernel if self.generation == "daydreamer" else kernel.roll(self.deter, 0)

    def rssm(self, prefix=""):
        for ours, theirs in _RSSM[self.generation]:
            self.layer(f"{prefix}{ours}", f"rssm/{theirs}")
        for ours, theirs in _CELL[self.generation].items():
            if f"rssm/{theirs}" in self.theirs:
                self.ours[f"{prefix}cell.{ours}"] = self.theirs[f"rssm/{theirs}"]
        if "rssm/initial_deter" in self.theirs:
            self.ours[f"{prefix}start"] = self.theirs["rssm/initial_deter"]
        return self.ours

    def head(self, ours, theirs):
        """Hidden layers and one output."""
        self.trunk(ours, theirs)
        for name in ("hout", "out", "out/out"):
            self.layer(f"{ours}.out", f"{theirs}/{name}")

    def trunk(self, ours, theirs):
        for i in range(9):
            for name in (f"h{i}", f"dense{i}"):
                self.layer(f"{ours}.trunk.{i}", f"{theirs}/{name}", feature=i == 0)

    def actor(self, ours, theirs, discrete):
        self.trunk(ours, theirs)
        if self.generation == "dreamer_v1":
            for part in ("kernel", "bias"):
                if f"{theirs}/hout/{part}" in self.theirs:
                    mean, std = self.theirs[f"{theirs}/hout/{part}"].chunk(2, -1)
                    self.ours |= {f"{ours}.heads.0.mean.{part}": mean, f"{ours}.heads.0.std.{part}": std}
            return
        first = "logits" if discrete else "mean"
        nested = self.generation == "daydreamer"
        self.layer(f"{ours}.heads.0.{first}", f"{theirs}/out/out" if nested else f"{theirs}/out")
        self.layer(f"{ours}.heads.0.std", f"{theirs}/out/std" if nested else f"{theirs}/out_std")

    def agent(self, vectors, discrete):
        """All parameters; vectors: names of the vector observations."""
        self.rssm("world_model.rssm.")
        for ours, theirs in _HEADS[self.generation].items():
            self.head(ours, theirs)
        self.actor("policy", "actor", discrete)
        for i, theirs in enumerate(_ENCODER[self.generation]):
            self.layer(f"world_model.encoder.image.layers.{i}", theirs)
        *hidden, out = _DECODER[self.generation]
        for i, theirs in enumerate(hidden):
            self.layer(f"world_model.decoder.image.layers.{i}", theirs, feature=False)
        self.layer("world_model.decoder.image.out", out)
        dense = {"dreamer_v1": "dec/h1", "dreamer_v2": "dec/convin"}.get(self.generation)
        if dense:
            self.layer("world_model.decoder.image.dense", dense, feature=True)
        part = "/mlp" if self.generation == "daydreamer" else ""
        for i in range(9):
            self.layer(f"world_model.encoder.vector.{i}", f"enc{part}/dense{i}")
            self.layer(f"world_model.decoder.vector.{i}", f"dec{part}/dense{i}", feature=i == 0)
        for i, name in enumerate(vectors):
            theirs = f"dec/mlp/{name}/out" if self.generation == "daydreamer" else f"dec/dense_{name}"
            self.layer(f"world_model.decoder.vector_heads.{i}", theirs)
        return self.ours


def fill(module, ours):
    """Set parameters by name; those that the file lacks (a posterior that it does not use) stay."""
    own = dict(module.named_parameters())
    assert ours.keys() <= own.keys(), sorted(ours.keys() - own.keys())
    with torch.no_grad():
        for name, value in ours.items():
            assert own[name].shape == value.shape, (name, own[name].shape, value.shape)
            own[name].copy_(value)


def check_gradients(module, ours, tolerance=GRAD):
    own = dict(module.named_parameters())
    for name, value in ours.items():
        grad = own[name].grad
        assert_close(torch.zeros_like(own[name]) if grad is None else grad, value, tolerance, name)


def rssm_of(g):
    c = g.config
    model = dataclasses.replace(
        load_config(c["generation"]).model,
        deter=c["deter"],
        hidden=c["units"] if c["generation"] == "daydreamer" else c["hidden"],
        stoch=c["stoch"],
        classes=c.get("classes") or 1,
        **({"latent": "numbers", "std_rule": "sigmoid2"} if c["component"].startswith("v2_gaussian") else {}),
    )
    rssm = GRURSSM(c["A"], c["E"], model)
    fill(rssm, Names(g.group("param/"), c).rssm())
    return rssm


def spaces_of(g):
    """Spaces of observations and actions of a whole-update file, and the names of its vectors."""
    c, observations, vectors = g.config, {}, []
    for name, shape in (c.get("observations") or {"image": list(g["in/image"].shape[2:])}).items():
        if len(shape) == 3:
            observations[name] = gymnasium.spaces.Box(0, 255, tuple(shape), np.uint8)
        else:
            observations[name] = gymnasium.spaces.Box(-np.inf, np.inf, tuple(shape), np.float32)
            vectors.append(name)
    count = g["in/action"].shape[-1]
    action = gymnasium.spaces.Discrete(count) if c.get("discrete_actions") else gymnasium.spaces.Box(-1, 1, (count,))
    return gymnasium.spaces.Dict(observations), gymnasium.spaces.Dict({"action": action}), sorted(vectors)


def batch_of(g):
    """The rows of a file, behind one that gives the first action only."""
    c, action = g.config, g["in/action"]
    rows, steps = g["in/reward"].shape

    def with_context(x):
        return torch.cat((torch.zeros_like(x[:, :1]), x), 1)

    def flag(name):
        return with_context(g[f"in/{name}"].bool()) if f"in/{name}" in g.arrays else torch.zeros(rows, steps + 1) > 0

    # Theirs is the action that led to a row, ours the one executed after it.
    action = torch.cat((action, torch.zeros_like(action[:, :1])), 1)
    if c.get("discrete_actions"):
        # All zeros where there was none: a class outside, which `one_hot` gives as zeros.
        action = torch.where(action.sum(-1) > 0, action.argmax(-1), -1)
    names = list(c.get("observations") or ["image"])
    terminal = with_context(1 - g["in/discount"]) > 0.5 if "in/discount" in g.arrays else flag("is_terminal")
    classes = () if c["generation"] == "dreamer_v1" else (c["classes"],)
    return Batch(
        {name: with_context(g[f"in/{name}"]) for name in names},
        {"action": action},
        with_context(g["in/reward"]),
        flag("is_first"),
        flag("is_last"),
        terminal,
        torch.zeros(rows, steps + 1, c["deter"])[:, 0],
        torch.zeros(rows, c["stoch"], *classes),
        torch.zeros_like(terminal),
    )


def noise_of(g, i):
    """Noise of update i; uniform numbers as the normal ones that give them."""
    draws = g[f"noise/{i}/imagine_action"]
    if g.config.get("actor_dist") == "trunc_normal":
        draws = torch.special.ndtri(draws.double()).float()
    observe = g[f"noise/{i}/observe_post"].transpose(0, 1)
    return UpdateNoise(observe, g[f"noise/{i}/imagine_latent"], {"action": draws}, {})


def resize_coders(world, g, generation):
    """Give the vector coder the widths of a file, which are not those of the heads."""
    c = g.config
    widths = c["encoder"]["mlp_layers"]
    if generation == "daydreamer":
        widths = [c["encoder"]["mlp_units"]] * widths
    model = load_config(generation).model
    encoder, decoder, rssm = world.encoder, world.decoder, world.rssm
    if not encoder.flat_fields:
        return
    sizes = [field.features for field in encoder.flat_fields]
    images = encoder.image.outputs if encoder.image_fields else 0
    encoder.vector = glorot_mlp(sum(sizes), widths, model.activation, model.norm)
    decoder.vector = glorot_mlp(world.feature_size, widths, model.activation, model.norm)
    decoder.vector_heads = torch.nn.ModuleList(GlorotLinear(widths[-1], size) for size in sizes)
    hidden = rssm.posterior_out.kernel.shape[0]
    rssm.posterior = glorot_mlp(rssm.deter + images + widths[-1], [hidden], model.activation, model.norm)
