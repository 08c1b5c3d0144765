"""The RSSM of Dreamer V1, DreamerV2 (both latents) and DayDreamer against `*_observe` and `*_imagine`."""

import pytest
import torch
from family_dreamer import Names, check_gradients, rssm_of
from family_golden import GRAD, OUT, files
from golden import Golden, assert_close

from robot_dreamer.world_model.distributions import Categorical
from robot_dreamer.world_model.rssm import Latents


def described(rssm, statistics, stoch, deter):
    """What the files have of a state; DayDreamer's logits are those of the mixture with the uniform distribution."""
    d = rssm.latent(statistics)
    if isinstance(d, Categorical):
        mixed = rssm.latent.unimix > 0
        return {"logit": d.log_probs if mixed else d.logits, "stoch": stoch, "deter": deter}
    return {"mean": d.mean, "std": d.std, "stoch": stoch, "deter": deter}


@pytest.mark.parametrize("path", files("v1_rssm_observe", "v2_rssm_observe", "v2_gaussian_observe", "dd_rssm_observe"))
def test_observe(path):
    g = Golden(path)
    rssm = rssm_of(g)
    names = ("embed", "action", "start_deter", "start_stoch")
    inputs = {name: g[f"in/{name}"].requires_grad_() for name in names}
    shape = inputs["action"].shape[:2]
    keep = 1 - g["in/is_first"].float() if "in/is_first" in g.arrays else torch.ones(shape)
    start = Latents(inputs["start_deter"], inputs["start_stoch"])
    post = rssm.observe(start, inputs["embed"], inputs["action"], keep, g["noise/post"].transpose(0, 1))
    prior = rssm.prior_statistics(post.deter)
    scalar = 0.0
    for name, statistics, stoch in (
        ("post", post.posterior, post.stoch),
        ("prior", prior, rssm.latent.draw(prior, g["noise/prior"])),
    ):
        for key, value in described(rssm, statistics, stoch, post.deter).items():
            assert_close(value, g[f"out/{name}/{key}"], OUT, f"{name}/{key}")
            # V2 weighs the feature of the posterior as one, and the prior's sample.
            weight = g.arrays.keys() & {f"weight/{name}/{key}", f"weight/{key}_{name}", f"weight/{name}_{key}"}
            for found in weight:
                scalar = scalar + (g[found] * value).sum()
    if "weight/feat" in g.arrays:
        scalar = scalar + (g["weight/feat"] * torch.cat((post.stoch.flatten(2), post.deter), -1)).sum()
    assert_close(scalar, g["out/scalar"], OUT)
    if "out/initial_deter" in g.arrays:
        first = rssm.initial(1)
        assert_close(first.deter[0], g["out/initial_deter"], OUT)
        assert_close(first.stoch[0], g["out/initial_stoch"], OUT)
    scalar.backward()
    check_gradients(rssm, Names(g.group("grad/param/"), g.config).rssm())
    for name, value in inputs.items():
        assert_close(value.grad, g[f"grad/in/{name}"], GRAD, name)


@pytest.mark.parametrize("path", files("v1_rssm_imagine", "v2_rssm_imagine", "v2_gaussian_imagine", "dd_rssm_imagine"))
def test_imagine(path):
    g = Golden(path)
    rssm = rssm_of(g)
    inputs = {name: g[f"in/{name}"].requires_grad_() for name in ("action", "start_deter", "start_stoch")}
    deter, stoch, rows = inputs["start_deter"], inputs["start_stoch"], []
    for t in range(inputs["action"].shape[1]):
        deter = rssm.step(deter, stoch, inputs["action"][:, t])
        prior = rssm.prior_statistics(deter)
        stoch = rssm.latent.draw(prior, g["noise/prior"][:, t])
        rows.append(described(rssm, prior, stoch, deter))
    scalar = 0.0
    for key in rows[0]:
        value = torch.stack([row[key] for row in rows], 1)
        assert_close(value, g[f"out/{key}"], OUT, key)
        scalar = scalar + (g[f"weight/{key}"] * value).sum()
    assert_close(scalar, g["out/scalar"], OUT)
    scalar.backward()
    check_gradients(rssm, Names(g.group("grad/param/"), g.config).rssm())
    for name, value in inputs.items():
        assert_close(value.grad, g[f"grad/in/{name}"], GRAD, name)
