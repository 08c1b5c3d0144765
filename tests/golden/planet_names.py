"""Parameters of the original PlaNet under our names."""

import torch


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
