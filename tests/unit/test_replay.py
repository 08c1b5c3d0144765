"""Replay: windows, eviction, online queue, latents, state."""

from __future__ import annotations

import numpy as np
import pytest

from robot_dreamer.learner.replay import Replay
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import load_spec
from robot_dreamer.world_model.latent import Classes

SPEC = load_spec("cartpole")
D, S, K, LENGTH = 3, 2, 4, 5


def make_row(stream: str, sequence: int, is_first: bool = False, is_last: bool = False) -> StepRecord:
    """A row whose cart position is its sequence number."""
    action = {"force": np.full(1, sequence, np.float32)}
    observation = {o.name: np.full(o.shape, sequence, np.float32) for o in SPEC.observations}
    return StepRecord(
        stream, "boot", sequence, 0, observation, action, action, float(sequence), is_first, is_last, False, 0, 0, 0
    )


def make_replay(capacity: int = 50, **options: bool) -> Replay:
    return Replay(SPEC, capacity, LENGTH, D, Classes(S, K), seed=1, **options)


def add(replay: Replay, stream: str, sequence: int, **flags: bool) -> None:
    latent = np.full(D, sequence, np.float32), np.full(S, sequence % K, np.uint8)
    replay.add(stream, make_row(stream, sequence, **flags), *latent)


def test_windows_are_consecutive_within_their_stream_though_streams_interleave() -> None:
    replay = make_replay(online_queue=False)
    for t in range(20):
        add(replay, "a", t)
        add(replay, "b", 1000 + t)
    assert replay.windows == 2 * (20 - LENGTH + 1)
    batch, _ = replay.sample(200)
    rewards = batch.reward.numpy()
    assert (np.diff(rewards, axis=1) == 1).all()
    assert {r < 500 for r in rewards[:, 0]} == {True, False}
    assert (batch.deter[:, 0].numpy() == rewards[:, 0]).all()
    assert (batch.stoch.argmax(-1)[:, 0].numpy() == rewards[:, 0] % K).all()


def test_every_window_is_drawn_equally_often() -> None:
    replay = make_replay(online_queue=False)
    for t in range(LENGTH + 9):
        add(replay, "a", t)
    batch, _ = replay.sample(10_000)
    counts = np.bincount(batch.reward[:, 0].numpy().astype(int), minlength=10)
    assert len(counts) == 10
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 33.7  # 9 degrees of freedom, p = 1e-4


def test_eviction_keeps_only_living_windows_also_of_a_stream_that_fell_silent() -> None:
    replay = make_replay(capacity=20, online_queue=False)
    for t in range(10):
        add(replay, "old", t)
    for t in range(35):
        add(replay, "new", 1000 + t)
    assert len(replay) == 20
    assert replay.windows == 20 - LENGTH + 1
    add(replay, "old", 10)  # its tail was overwritten: it must not be linked to foreign rows
    batch, _ = replay.sample(500)
    assert (np.diff(batch.reward.numpy(), axis=1) == 1).all()
    assert batch.reward.min() >= 1015


def test_fresh_windows_come_first_and_once() -> None:
    replay = make_replay()
    for t in range(2 * LENGTH):
        add(replay, "a", t)
    batch, _ = replay.sample(2)
    assert batch.reward[:, 0].tolist() == [0.0, float(LENGTH)]
    state = replay.state()
    assert state["fresh"] == []


def test_cut_episode_gets_a_last_flag_before_the_next_first_row() -> None:
    replay = make_replay()
    for t in range(LENGTH):
        add(replay, "a", t, is_first=t in (0, 3))
    batch, _ = replay.sample(1)
    assert batch.is_last[0].tolist() == [False, False, True, False, False]


def test_latents_are_written_back_but_not_into_evicted_rows() -> None:
    replay = make_replay(capacity=LENGTH + 3)
    for t in range(LENGTH + 3):
        add(replay, "a", t)
    batch, window = replay.sample(4)
    fresh = batch.reward[:, 1:, None].repeat(1, 1, D) + 0.5
    stoch = batch.stoch.argmax(-1).byte()[:, None].repeat(1, LENGTH - 1, 1)
    for t in range(LENGTH + 3, LENGTH + 10):
        add(replay, "a", t)  # overwrites all rows but the last
    replay.write_latents(window, fresh, stoch)
    seen, _ = replay.sample(200)
    start = seen.reward[:, 0].numpy()
    written = np.isin(start, batch.reward[:, 1:].numpy())
    assert written.any() and (~written).any()
    assert (seen.deter[:, 0].numpy() == start + 0.5 * written).all()


def test_too_few_rows_says_how_many_are_missing() -> None:
    replay = make_replay()
    add(replay, "a", 0)
    add(replay, "a", 1)
    with pytest.raises(ValueError, match="3 rows are missing"):
        replay.sample(1)


def test_state_restores_the_same_samples() -> None:
    def build() -> Replay:
        replay = make_replay(capacity=20)
        for t in range(30):
            add(replay, "a", t)
        return replay

    ours = build()
    ours.sample(3)
    batch, window = ours.sample(3)
    ours.write_latents(
        window,
        batch.reward[:, 1:, None].repeat(1, 1, D) * 2,
        batch.stoch.argmax(-1).byte()[:, None].repeat(1, LENGTH - 1, 1),
    )
    theirs = build()
    theirs.load_state(ours.state())
    for name, column in theirs.latents.items():
        column[:] = ours.latents[name]
    for _ in range(3):
        a, b = ours.sample(4)[0], theirs.sample(4)[0]
        assert (a.reward == b.reward).all() and (a.deter == b.deter).all() and (a.stoch == b.stoch).all()
    add(theirs, "a", 30)
    with pytest.raises(ValueError, match="30 rows, the store gave back 31"):
        theirs.load_state(ours.state())


def test_the_newest_windows_do_not_overlap_and_leave_the_sampler_alone() -> None:
    replay = make_replay(online_queue=False)
    assert replay.newest(3, 7) is None
    for t in range(18):
        add(replay, "a", t)
        add(replay, "b", 100 + t)
    before = replay.state()
    batch = replay.newest(4, 7)  # longer than those that are trained on
    assert batch is not None
    assert batch.reward.numpy().tolist() == [[*range(first, first + 7)] for first in (111, 11, 104, 4)]
    assert replay.state() == before
    assert replay.newest(1, 19) is None


def test_the_newest_episode_is_the_last_that_has_ended_within_the_limit() -> None:
    replay = make_replay()
    for t in range(30):
        add(replay, "a", t, is_first=t in (2, 8, 25), is_last=t in (7, 24))
    episode = replay.newest_episode(limit=40)
    assert episode is not None
    assert episode.reward.numpy().tolist() == [[*range(8, 25)]]
    shorter = replay.newest_episode(limit=10)
    assert shorter is not None
    assert shorter.reward.numpy().tolist() == [[*range(2, 8)]]
    assert replay.newest_episode(limit=3) is None


def test_of_a_fleet_too_the_newest_windows_and_episode_are_found() -> None:
    replay, robots = make_replay(capacity=2000), [f"robot{i:02d}" for i in range(40)]
    for t in range(2 * LENGTH):
        for robot in robots:  # all of them have begun their second episode, and none has ended it
            add(replay, robot, t, is_first=t % 6 == 0, is_last=t == 5)
    batch = replay.newest(3, 2 * LENGTH)
    assert batch is not None
    assert batch.reward.numpy().tolist() == [[*range(2 * LENGTH)]] * 3
    episode = replay.newest_episode(limit=40)
    assert episode is not None
    assert episode.reward.numpy().tolist() == [[*range(6)]]


def test_windows_that_were_shorter_before_a_resume_are_not_drawn_as_whole_ones() -> None:
    short = Replay(SPEC, 50, 3, D, Classes(S, K), seed=1)
    ours = make_replay()
    for t in range(6):
        add(short, "a", t)
        add(ours, "a", t)
    assert len(short.state()["fresh"]) == 2  # rows 0 to 2 and 3 to 5: behind the latter nothing has come yet
    ours.load_state(short.state())
    for _ in range(2):
        _, window = ours.sample(3)
        assert (window.serials >= 0).all()
