"""Compiling beside the run: a process of its own fills the cache of compiled code, and no robot waits for a compiler.

Compiling takes minutes, and a compiler or a damaged cache can end the process that uses it. So a run begins with its
functions as they are, and changes over once another process has made one whole update with compiled ones, and filtered
rows as they arrive. (World Models does something else in each stage: one update of each.) A run that has loaded such
code and come to its end leaves a mark in the cache: the next one of the same kind makes updates as they are for some
seconds, so that robots get their first bundle, and then loads it, without another process.

  python -m robot_dreamer.learner.compile_ahead     spec, configuration and threads as JSON on standard input
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

import robot_dreamer
from robot_dreamer import servant
from robot_dreamer.config import Config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch, batch_to
from robot_dreamer.learner.carry import FEW
from robot_dreamer.learner.code_cache import begin_anew, code_cache, identity, is_own
from robot_dreamer.learner.compiled import FAILED
from robot_dreamer.learner.replay import Replay
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.latent import stored_zeros

_log = logging.getLogger(__name__)
_COMPILED = ("behavior", "learner", "world_model")  # rooms whose code is
_ELSEWHERE = ("name", "run", "train_ratio", "replay_capacity", "prefill")  # settings that no compiled code reads
_HEAD_START = 10.0  # seconds


class _Order(msgspec.Struct, frozen=True):
    spec: RobotSpec
    config: dict[str, Any]
    threads: int


class CompileAhead:
    """Starts the process; called, says whether compiled code is ready to be loaded.

    A process that fails with the cache of an earlier run is started once more with an empty one. If that fails too,
    one warning says why, and the run stays as it is.

    Attributes:
      state: "known" while what an earlier run has left waits to be loaded, "compiling" while the process works, then
        "ready" or "failed".
    """

    def __init__(self, spec: RobotSpec, config: Config) -> None:
        order = {"spec": spec, "config": config.to_dict(), "threads": torch.get_num_threads()}
        self._order = msgspec.json.encode(order)
        self._began, self._asked, self._again = time.monotonic(), 0.0, False
        self._mark = code_cache() / f"loaded-{_key(spec, config)}"
        self._cache = identity(code_cache())
        self.state: Literal["known", "compiling", "ready", "failed"] = "compiling"
        with suppress(FileNotFoundError):  # there is none, or another run that begins now has taken it
            self._mark.unlink()  # back at the end of this process: code that ends it before is not loaded again
            self.state = "known"
        if self.state == "known":
            atexit.register(_leave, self._mark, self._cache)
        else:
            self._begin()

    def __call__(self) -> bool:
        """Never waits. False while it compiles, and for good where it failed."""
        if self.state == "known":
            self._asked = self._asked or time.monotonic()
            if time.monotonic() - self._asked > _HEAD_START:
                self.state = "ready"
                _log.info("an earlier run has left compiled code: the next update loads it")
        elif self.state == "compiling" and (status := self._process.poll()) is not None:
            self._end(status)
        return self.state == "ready"

    def _begin(self) -> None:
        code_cache()  # both processes use the same
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (read when the process has ended)
        self._process = subprocess.Popen(
            servant.command("robot_dreamer.learner.compile_ahead"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env=servant.environment() | {"TORCHINDUCTOR_COMPILE_THREADS": "1"},
            start_new_session=True,  # a Ctrl-C in the terminal is for the learner
        )
        weakref.finalize(self, self._process.kill)
        assert self._process.stdin
        with suppress(BrokenPipeError), self._process.stdin as order:  # one that has ended: `__call__` will say why
            order.write(self._order)

    def _end(self, status: int) -> None:
        seconds = time.monotonic() - self._began
        if status == 0:
            self.state = "ready"
            atexit.register(_leave, self._mark, self._cache)
            self._said.close()
            _log.info("compiled within %.0f s, beside the run: the next update loads it", seconds)
            return
        with self._said as said:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
        reason = f"status {status}: {lines[-1] if lines else 'it said nothing'}"
        folder = code_cache()
        if is_own(folder) and not self._again:
            self._again = True
            _log.warning("compiling failed (%s); the cache %s may be damaged and is begun anew", reason, folder)
            begin_anew(folder)
            self._cache = identity(folder)
            self._begin()
            return
        self.state = "failed"
        warnings.warn(f"{FAILED} (compile=false avoids the try): {reason}", stacklevel=2)


def _leave(mark: Path, cache: str) -> None:
    if mark.parent.is_dir() and identity(mark.parent) == cache:  # else somebody has begun the cache anew
        mark.touch()


def _key(spec: RobotSpec, config: Config) -> str:
    """Of what is compiled: what is seen and done, the settings that count, and this package as it is."""
    settings = {name: value for name, value in config.to_dict().items() if name not in _ELSEWHERE}
    settings["run"] = (config.run.precision, config.run.device)
    spaces = f"{spec.observation_space()} {spec.action_space()} {torch.get_num_threads()}"
    package = Path(robot_dreamer.__file__).parent
    sources = sorted(file for room in _COMPILED for file in (package / room).rglob("*.py"))
    text = [spaces.encode(), msgspec.json.encode(settings), *(file.read_bytes() for file in sources)]
    return hashlib.sha256(b"".join(text)).hexdigest()[:16]


def example_batch(agent: Agent, spec: RobotSpec, config: Config) -> Batch:
    """A batch of this run's shapes, of zeros."""
    rssm, length = agent.parts.world.rssm, config.batch_length + 1
    replay = Replay(spec, length, length, rssm.deter, rssm.latent)
    observation = {o.name: np.zeros(o.shape, o.dtype) for o in spec.observations}
    action = {a.name: np.zeros(a.shape, a.dtype) for a in spec.actions}
    for i in range(length):
        row = StepRecord("example", "0", i, 0, observation, action, action, 0.0, i == 0, False, False, i, i, 0)
        replay.add("example", row, np.zeros(rssm.deter, np.float32), stored_zeros(rssm.latent))
    return batch_to(replay.sample(config.batch_size)[0], agent.device)


def _in_short(config: Config) -> tuple[Config, int]:
    """Settings with which so many updates call all that is compiled; World Models has a turn for each stage."""
    if config.objective != "world_models":
        return config, 1
    stages = replace(config.stages, vision=1, memory=1, controller=1)
    evolution = replace(config.evolution, population=6, dreams=1, dream_length=1)  # the dreams are not compiled
    return replace(config, stages=stages, evolution=evolution), 3


def main() -> int:
    """Make an update and filter new rows, compiled; see the module. Exit status 0; any other where that failed."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    torch.set_num_threads(order.threads)  # compiled code counts them
    warnings.filterwarnings("error", FAILED)
    config, updates = _in_short(Config.from_dict(order.config))
    agent = Agent(order.spec.observation_space(), order.spec.action_space(), config)
    batch = example_batch(agent, order.spec, config)
    for _ in range(updates):
        agent.update(batch)
    agent.observe(_stream(batch.observation), _stream(batch.action), batch.is_first[:1, :FEW], None)
    return 0


def _stream(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first rows of the first window, of each (B, T, *shape)."""
    return {name: value[:1, :FEW] for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
