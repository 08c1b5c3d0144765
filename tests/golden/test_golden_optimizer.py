"""Thirty updates of the optimiser against `optimizer.npz`."""

import pytest
import torch
from golden import Golden, assert_close, cases
from torch import nn

from robot_dreamer.config import OptimizerConfig
from robot_dreamer.learner.optimizer import Optimizer


@pytest.mark.parametrize(("path", "variant"), cases("optimizer", lambda config: config["variants"]))
def test_optimizer(path, variant):
    g = Golden(path)
    c = g.config["variants"][variant]
    tolerance = 1e-4 if g.config["steps"] < c["warmup"] else 5e-5  # tiny steps at the foot of the ramp
    config = OptimizerConfig(
        learning_rate=c["lr"],
        warmup=c["warmup"],
        agc=c["agc"],
        agc_minimum=g.config["agc_pmin"],
        beta1=c["beta1"],
        beta2=c["beta2"],
        epsilon=c["eps"],
    )
    names = list(g.group("in/param/"))
    parameters = [nn.Parameter(g[f"in/param/{name}"]) for name in names]
    optimizer = Optimizer(parameters, config)
    out = g.group(f"out/{variant}/")
    for step in range(g.config["steps"]):
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step([g[f"in/grad/{name}"][step] for name in names], torch.tensor(True))
        for name, parameter, old in zip(names, parameters, before, strict=True):
            label = f"{name} at step {step}"
            assert_close(parameter, out[f"param/{name}"][step], tolerance, label)
            # The difference of two parameters carries their rounding.
            expected = out[f"update/{name}"][step]
            rounding = 1.2e-7 * float(old.abs().max()) / max(float(expected.abs().max()), 1e-30)
            if expected.abs().max() > 0:
                assert_close(parameter - old, expected, tolerance + rounding, label)
            else:
                assert torch.equal(parameter, old), label
    views = optimizer.views(optimizer.first_moment), optimizer.views(optimizer.second_moment)
    for i, name in enumerate(names):
        assert_close(views[0][i], out[f"final_mu/{name}"], tolerance, name)
        assert_close(views[1][i], out[f"final_nu/{name}"], tolerance, name)
