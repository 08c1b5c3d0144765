"""One update of each generation beside other people's PyTorch code of it, by turns in one run.

    python benchmarks/peers.py [--generations dreamer_v1 planet] [--size small published] [--threads 1] [--rounds 10]
        [--sides eager compiled] [--code planet=PATH dreamer_v1=PATH dreamer_v2=PATH world_models=PATH]

DreamerV3's peer is in `step_time.py`, whose table this is: the sides take turns, and `ratio` is the median over the
rounds of a side's time against ours. All have one size, float32, as many threads, and one process. An update of ours
begins with sampling the replay and ends with latents written back; theirs begins with a batch that is ready, in their
favour. Where theirs does more or less than ours beyond that, its line says so.

Dreamer V1: torchrl 0.14.1, where it is installed. The others are codes that have no package: `--code` names the folder
of a checkout that you made by hand. They are

    planet        github.com/Kaixhin/PlaNet at 28c8491
    dreamer_v1    github.com/yusukeurakami/dreamer-pytorch at b51af83; needs opencv-python-headless and plotly
    dreamer_v2    github.com/jsikyoon/dreamer-torch at 7c2331a; pictures only
    world_models  github.com/ctallec/world-models at d6abd9c; pictures only, V and M

and run with torch 2.13. One that is not there is named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.peer_code import Checkout  # noqa: E402
from benchmarks.peer_dreamer_v1 import dreamer_v1_update  # noqa: E402
from benchmarks.peer_dreamer_v2 import dreamer_v2_update  # noqa: E402
from benchmarks.peer_planet import planet_update  # noqa: E402
from benchmarks.peer_torchrl_v1 import torchrl_v1_update  # noqa: E402
from benchmarks.peer_world_models import memory_update, vision_update  # noqa: E402
from benchmarks.step_time import SIDES, WARM_UP, Update, our_agent, table  # noqa: E402
from robot_dreamer.config import Config, load_config  # noqa: E402
from robot_dreamer.learner.memory import keep_freed_memory  # noqa: E402

CODES = {
    "planet": Checkout("Kaixhin/PlaNet", "28c8491"),
    "dreamer_v1": Checkout("yusukeurakami/dreamer-pytorch", "b51af83"),
    "dreamer_v2": Checkout("jsikyoon/dreamer-torch", "7c2331a"),
    "world_models": Checkout("ctallec/world-models", "d6abd9c"),
}


class Generation(NamedTuple):
    """What is measured of one generation."""

    sizes: Mapping[str, Sequence[str]]
    """Preset and settings, by name of the size."""
    shared: Sequence[str]
    """Settings that give ours the form which the peers cannot leave."""
    pictures: bool
    """Pictures of 64 x 64 are observed, else 24 numbers."""
    peers: Mapping[str, Callable[[Config, Checkout], tuple[Update, str]]]
    """By the name of a code, or of an installed package."""


_LAYERS = ("model.encoder_layers=3", "model.decoder_layers=2", "model.reward_layers=2")
# The smaller presets have narrower layers in front of the recurrent one; the peers have one width for both.
_NARROW = "model.hidden=100"
_WORLD_MODELS = {"small": ("world_models",), "published": ("world_models",)}
GENERATIONS = {
    "planet": Generation(
        {"small": ("planet:cpu", _NARROW), "published": ("planet:dmc_proprio",)},
        _LAYERS,
        False,
        {"planet": planet_update},
    ),
    "dreamer_v1": Generation(
        {"small": ("dreamer_v1:cpu", _NARROW), "published": ("dreamer_v1:dmc_proprio",)},
        (*_LAYERS, "behavior.policy_layers=4", "behavior.critic_layers=3"),
        False,
        {"torchrl": lambda config, _: torchrl_v1_update(config), "dreamer_v1": dreamer_v1_update},
    ),
    "dreamer_v2": Generation(
        {"small": ("dreamer_v2:cpu",), "published": ("dreamer_v2:dmc_vision",)},
        (),
        True,
        {"dreamer_v2": dreamer_v2_update},
    ),
    "vision": Generation(_WORLD_MODELS, ("stages.vision=1000000",), True, {"world_models": vision_update}),
    # After one update of V, M has its turn until the end; the batch is that of the peer's script.
    "memory": Generation(
        _WORLD_MODELS,
        ("stages.vision=1", "stages.memory=1000000", "batch_size=16", "batch_length=32"),
        True,
        {"world_models": memory_update},
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all generations at all sizes, and print one table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", nargs="+", choices=list(GENERATIONS), default=list(GENERATIONS))
    parser.add_argument("--size", nargs="+", choices=["small", "published"], default=["small"])
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=["eager"], help="of ours")
    parser.add_argument("--code", nargs="+", type=folder_of, default=[], metavar="NAME=PATH")
    parser.add_argument("--threads", type=int, default=1, help="threads within one update")
    parser.add_argument("--rounds", type=int, default=10, help="timed updates of each side")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    codes = CODES | {name: CODES[name]._replace(folder=folder) for name, folder in options.code}
    for name in options.generations:
        for size in options.size:
            preset, *settings = *GENERATIONS[name].sizes[size], *GENERATIONS[name].shared
            print(f"\n{name}: {preset} with {' '.join(settings) or 'nothing else'}", flush=True)
            updates = sides(GENERATIONS[name], preset, ["device=cpu", *settings], options.sides, codes)
            print(f"{machine('torch')}; {options.threads} threads")
            print(table(updates, options.rounds), flush=True)


def sides(
    generation: Generation, preset: str, settings: list[str], ours: Sequence[str], codes: Mapping[str, Checkout]
) -> dict[str, Update]:
    """Warm updates by name, ours first; what is not there is named and left out."""
    updates = {}
    for side in ours:
        agent, updates[side] = our_agent(load_config(preset, [*settings, *SIDES[side]]), generation.pictures)
        print(f"{side}: ours, {agent.trained_parameters:,} parameters", flush=True)
    config = load_config(preset, settings)
    for name, build in generation.peers.items():
        code = codes.get(name, Checkout(name, ""))
        try:
            update, what = build(config, code)
        except ImportError as error:
            print(f"{name}: left out: {error}", flush=True)
            continue
        updates[code.repository.split("/")[0]] = update
        print(what, flush=True)
    for update in updates.values():
        for _ in range(WARM_UP):
            update()
    return updates


def folder_of(text: str) -> tuple[str, Path]:
    """NAME=PATH as a name of `CODES` and a folder. Raises argparse's error for a name that is not one of them."""
    name, _, folder = text.partition("=")
    if name not in CODES or not folder:
        raise argparse.ArgumentTypeError(f"expected NAME=PATH with a name of {', '.join(CODES)}, found {text!r}")
    return name, Path(folder).resolve()


if __name__ == "__main__":
    main()
