"""The learner's loop body: experience in, updates at the train ratio, checkpoints and bundles out.

The trainer owns no clock, thread or socket: `run.py` drives it, with experience from the link or from an environment in
the same process (`local.py`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import batch_to
from robot_dreamer.learner.carry import Carry
from robot_dreamer.learner.checkpoint import (
    TornCheckpoint,
    below,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from robot_dreamer.learner.checkpoint_meta import FOLDER, CheckpointMeta, Progress, metas
from robot_dreamer.learner.discards import Discards
from robot_dreamer.learner.ema import EMA, PolicyEMA
from robot_dreamer.learner.follow import build_agent
from robot_dreamer.learner.last_row import name_of, require_same_store
from robot_dreamer.learner.latents import LATENTS, DamagedLatents, LatentLog
from robot_dreamer.learner.memory import affordable_rows, fitting, update_advice
from robot_dreamer.learner.progress import EpisodeLog
from robot_dreamer.learner.recent import RECENT_ROWS, recent_tensors
from robot_dreamer.learner.replay import Replay, row_bytes
from robot_dreamer.learner.streams import Chunk, Streams
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.unforetold import UnforetoldEnds
from robot_dreamer.learner.update_result import UpdateResult
from robot_dreamer.learner.write_back import WriteBack
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import DEMONSTRATION, StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.world_model.latent import stored_zeros

_log = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why."""


class Trainer:
    """Agent, replay and experience store of one run.

    Train ratio: replayed rows per row of experience. An update replays batch_size x batch_length rows, so one row of
    experience pays for train_ratio / (batch_size x batch_length) updates. Training never outruns that: when no
    experience comes, it stops.
    """

    def __init__(
        self,
        spec: RobotSpec,
        config: Config,
        store: ExperienceStore,
        logdir: Path,
        team: Team | None = None,
        offline: bool = False,
    ) -> None:
        """See the attributes, which are the arguments.

        Args:
          team: the processes that train together; this one leads them (see `follow`).
          offline: no experience will come: an update is always due, whatever the train ratio.
        """
        self.spec, self.config, self.store, self.logdir, self.offline = spec, config, store, logdir, offline
        self.agent = build_agent(spec, config, team)
        self.ema: PolicyEMA | None = None
        if config.run.bundle_ema:
            with fitting("for a copy of the policy: bundle_ema=0 needs none"):
                self.ema = PolicyEMA(self.agent.policy_step(), config.run.bundle_ema)
        self._advice = update_advice(config, self.agent.trained_parameters, self.agent.device)
        rssm = self.agent.parts.world.rssm
        self._latent = rssm.latent
        self._team, self._part = team, team.empty_part(spec, config, rssm) if team else None
        capacity = affordable_rows(config.replay_capacity, row_bytes(spec, rssm.deter, rssm.latent))
        with fitting(f"for a replay of {capacity} rows: lower replay_capacity"):
            self.replay = Replay(
                spec,
                capacity,
                config.batch_length + 1,
                rssm.deter,
                rssm.latent,
                seed=config.run.seed,
                online_queue=config.online_queue,
                share=config.demonstrations.share,
            )
        self._latents = LatentLog(logdir / FOLDER / LATENTS, self.replay)
        self.episodes = EpisodeLog(logdir / "episodes.jsonl")
        self.updates = 0
        self.skipped = 0  # updates whose loss or gradient was not finite
        self._skipped_in_a_row = 0
        self.env_steps = 0  # rows read from the store
        self.demonstrations = 0  # of these, rows that no robot of this run lived
        self.training_seconds = 0.0  # over all starts of this run
        self.last: UpdateResult | None = None
        self._open: WriteBack | None = None  # the update whose result is still on its way
        self._late = self.agent.device.type == "cuda"  # finish an update while the next one is computed
        self._cursor = 0
        self._newest: StepRecord | None = None  # that was read
        self.given = False  # the parameters come from another run
        self._credit = 0.0  # updates that the experience so far has paid for and that were not made
        self._recent: deque[StepRecord] = deque(maxlen=RECENT_ROWS)
        self._streams = Streams()
        self._discards = Discards(store, self.replay, self._streams)
        self._ends = UnforetoldEnds(config)

    def policy_step(self) -> PolicyStep:
        """The acting step that bundles are made of."""
        return self.ema.policy if self.ema else self.agent.policy_step()

    @property
    def due(self) -> bool:
        """Whether the train ratio and the replay allow an update now."""
        return (self.offline or self._credit >= 1.0) and self.replay.windows > 0

    @property
    def rows_missing(self) -> int:
        """Rows until the first update can be made; 0 once the replay holds a window and what `prefill` asks for."""
        if self.replay.windows:
            return max(0, self.config.prefill - self.env_steps)
        streams = self._streams.waiting()
        longest = max((self.replay.rows_of(stream) + waiting for stream, waiting in streams.items()), default=0)
        # A window may wait for its last chunk to fill.
        return max(1, self.replay.length - longest, self.config.prefill - self.env_steps)

    @property
    def rows_replayed(self) -> int:
        """Rows trained, each as often as it was drawn."""
        return self.updates * self.config.batch_size * self.config.batch_length

    def ingest(self, limit: int = 1024) -> int:
        """Read new experience from the store into the replay; returns the rows read."""
        self._discards.hear(self._cursor)
        entries = self.store.read(self._cursor, limit)
        for cursor, row in entries:
            for stream, rows in self._take(cursor, row):
                self._filter_and_add(stream, rows)
        return len(entries)

    def ingest_rest(self) -> None:
        """After `ingest`, where no more experience will come: rows that wait for more of their chunk, too."""
        for stream, rows in self._discards.rest(self._cursor):
            self._filter_and_add(stream, rows)

    def _take(self, cursor: int, row: StepRecord) -> list[Chunk]:
        """Count a row of the store; returns the chunks that are complete with it."""
        self._cursor, self._newest = cursor, row
        self.env_steps += 1
        self.demonstrations += row.robot.startswith(DEMONSTRATION)
        if row in self._discards:
            return []
        self._count(row)
        return self._streams.add(row)

    def _count(self, row: StepRecord) -> None:
        self._recent.append(row)
        self._ends.see(row)
        if not row.robot.startswith(DEMONSTRATION):
            self.episodes.add(self.env_steps - self.demonstrations, row)
        if self.replay.windows and self.env_steps > self.config.prefill and not self.offline:
            self._credit += self.config.train_ratio / (self.config.batch_size * self.config.batch_length)

    def _filter_and_add(self, stream: str, rows: list[StepRecord]) -> None:
        """Latents of new experience are computed here: robots send none."""
        device = self.agent.device
        observation = {
            o.name: _sequence([row.observation[o.name] for row in rows], device) for o in self.spec.observations
        }
        action = {a.name: _sequence([row.action[a.name] for row in rows], device) for a in self.spec.actions}
        is_first = _sequence([np.asarray(row.is_first) for row in rows], device)
        with fitting(f"while the latents of {len(rows)} new rows were computed: choose a smaller model size"):
            latents = self.agent.observe(observation, action, is_first, self._carry(stream))
        deter = latents.deter[0].float().cpu().numpy()
        stoch = self._latent.pack(latents.stoch[0]).cpu().numpy()
        for t, row in enumerate(rows):
            self.replay.add(stream, row, deter[t], stoch[t])

    def _carry(self, stream: str) -> Carry | None:
        last = self.replay.last(stream)
        return None if last is None else Carry.stored(*last, self._latent, self.agent.device)

    def update(self) -> None:
        """Start one gradient update, and finish the one before; a CPU finishes it at once.

        Raises:
          TrainingError: too many updates were skipped for a loss that is not finite; names the term.
          OutOfMemory: the message says what to lower.
        """
        with fitting(self._advice):
            batch, window = self.replay.sample(self.config.batch_size)
            if self._team and self._part:
                self._team.order_update()
                result = self.agent.update(self._team.deal(batch, self._part))
                if result.latents is not None:
                    result = result._replace(latents=self._team.collect(result.latents))
            else:
                result = self.agent.update(batch_to(batch, self.agent.device))
            if self.ema:
                self.ema.add()
            self.last = result._replace(latents=None)  # its numbers are looked at for seconds
            open_result = WriteBack(window, result, self._latent)
        if not self.offline:
            self._credit -= 1.0
        self.finish_update()
        self._open = open_result
        if not self._late:
            self.finish_update()

    def finish_update(self) -> None:
        """Wait for the update that was started last: its latents go into the replay, and it counts.

        Raises:
          TrainingError: see `update`.
        """
        result, self._open = self._open, None
        if result is None:
            return
        with fitting(self._advice):
            applied = result.finish(self.replay)
        if applied:
            self._skipped_in_a_row = 0
            self.updates += 1
        else:
            self._skip(result.not_finite())

    def join_team(self) -> None:
        """Give the followers, if there are any, this process's parameters; after `resume`, before the first update."""
        self.agent.join_team()

    def idle(self) -> None:
        """Call it often while no update is due: the followers wait for a sign of life."""
        if self._team:
            self._team.order_idle()

    def dismiss_team(self) -> None:
        """Let the followers end."""
        if self._team:
            self._team.order_stop()

    def _skip(self, terms: list[str]) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        cause = f"not finite: {', '.join(terms)}" if terms else "the gradient or the new parameters are not finite"
        _log.warning("update skipped (%d so far): %s", self.skipped, cause)
        if self._skipped_in_a_row >= self.config.run.max_nonfinite:
            kept = f"a checkpoint is in {self.logdir}"
            try:
                self.save()
            except OSError as error:
                kept = f"no checkpoint could be written: {error}"
            raise TrainingError(f"{self._skipped_in_a_row} updates in a row were skipped: {cause}; {kept}")

    def save(self) -> Path:
        """Write a checkpoint from which `resume` goes on exactly."""
        self.finish_update()
        tensors = recent_tensors(self._recent) | {f"agent/{k}": v for k, v in self.agent.training_state().items()}
        if self.ema:
            tensors |= {f"{EMA}{k}": v for k, v in self.ema.state().items()}
        progress = Progress(
            training_step=self.updates,
            env_step=self.env_steps,
            lineage=self.store.id,
            skipped=self.skipped,
            cursor=self._cursor,
            last_row=name_of(self._newest),
            credit=self._credit,
            training_seconds=self.training_seconds,
            given=self.given,
            replay=self.replay.state(),
            discarded=self._discards.applied,
            latents=self._latents.write(),
        )
        folder = save_checkpoint(self.logdir / FOLDER, tensors, progress, spec=self.spec, config=self.config)
        kept = metas(self.logdir / FOLDER)
        self._latents.delete_unused([meta.latents for meta in kept if isinstance(meta, CheckpointMeta)])
        return folder

    def resume(self) -> bool:
        """Go on from the newest checkpoint in the log directory; False if there is none.

        Rows come back from the experience store in their old order, latents and sampler from the checkpoint.

        Raises:
          CheckpointError, SpecMismatch: the checkpoint is of another robot, model or store; both sides are shown.
        """
        if not has_checkpoint(self.logdir):
            return False
        tensors, meta = load_checkpoint(self.logdir, spec=self.spec, config=self.config, check=self._check_latents)
        if (began := meta.configuration().run.seed) != self.config.run.seed:
            text = "this run began with seed %d and goes on with its random streams; seed %d changes nothing but acting"
            _log.warning(text, began, self.config.run.seed)
        require_same_store(self.store, meta, self.logdir)
        self._discards.resume(meta.discarded)
        self._reload_rows(meta.cursor)
        self.replay.load_state(meta.replay)
        self._latents.load(meta.latents)
        self.agent.load_training_state(below(tensors, "agent/"))
        if self.ema and (ema := below(tensors, EMA)):
            self.ema.load(ema)
        elif self.ema:
            self.ema.restart()
        self.updates, self.skipped, self._credit = meta.training_step, meta.skipped, meta.credit
        self.training_seconds, self.given = meta.training_seconds, meta.given
        return True

    def _check_latents(self, meta: CheckpointMeta) -> None:
        try:
            self._latents.check(meta.latents)
        except DamagedLatents as error:
            raise TornCheckpoint(f"checkpoint after {meta.training_step} updates: {error}") from error

    def _reload_rows(self, until: int) -> None:
        """Add the rows up to a cursor of the store without computing their latents."""
        while self._cursor < until:
            for cursor, row in self.store.read(self._cursor, min(1024, until - self._cursor)):
                self._add_again(self._discards.repeat(self._cursor))
                self._add_again(self._take(cursor, row))
        self._add_again(self._discards.repeat(until))

    def _add_again(self, chunks: Iterable[Chunk]) -> None:
        """Add rows whose latents come back later."""
        for stream, rows in chunks:
            deter, stoch = np.zeros(self.agent.parts.world.rssm.deter, np.float32), stored_zeros(self._latent)
            for row in rows:
                self.replay.add(stream, row, deter, stoch)


def _sequence(values: list[NDArray[Any]], device: torch.device) -> torch.Tensor:
    """T arrays -> (1, T, ...)."""
    return torch.from_numpy(np.stack(values))[None].to(device)
