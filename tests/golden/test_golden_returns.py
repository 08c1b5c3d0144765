"""Returns and actor-critic losses against `returns.npz`."""

import pytest
import torch
from golden import Golden, assert_close, cases, files, metric_name

from robot_dreamer.behavior.losses import imagination_losses, replay_losses
from robot_dreamer.behavior.returns import ReturnRange, lambda_return
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import Categorical, Normal, TwoHot

OUT, GRAD, GRAD_TWO_HOT = 5e-6, 1e-5, 2e-5


@pytest.mark.parametrize("path", files("returns"))
def test_lambda_return(path):
    g = Golden(path)
    reward, boot = g["in/lambda_rew"].requires_grad_(), g["in/lambda_boot"].requires_grad_()
    lam = g.config["lambda_return"]["lam"]
    live = (1 - g["in/lambda_term"].float()) * (1 - 1 / 333)
    returns = lambda_return(reward, live, boot, lam * (1 - g["in/lambda_last"].float()))
    assert_close(returns, g["out/lambda_ret"], OUT)
    assert_close(lambda_return(reward, g["in/lambda_con"], g["in/lambda_val"], lam), g["out/lambda_ret_con"], OUT)
    (g["weight/lambda"] * returns).sum().backward()
    assert_close(reward.grad, g["grad/lambda_rew"], GRAD)
    assert_close(boot.grad, g["grad/lambda_boot"], GRAD)


@pytest.mark.parametrize(
    ("path", "case"), cases("returns", lambda config: [k for k, c in config["imag"].items() if "action_keys" in c])
)
def test_imagination_losses(path, case):
    g = Golden(path)
    c, norm = g.config["imag"][case], g.config["retnorm"]
    config = BehaviorConfig(
        lam=c["lam"],
        entropy=c["actent"],
        slow_regularizer=c["slowreg"],
        slow_target=c["slowtar"],
        continue_discount=c["contdisc"],
        return_horizon=c["horizon"],
        return_rate=norm["rate"],
        return_limit=norm["limit"],
        return_percentile_low=norm["perclo"],
        return_percentile_high=norm["perchi"],
    )
    inputs = g.group(f"in/imag_{case}/")
    leaves = {
        name: value.requires_grad_() for name, value in inputs.items() if name.startswith(("mean_", "std_", "logits_"))
    }
    leaves["value_logits"] = inputs["value_logits"].requires_grad_()
    policy = {}
    for key in sorted(c["action_keys"]):
        if c["kinds"][key] == "c":
            policy[key] = Normal(inputs[f"mean_{key}"], inputs[f"std_{key}"])
        else:
            policy[key] = Categorical(inputs[f"logits_{key}"])
    result = imagination_losses(
        {key: inputs[f"act/{key}"] for key in policy},
        inputs["rew"],
        inputs["con"],
        policy,
        TwoHot(inputs["value_logits"], g["in/bins"]),
        TwoHot(inputs["slowvalue_logits"], g["in/bins"]).mean,
        ReturnRange(inputs["retnorm_lo"], inputs["retnorm_hi"]),
        config,
    )
    for name, value in {
        "policy_loss": result.policy,
        "value_loss": result.value,
        "ret": result.returns,
        "retnorm_lo": result.return_range.low,
        "retnorm_hi": result.return_range.high,
    }.items():
        assert_close(value, g[f"out/imag_{case}/{name}"], OUT, name)
    scalar = (g[f"weight/imag_{case}/policy"] * result.policy).sum() + (
        g[f"weight/imag_{case}/value"] * result.value
    ).sum()
    assert_close(scalar, g[f"out/imag_{case}/scalar"], OUT)
    scalar.backward()
    for name, leaf in leaves.items():
        assert_close(leaf.grad, g[f"grad/imag_{case}/{name}"], GRAD_TWO_HOT if name == "value_logits" else GRAD, name)
    for name, value in g.group(f"out/imag_{case}/metric/").items():
        assert_close(result.metrics[metric_name(name)], value, 2e-5, name)


@pytest.mark.parametrize(
    ("path", "case"), cases("returns", lambda config: [k for k, c in config["imag"].items() if "action_keys" not in c])
)
def test_replay_losses(path, case):
    g = Golden(path)
    c = g.config["imag"][case]
    config = BehaviorConfig(
        lam=c["lam"], return_horizon=c["horizon"], slow_regularizer=c["slowreg"], slow_target=c["slowtar"]
    )
    inputs = g.group(f"in/{case}/")
    logits = inputs["value_logits"].requires_grad_()
    result = replay_losses(
        inputs["last"],
        inputs["term"],
        inputs["rew"],
        inputs["boot"],
        TwoHot(logits, g["in/bins"]),
        TwoHot(inputs["slowvalue_logits"], g["in/bins"]).mean,
        config,
    )
    assert_close(result.value, g[f"out/{case}/repval_loss"], OUT)
    assert_close(result.returns, g[f"out/{case}/ret"], OUT)
    scalar = (g[f"weight/{case}"] * result.value).sum()
    assert_close(scalar, g[f"out/{case}/scalar"], OUT)
    scalar.backward()
    assert_close(logits.grad, g[f"grad/{case}/value_logits"], GRAD_TWO_HOT)
    assert torch.isfinite(logits.grad).all()
