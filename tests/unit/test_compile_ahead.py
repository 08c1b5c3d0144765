"""Compiling beside the run: when it changes over, what a failure costs, and what the other process does."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner import code_cache, compile_ahead, follow
from robot_dreamer.learner.carry import FEW
from robot_dreamer.learner.compile_ahead import CompileAhead, example_batch
from robot_dreamer.learner.compiled import CompiledFunctions, Compiler
from robot_dreamer.spec import load_spec

CONFIG = load_config("nano", ["device=cpu", "compile=true"])
PATIENCE = 240.0  # seconds; the other process runs at low priority
SUCCEED = "pass"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # as if unset, and put back at the end
    code_cache.code_cache.cache_clear()
    yield code_cache.code_cache()
    code_cache.code_cache.cache_clear()


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the other processes do instead, one after the other: Python texts."""
    begin = subprocess.Popen

    def play(*texts: str) -> None:
        coming = iter(texts)
        monkeypatch.setattr(
            compile_ahead.subprocess,
            "Popen",
            lambda command, **options: begin([sys.executable, "-c", next(coming)], **options),
        )

    return play


def outcome(ahead: CompileAhead) -> bool:
    """What it says in the end."""
    deadline = time.monotonic() + PATIENCE
    while ahead.state not in ("ready", "failed"):
        assert time.monotonic() < deadline
        ahead()
        time.sleep(0.01)
    return ahead()


def test_functions_stay_as_they_are_until_compiled_code_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []  # PyTorch to compile, for which it imports so much that the first rows would wait for it

    def compile_it(function: Callable[..., Any], **how: Any) -> Callable[[], str]:
        asked.append(function)
        return lambda: "compiled"

    monkeypatch.setattr(torch, "compile", compile_it)
    compiler, said = Compiler(), iter([False, False, True])
    compiler.ready = lambda: next(said, True)
    function = compiler(lambda: "plain")
    found = [(function(), len(asked)) for _ in range(4)]
    assert found == [("plain", 0), ("plain", 0), ("compiled", 1), ("compiled", 1)]


def test_ready_once_the_other_process_ends_well(folder: Path, compilers: Any, caplog: pytest.LogCaptureFixture) -> None:
    compilers("import sys; sys.stdin.read()")
    with caplog.at_level(logging.INFO):
        assert outcome(CompileAhead(load_spec("cartpole"), CONFIG))
    assert "beside the run: the next update loads it" in caplog.text


def test_a_damaged_cache_is_begun_anew_once_and_said(
    folder: Path, compilers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "broken.so").write_bytes(b"no code")
    compilers("import os; os.kill(os.getpid(), 11)", SUCCEED)
    assert outcome(CompileAhead(load_spec("cartpole"), CONFIG))
    assert caplog.text.count("may be damaged and is begun anew") == 1 and "status -11" in caplog.text
    assert [file.name for file in folder.iterdir()] == ["identity"]


def test_what_a_run_has_loaded_the_next_of_its_kind_loads_at_once(
    folder: Path, compilers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = []
    monkeypatch.setattr(
        compile_ahead.atexit, "register", lambda function, *arguments: leave.append((function, arguments))
    )
    spec = load_spec("cartpole")
    compilers(*[SUCCEED] * 3)
    assert outcome(CompileAhead(spec, CONFIG)) and not list(folder.iterdir())
    ((function, arguments),) = leave
    function(*arguments)  # it ends well
    other_seed = load_config("nano", ["device=cpu", "compile=true", "seed=7"])
    ahead = CompileAhead(spec, other_seed)  # starts no process
    assert not ahead() and not list(folder.iterdir())  # were it to end now, it would not have ended well
    monkeypatch.setattr(compile_ahead, "_HEAD_START", -1.0)  # it has passed
    assert ahead()
    for function, arguments in leave:
        function(*arguments)
    assert CompileAhead(spec, load_config("nano", ["device=cpu", "compile=true", "batch_size=3"])).state == "compiling"
    assert CompileAhead(load_spec("quadruped"), CONFIG).state == "compiling"
    assert CompileAhead(spec, CONFIG).state == "known"
    compilers(SUCCEED)
    assert CompileAhead(spec, CONFIG).state == "compiling"  # the run before has just taken what there was
    folder.rmdir()
    leave[-1][0](*leave[-1][1])  # a cache that is gone


def test_a_run_leaves_no_mark_in_a_cache_that_another_has_begun_anew(
    folder: Path, compilers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = []
    monkeypatch.setattr(
        compile_ahead.atexit, "register", lambda function, *arguments: leave.append((function, arguments))
    )
    spec = load_spec("cartpole")
    compilers(SUCCEED, "import os; os.kill(os.getpid(), 9)", *[SUCCEED] * 2)
    assert outcome(CompileAhead(spec, CONFIG))
    other = load_config("nano", ["device=cpu", "compile=true", "batch_size=3"])
    assert outcome(CompileAhead(spec, other))  # at its second try, in a cache that it has emptied
    for function, arguments in leave:
        function(*arguments)
    assert CompileAhead(spec, CONFIG).state == "compiling"  # its code is no longer there
    assert CompileAhead(spec, other).state == "known"


def test_a_compiler_that_always_fails_costs_one_warning(folder: Path, compilers: Any) -> None:
    compilers(*["raise SystemExit('no C++ compiler')"] * 2)
    ahead = CompileAhead(load_spec("cartpole"), CONFIG)
    with pytest.warns(UserWarning, match="torch.compile failed.*status 1: no C\\+\\+ compiler") as caught:
        assert not outcome(ahead)
    assert len(caught) == 1 and not ahead()


def test_a_cache_that_the_user_named_is_not_deleted(
    folder: Path, tmp_path: Path, compilers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    code_cache.code_cache.cache_clear()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").touch()
    compilers("raise SystemExit(1)")
    with pytest.warns(UserWarning, match="torch.compile failed"):
        assert not outcome(CompileAhead(load_spec("cartpole"), CONFIG))
    assert (tmp_path / "mine" / "kept").exists()


def test_a_folder_that_cannot_be_written_is_said_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "file")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # as if unset, and put back at the end
    code_cache.code_cache.cache_clear()
    try:
        other = code_cache.code_cache()
        assert other.is_dir() and not code_cache.is_own(other)
        assert code_cache.code_cache() == other and caplog.text.count("cannot be kept") == 1
    finally:
        code_cache.code_cache.cache_clear()


def test_a_run_that_compiles_begins_with_its_functions_as_they_are(
    folder: Path, compilers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilers("import sys, time; time.sleep(600)")
    monkeypatch.setattr(torch, "compile", lambda function, **how: pytest.fail)
    spec = load_spec("cartpole")
    agent = follow.build_agent(spec, CONFIG, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bool(agent.update(example_batch(agent, spec, CONFIG)).applied)


def test_what_is_compiled_is_not_asked_for_before_the_first_update(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(follow, "CompileAhead", lambda spec, config: lambda: asked.append(True))
    spec = load_spec("cartpole")
    agent = follow.build_agent(spec, CONFIG, None)
    batch = example_batch(agent, spec, CONFIG)

    def rows_arrive() -> None:
        observation, action = ({k: x[:1, :FEW] for k, x in of.items()} for of in (batch.observation, batch.action))
        agent.observe(observation, action, batch.is_first[:1, :FEW], None)

    rows_arrive()
    agent.update(batch)
    assert not asked
    rows_arrive()
    assert asked


def test_the_other_process_makes_an_update_of_this_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the compiler switched off, which takes minutes; what is left is all but that."""
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    assert outcome(CompileAhead(load_spec("cartpole"), CONFIG))


def test_of_world_models_each_stage_has_its_turn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[tuple[str, bool]] = set()

    def compiled(self: CompiledFunctions, name: str, function: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: called.add((name, torch.is_grad_enabled())) or function(*arguments)

    monkeypatch.setattr(CompiledFunctions, "__call__", compiled)
    small = ["device=cpu", "compile=true", "batch_size=2", "batch_length=5", "model.deter=16", "model.units=8"]
    order = {"spec": load_spec("cartpole"), "config": load_config("world_models:cpu", small).to_dict(), "threads": 1}
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(msgspec.json.encode(order))))
    with warnings.catch_warnings():
        assert compile_ahead.main() == 0
    assert called == {("filter few", True), ("filter few", False), ("observe few", False)}
