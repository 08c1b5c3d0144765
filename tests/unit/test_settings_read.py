"""A setting is refused for a generation exactly if nothing of it looks at the setting while it is built, trained and
acts: recorded, not believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from robot_dreamer.behavior.noise import draw_port
from robot_dreamer.config import Config, known_presets, load_config
from robot_dreamer.config.check import SettingError
from robot_dreamer.config.load import _leaves, _read_preset, preset_file
from robot_dreamer.config.reads import is_read
from robot_dreamer.learner.agent import Agent
from tests.agents import IMAGE, SIX_ACTIONS, WALKER, random_batch, spaces

SENSORS = spaces.Dict({**IMAGE.spaces, **WALKER.spaces, "gear": spaces.Discrete(4)})
BOTH = spaces.Dict({**SIX_ACTIONS.spaces, "grip": spaces.Discrete(3)})
SMALL = ("device=cpu", "model.depth=2")
STAGES = ("stages.vision=1", "stages.memory=1", "stages.controller=2", "stages.vision_rows=8")
DREAMS = ("evolution.population=6", "evolution.dreams=2", "evolution.dream_length=3")
RUNS: dict[str, list[tuple[str, spaces.Dict, tuple[str, ...]]]] = {
    "dreamer_v3": [("nano", BOTH, ("demonstrations.imitation=1", "behavior.imagine_last=3"))],
    "dreamer": [
        ("dreamer_v1:cpu", SIX_ACTIONS, ("model.continue_head=true",)),
        ("dreamer_v2:cpu", BOTH, ("behavior.gradient=mix", "model.continue_head=true")),
        ("daydreamer:cpu", SIX_ACTIONS, ()),
    ],
    "planet": [
        ("planet:cpu", SIX_ACTIONS, ("model.continue_head=true", "model.overshooting=1", "planner.candidates=20")),
        ("planet:cpu", SIX_ACTIONS, ("model.latent=classes", "model.stoch=4", "model.classes=4")),
    ],
    "world_models": [("world_models:cpu", BOTH, (*STAGES, *DREAMS))],
}
"""Of each objective what together has every sensor, action and optional part."""


def recorded(config: Config, seen: set[str]) -> Config:
    """The same configuration, which notes what is asked of its sections."""

    def watched(section: str, value: Any) -> Any:
        names = {item.name for item in dataclasses.fields(value)}

        def look(self: Any, name: str) -> Any:
            if name in names:
                seen.add(f"{section}.{name}")
            return object.__getattribute__(self, name)

        copy = object.__new__(type(type(value).__name__, (type(value),), {"__getattribute__": look}))
        copy.__dict__.update(vars(value))
        return copy

    return dataclasses.replace(config, **{name: watched(name, getattr(config, name)) for name in sections(config)})


def sections(config: Config) -> list[str]:
    return [
        item.name
        for item in dataclasses.fields(config)
        if item.name != "run" and dataclasses.is_dataclass(getattr(config, item.name))
    ]


def settings(config: Config) -> Iterator[str]:
    for section in sections(config):
        for item in dataclasses.fields(getattr(config, section)):
            yield f"{section}.{item.name}"


@pytest.mark.parametrize("objective", RUNS)
@pytest.mark.timeout(300)
def test_what_a_generation_reads_may_be_set_and_nothing_else(objective: str) -> None:
    seen = {"demonstrations.share"}  # the replay's, of every generation
    for preset, actions, overrides in RUNS[objective]:
        mine: set[str] = set()
        config = recorded(load_config(preset, [*SMALL, *overrides]), mine)
        mine.clear()  # what the configuration looked at itself, when it was put together
        assert config.objective == objective
        agent = Agent(SENSORS, actions, config)
        batch = random_batch(agent, 2, 7)
        for _ in range(4):
            agent.update(batch)
        step = agent.policy_step()
        state = {name: torch.zeros(1, *shape) for name, shape in step.layout.states.items()}
        rows = ({name: value[:1, 0] for name, value in part.items()} for part in (batch.observation, batch.action))
        noise = {port.name: draw_port(port, 1, agent.generator) for port in step.layout.noise}
        with torch.no_grad():
            step(*rows, state, torch.tensor([False]), noise)
        seen |= mine
    allowed = {name for name in settings(config) if is_read(config, name)}
    assert seen == allowed


@pytest.mark.parametrize("rule", ["laprop", "adam", "adam_tf"])
def test_what_a_rule_of_an_optimiser_reads_may_be_set_and_nothing_else(rule: str) -> None:
    seen: set[str] = set()
    config = recorded(load_config("nano", ["device=cpu", f"optimizer.rule={rule}", "optimizer.warmup=0"]), seen)
    agent = Agent(WALKER, SIX_ACTIONS, config)
    agent.update(random_batch(agent, 2, 7))
    named = {name for name in settings(config) if name.startswith("optimizer.")}
    assert {name for name in seen if name in named} == {name for name in named if is_read(config, name)}


@pytest.mark.parametrize(
    ("preset", "override", "words"),
    [
        ("dreamer_v2", "behavior.slow_rate=0.1", "behavior.slow_rate: the objective dreamer does not read it"),
        ("nano", "behavior.returns=arrival", "(dreamer would)"),
        ("nano", "optimizer.clip=10", "optimizer.clip: the rule laprop does not read it (adam and adam_tf would)"),
        ("daydreamer", "critic_optimizer.agc=0.1", "critic_optimizer.agc: the rule adam does not read it"),
        ("planet", "model={bins: 63}", "model.bins: the objective planet does not read it (dreamer_v3 would)"),
    ],
)
def test_a_setting_that_is_not_read_is_refused_by_name(preset: str, override: str, words: str) -> None:
    with pytest.raises(ValueError, match="does not read it") as error:
        load_config(preset, [override])
    assert words in str(error.value)


WITH = [
    ("daydreamer", "behavior.entropy=0.01", "behavior.entropy_target=0.0", "0.5"),
    ("dreamer_v2", "behavior.max_std=0.5", "behavior.actor=normal", "truncated_normal"),
    ("dreamer_v1", "loss_scales.continuation=5", "model.continue_head=true", "false"),
    ("dreamer_v1", "model.classes=8", "model.latent=classes", "numbers"),
    ("planet", "model.kl_balance=0.5", "model.kl_rule=balanced", "hinge"),
]


@pytest.mark.parametrize(("preset", "override", "other", "found"), WITH)
def test_a_setting_that_is_read_with_another_value_of_another_one_is_refused_without(
    preset: str, override: str, other: str, found: str
) -> None:
    name, setting = override.partition("=")[0], other.partition("=")[0]
    with pytest.raises(SettingError, match=f"^{name}: it is read with {setting}=.* only, found {found}$"):
        load_config(preset, [override])
    load_config(preset, [override, other])


def test_where_the_other_one_is_not_read_it_decides_nothing() -> None:
    load_config("nano", ["loss_scales.continuation=2", "model.continue_layers=2", "behavior.entropy=0.1"])


def test_a_copy_of_a_shipped_preset_is_one_of_ones_own_whatever_it_holds_for_a_switch_that_is_off() -> None:
    for preset in known_presets():
        generation, _, rest = preset.partition(":")
        load_config(f"{generation}:{preset_file(preset)}" if rest else str(preset_file(preset)))


def test_the_shipped_presets_set_nothing_that_is_not_read() -> None:
    for preset in known_presets():
        first, _, rest = preset.partition(":")
        written = _read_preset(first, rest or first)
        config = load_config(preset)
        unread = [name for name, _ in _leaves(written) if not is_read(config, name)]
        assert not unread, preset
