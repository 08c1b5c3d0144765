"""What the compiler falls back from, and what it lets through. `torch.compile` itself is replaced: it takes minutes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from robot_dreamer.learner.carry import FEW
from robot_dreamer.learner.compiled import Compiler
from tests.agents import nano, random_batch


def compiled(monkeypatch: pytest.MonkeyPatch, calls: list[Exception | int]) -> Callable[[], object]:
    """A function that gives 0 where it is not compiled; compiled, its calls give or raise these."""
    coming = iter(calls)

    def call() -> int:
        outcome = next(coming)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(torch, "compile", lambda function, **how: call)
    return Compiler()(lambda: 0)


def test_a_first_call_that_fails_falls_back_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    function = compiled(monkeypatch, [RuntimeError("no C++ compiler")])
    with pytest.warns(UserWarning, match="torch.compile failed.*no C\\+\\+ compiler") as caught:
        assert [function(), function()] == [0, 0]
    assert len(caught) == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a bug"), ValueError("of the caller")])
def test_an_error_of_a_later_call_is_raised_and_the_function_stays_compiled(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    function = compiled(monkeypatch, [1, error, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function() == 1
        with pytest.raises(type(error)):
            function()
        assert function() == 2


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_at_the_first_call_is_raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    function = compiled(monkeypatch, [error, 1])
    with pytest.raises(type(error)):
        function()
    assert function() == 1


def test_a_stream_is_filtered_a_few_rows_at_a_time_where_that_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def compile_nothing(function: Any, **how: Any) -> Any:
        def run(*arguments: Any) -> Any:
            lengths.append(arguments[1].shape[1])
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain, compiling = nano(), nano("compile=true")
    batch = random_batch(plain, 1, 11)
    noise = plain.draw_noise(1, 12).observe
    arguments = batch.observation, batch.action, batch.is_first, None, noise
    expected, found = plain.observe(*arguments), compiling.observe(*arguments)
    assert lengths == [FEW, FEW]  # what is left is not compiled again for its length
    torch.testing.assert_close(found.deter, expected.deter)
    torch.testing.assert_close(found.posterior, expected.posterior)
    assert torch.equal(found.stoch, expected.stoch)
