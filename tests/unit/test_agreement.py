"""A model whose fast form says something else than its plain one is refused before anything is learned."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from robot_dreamer.cli import _is_explained
from robot_dreamer.config import load_config
from robot_dreamer.learner.follow import build_agent
from robot_dreamer.spec import load_spec
from robot_dreamer.world_model import block_rssm
from robot_dreamer.world_model.agreement import ModelsDisagree, require_one_model
from robot_dreamer.world_model.block_rssm import BlockRSSM
from robot_dreamer.world_model.fast import filtering


@pytest.mark.parametrize("preset", ["nano", "dreamer_v3", "dreamer_v2", "world_models"])
@pytest.mark.parametrize("layers", [1, 3])
def test_what_stands_agrees(preset: str, layers: int) -> None:
    model = load_config(preset).model
    require_one_model(dataclasses.replace(model, dynamics_layers=layers, posterior_layers=layers))


def test_a_changed_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    step = BlockRSSM.step
    monkeypatch.setattr(BlockRSSM, "step", lambda *arguments: 1.01 * step(*arguments))
    with pytest.raises(ModelsDisagree, match=r"BlockRSSM.observe .*block_rssm.* another model than BlockRSSM.filter"):
        require_one_model(load_config("nano").model)


def test_a_changed_fast_row_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*arguments: Any) -> Any:
        return [row._replace(logits=row.logits + 0.01) for row in filtering.filter_few(*arguments)]

    changed = filtering.RowFunctions(other, filtering.filter_few_backward)
    monkeypatch.setattr(block_rssm, "RowFunctions", lambda: changed)
    with pytest.raises(ModelsDisagree, match="posterior differs"):
        require_one_model(load_config("nano").model)


def test_a_forgotten_derivative_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    scale_gradient = filtering.scale_gradient
    monkeypatch.setattr(filtering, "scale_gradient", lambda *arguments: 1.1 * scale_gradient(*arguments))
    with pytest.raises(ModelsDisagree, match="gradient of .*scale differs"):
        require_one_model(load_config("nano").model)


def test_a_preparation_that_is_not_the_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = BlockRSSM.prepare

    def other(rssm: BlockRSSM) -> Any:
        return prepare(rssm)._replace(shared=torch.zeros_like(prepare(rssm).shared))

    monkeypatch.setattr(BlockRSSM, "prepare", other)
    with pytest.raises(ModelsDisagree, match="BlockRSSM.prepare"):
        require_one_model(load_config("nano").model)


def test_no_learner_begins_with_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    step = BlockRSSM.step
    monkeypatch.setattr(BlockRSSM, "step", lambda *arguments: step(*arguments) + 0.1)
    with pytest.raises(ModelsDisagree):
        build_agent(load_spec("cartpole"), load_config("nano"), None)
    assert _is_explained(ModelsDisagree(""))  # one line, no traceback
