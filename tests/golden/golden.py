"""Reading the golden files: arrays, dimensions, and agents built from both."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robot_dreamer.config import BehaviorConfig, Config, LossScales, ModelConfig, OptimizerConfig, RunConfig
from robot_dreamer.world_model.fields import Field, fields_of
from tests.golden.official_names import OfficialNames

COMPONENTS = {
    "agent",
    "encoder_decoder",
    "init_stats",
    "optimizer",
    "returns",
    "rssm_imagine",
    "rssm_observe",
    "scalars",
}


def golden_files(folder: Path) -> dict[Path, dict[str, Any]]:
    """The files of a folder with their `config`.

    Raises:
      ValueError: there are none, or one is of a kind that no test reads: the suite would pass and say nothing.
    """
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            found[path] = json.loads(str(file["config"]))
        component = found[path].get("component")
        if component not in COMPONENTS:
            raise ValueError(f"{path}: component: expected one of {sorted(COMPONENTS)}, found {component!r}")
    if not found:
        raise ValueError(f"GOLDEN_DIR: expected a folder with golden files (*.npz), found none in {folder.absolute()}")
    return found


FILES = golden_files(Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parent))


class Golden:
    """One file: `golden["out/kl"]` is a tensor, `golden.config` its dimensions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files if name != "config"}
            self.config: dict[str, Any] = json.loads(str(file["config"]))

    def __getitem__(self, name: str) -> Tensor:
        array = self.arrays[name]
        return torch.from_numpy(np.array(array))

    def group(self, prefix: str) -> dict[str, Tensor]:
        """All arrays below a prefix, by the rest of their name."""
        return {name[len(prefix) :]: self[name] for name in self.arrays if name.startswith(prefix)}


def files(*components: str) -> list[Any]:
    """The golden files of these components, as pytest parameters."""
    return [pytest.param(path, id=path.stem) for path, config in FILES.items() if config["component"] in components]


def cases(component: str, find: Callable[[dict[str, Any]], Iterable[str]]) -> list[Any]:
    """Each file of a component with each case that `find` sees in its `config`."""
    return [
        pytest.param(path, case, id=f"{path.stem}-{case}")
        for path, config in FILES.items()
        if config["component"] == component
        for case in find(config)
    ]


def assert_close(ours: Tensor, golden: Tensor, tolerance: float, name: str = "") -> None:
    """max |ours - golden| <= tolerance * max |golden|."""
    ours, golden = ours.detach().double(), golden.double()
    assert ours.shape == golden.shape, f"{name}: shape {tuple(ours.shape)}, golden {tuple(golden.shape)}"
    if golden.numel() == 0:
        return
    scale = golden.abs().max()
    error = (ours - golden).abs().max() / (scale if scale > 0 else 1.0)
    assert error <= tolerance, f"{name}: error {error:.2e} above {tolerance:.0e}"


def space_of(description: dict[str, Any]) -> gymnasium.Space:
    """Gymnasium space of one key of a golden file."""
    shape = tuple(description["shape"])
    if description.get("image"):
        return gymnasium.spaces.Box(0, 255, shape, np.uint8)
    if "classes" in description:
        classes = description["classes"]
        return gymnasium.spaces.MultiDiscrete(np.full(shape, classes)) if shape else gymnasium.spaces.Discrete(classes)
    return gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)


def dict_space(descriptions: dict[str, Any], order: list[str] | None = None) -> gymnasium.spaces.Dict:
    """Dictionary space, in the order of the golden file."""
    keys = order or list(descriptions)
    return gymnasium.spaces.Dict(collections.OrderedDict((key, space_of(descriptions[key])) for key in keys))


def fields(descriptions: dict[str, Any], order: list[str] | None = None) -> tuple[Field, ...]:
    return fields_of(dict_space(descriptions, order))


def rssm_config(c: dict[str, Any], **more: Any) -> ModelConfig:
    return ModelConfig(
        deter=c["deter"],
        hidden=c["hidden"],
        stoch=c["stoch"],
        classes=c["classes"],
        blocks=c["blocks"],
        dynamics_layers=c["dynlayers"],
        prior_layers=c["imglayers"],
        posterior_layers=c["obslayers"],
        unimix=c["unimix"],
        free_nats=c["free_nats"],
        **more,
    )


def coder_options(c: dict[str, Any]) -> dict[str, Any]:
    """Options of encoder and decoder."""
    return dict(
        multipliers=tuple(c["enc"]["mults"]),
        kernel=c["enc"]["kernel"],
        encoder_layers=c["enc"]["layers"],
        decoder_layers=c["dec"]["layers"],
        decoder_blocks=c["dec"]["bspace"],
        symlog_inputs=c["enc"]["symlog"],
        units=c["units"],
        depth=c["depth"],
    )


def agent_config(c: dict[str, Any]) -> Config:
    """Configuration of a whole-agent file."""
    scales, opt, policy, retnorm = c["loss_scales"], c["opt"], c["policy"], c["retnorm"]
    return Config(
        model=rssm_config(
            c["rssm"],
            **coder_options(c),
            reward_layers=c["rewhead"]["layers"],
            continue_layers=c["conhead"]["layers"],
            bins=c["rewhead"]["bins"],
        ),
        behavior=BehaviorConfig(
            horizon=c["imag_length"],
            imagine_last=c["imag_last"],
            return_horizon=c["horizon"],
            continue_discount=c["contdisc"],
            lam=c["imag_loss"]["lam"],
            entropy=c["imag_loss"]["actent"],
            slow_rate=c["slowvalue"]["rate"],
            slow_regularizer=c["imag_loss"]["slowreg"],
            slow_target=c["imag_loss"]["slowtar"],
            return_rate=retnorm["rate"],
            return_percentile_low=retnorm["perclo"],
            return_percentile_high=retnorm["perchi"],
            return_limit=retnorm["limit"],
            policy_layers=policy["layers"],
            critic_layers=c["value"]["layers"],
            min_std=policy["minstd"],
            max_std=policy["maxstd"],
        ),
        optimizer=OptimizerConfig(
            learning_rate=opt["lr"],
            warmup=opt["warmup"],
            agc=opt["agc"],
            beta1=opt["beta1"],
            beta2=opt["beta2"],
            epsilon=opt["eps"],
        ),
        loss_scales=LossScales(
            reconstruction=scales["rec"],
            reward=scales["rew"],
            continuation=scales["con"],
            dynamics=scales["dyn"],
            representation=scales["rep"],
            policy=scales["policy"],
            value=scales["value"],
            replay_value=scales["repval"],
        ),
        batch_size=c["batch"],
        batch_length=c["time"],
        run=RunConfig(device="cpu"),
    )


def load_parameters(module: nn.Module, prefix: str, names: OfficialNames, golden: dict[str, Tensor]) -> set[str]:
    """Copy golden parameters into the parameters of a module; returns the golden names that were used."""
    used = set()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            official = names.name(prefix + name)
            parameter.copy_(names.to_ours(prefix + name, golden[official]))
            used.add(official)
    return used


def assert_gradients(
    module: nn.Module, prefix: str, names: OfficialNames, golden: dict[str, Tensor], tolerance: float
) -> None:
    """Compare `.grad` of every parameter that has a golden gradient."""
    for name, parameter in module.named_parameters():
        official = names.name(prefix + name)
        if official in golden:
            assert parameter.grad is not None, official
            assert_close(names.to_official(prefix + name, parameter.grad), golden[official], tolerance, official)


# Name of a metric there: here.
_METRICS = {
    "adv": "advantage/mean",
    "adv_std": "advantage/std",
    "adv_mag": "advantage/magnitude",
    "rew": "imagined/reward",
    "con": "imagined/continue",
    "weight": "imagined/weight",
    "ret": "return/mean",
    "ret_min": "return/min",
    "ret_max": "return/max",
    "ret_rate": "return/rate",
    "val": "value/mean",
    "slowval": "value/slow",
    "tar": "value/target",
}


def metric_name(name: str) -> str | None:
    """Our name of a metric of the golden files."""
    kind, _, key = name.partition("/")
    return {"ent": f"policy/entropy/{key}", "rand": f"policy/randomness/{key}"}.get(kind) or _METRICS.get(name)
