"""Adam of the generations before DreamerV3 against `v1_optimizer`, `v2_optimizer`, `dd_optimizer`."""

import pytest
import torch
from family_golden import files
from golden import Golden, assert_close
from torch import nn

from robot_dreamer.config import OptimizerConfig
from robot_dreamer.learner.adam import make_optimizer

PARAMETERS = 2e-6


@pytest.mark.parametrize("path", files("v1_optimizer", "v2_optimizer", "dd_optimizer"))
def test_steps(path):
    g = Golden(path)
    c = g.config
    for case, options in c["cases"].items():
        start = g.group("param/")
        parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        config = OptimizerConfig(
            rule="adam" if c["generation"] == "daydreamer" else "adam_tf",
            learning_rate=options["lr"],
            warmup=options.get("warmup", 0),
            beta1=c["beta1"],
            beta2=c["beta2"],
            epsilon=options.get("eps") or c["eps"],
            clip=options["clip"],
            decay=options.get("wd", 0.0),
            decay_kernels="wd_pattern" in options,
        )
        optimizer = make_optimizer(list(parameters.values()), config)
        for i in range(c["steps"]):
            gradients = [g[f"in/{case}/{i}/grad/{name}"] for name in parameters]
            _, found = optimizer.step(gradients, torch.tensor(True))
            assert_close(found["gradient_norm"], g[f"out/{case}/{i}/norm"], PARAMETERS, case)
            for name, parameter in parameters.items():
                assert_close(parameter, g[f"after{i + 1}/{case}/param/{name}"], PARAMETERS, f"{case} {i} {name}")


@pytest.mark.parametrize("rule", ["laprop", "adam", "adam_tf"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(rule, bad):
    parameters = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))]
    optimizer = make_optimizer(parameters, OptimizerConfig(rule=rule, warmup=0, decay=0.1, epsilon=1e-5))
    good = [torch.ones(3, 2), torch.ones(2)]
    optimizer.step(good, torch.tensor(True))
    kept = [x.clone() for x in (optimizer.flat, optimizer.first_moment, optimizer.second_moment, optimizer.step_count)]
    assert not optimizer.step([torch.ones(3, 2), torch.tensor([1.0, bad])], torch.tensor(True))[0]
    assert not optimizer.step(good, torch.tensor(False))[0]
    now = (optimizer.flat, optimizer.first_moment, optimizer.second_moment, optimizer.step_count)
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))
