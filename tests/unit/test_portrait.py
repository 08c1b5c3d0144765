"""What the report shows of a model: of every generation, without a trace in the training, and right."""

import numpy as np
import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.hopes import EPISODE_ROWS, value_along
from robot_dreamer.learner.portrait import CONTEXT, portrait, summary
from robot_dreamer.spec import known_robots, load_spec
from tests.agents import IMAGE, MIXED, MIXED_ACTIONS, SIX_ACTIONS, WALKER, nano, random_batch, spaces

PICTURE_AND_NUMBERS = spaces.Dict({**IMAGE.spaces, **WALKER.spaces})
SEARCH = ["planner.candidates=20", "planner.elites=5", "planner.iterations=2"]
WITH_VALUE = {"nano", "dreamer_v1:cpu", "dreamer_v2:cpu", "daydreamer:cpu"}
GENERATIONS = {
    **{preset: [] for preset in WITH_VALUE},
    "planet": [*SEARCH, "model.depth=2", "model.deter=16", "model.units=16"],
    "world_models:cpu": ["model.deter=32", "model.depth=2"],
}
STEPS = 24  # without the row of context


@pytest.fixture(scope="module", params=sorted(GENERATIONS))
def drawn(request):
    """(preset, agent, batch, portrait, training state before)"""
    config = load_config(request.param, ["device=cpu", *GENERATIONS[request.param]])
    agent = Agent(PICTURE_AND_NUMBERS, SIX_ACTIONS, config)
    batch = random_batch(agent, 4, STEPS + 1)
    batch.is_first[:] = False
    before = agent.training_state()
    return request.param, agent, batch, portrait(agent, batch), before


def test_shows_what_there_is(drawn):
    preset, _, batch, arrays, _ = drawn
    horizon = STEPS - CONTEXT
    assert int(arrays["horizon"]) == horizon
    for name in PICTURE_AND_NUMBERS:
        shape = PICTURE_AND_NUMBERS[name].shape
        assert arrays[f"seen/{name}"].shape == arrays[f"truth/{name}"].shape == (3, STEPS, *shape)
        assert arrays[f"dreamt/{name}"].shape == (1 if name == "image" else 3, 3, horizon, *shape)
        assert np.isfinite(arrays[f"rmse/dreamt/{name}"]).all()
    assert arrays["dreamt/image"].dtype == arrays["seen/image"].dtype == np.uint8
    assert arrays["surprise"].shape == arrays["reward/seen"].shape == (4, STEPS)
    assert arrays["imagined/predicted"].shape == arrays["imagined/obtained"].shape
    assert ("live/seen" in arrays) == (preset in ("nano", "daydreamer:cpu", "world_models:cpu"))
    low, middle, high = arrays["dreamt/velocity"]
    assert (low <= middle).all() and (middle <= high).all() and (low < high).any()
    assert {f"portrait/error/dreamt/{name}" for name in PICTURE_AND_NUMBERS} <= summary(arrays).keys()


def test_leaves_no_trace_in_the_training(drawn):
    _, agent, batch, arrays, before = drawn
    after = agent.training_state()
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    again = portrait(agent, batch)
    assert all(np.array_equal(arrays[name], again[name], equal_nan=True) for name in arrays | again)


def test_a_dream_knows_the_actions_but_not_what_was_seen(drawn):
    _, agent, batch, arrays, _ = drawn
    later = slice(1 + CONTEXT, None)
    other = batch._replace(observation={k: v.clone() for k, v in batch.observation.items()})
    other.observation["velocity"][:, later] += 1
    other.observation["image"][:, later] = 255 - other.observation["image"][:, later]
    blind = portrait(agent, other)
    for name in ("velocity", "image"):
        assert np.array_equal(blind[f"dreamt/{name}"], arrays[f"dreamt/{name}"])
        assert not np.array_equal(blind[f"truth/{name}"], arrays[f"truth/{name}"])
    moved = batch._replace(action={k: v.clone() for k, v in batch.action.items()})
    moved.action["action"][:, later] *= -1
    assert not np.array_equal(portrait(agent, moved)["dreamt/velocity"], arrays["dreamt/velocity"])


def test_no_more_rows_are_decoded_at_a_time_than_were_seen(drawn, monkeypatch):
    """The pictures of all dreams at once took more memory than an update."""
    _, agent, batch, _, _ = drawn
    model, rows = agent.parts.modules["world_model"], []
    readout = model.readout
    monkeypatch.setattr(model, "readout", lambda state: rows.append(state.deter.shape[0]) or readout(state))
    portrait(agent, batch)
    assert rows and max(rows) == batch.reward[:, 1:].numel()


def test_value_along_an_episode(drawn):
    preset, agent, _, _, _ = drawn
    episode = random_batch(agent, 1, 12)
    for terminal in (False, True):
        episode.is_terminal[0, -1] = terminal
        found = value_along(agent, episode)
        assert found["episode/surprise"].shape == (12,)
        assert ("episode/value" in found) == (preset in WITH_VALUE)
        if preset not in WITH_VALUE:
            continue
        reward, discount = found["episode/reward"], 1 - 1 / agent.config.behavior.return_horizon
        own = agent.config.objective == "dreamer" and agent.config.behavior.returns == "arrival"
        used = np.tanh(reward) if agent.config.model.tanh_rewards else reward
        expected = (used[-1] if own else 0.0) if terminal else found["episode/value"][-1]
        for t in range(10, -1, -1):
            expected = (used[t] if own else used[t + 1]) + discount * expected
        assert found["episode/obtained"][0] == pytest.approx(expected, rel=1e-4)


def test_errors_are_those_of_the_rows_before_the_episode_ended():
    agent = nano()
    batch = random_batch(agent, 3, STEPS + 1)  # all of which are kept whole
    batch.is_first[:] = False
    batch.is_first[:, 1 + CONTEXT + 3] = True  # the dream may be judged at three rows
    arrays = portrait(agent, batch)
    error = arrays["rmse/still/velocity"]
    truth = batch.observation["velocity"].numpy()[:, 1:]
    expected = np.sqrt(((truth[:, CONTEXT + 2] - truth[:, CONTEXT - 1]) ** 2).mean(0))
    assert np.allclose(error[2], expected, atol=1e-5)
    assert np.isfinite(arrays["rmse/dreamt/velocity"][:3]).all()
    assert np.isnan(error[3:]).all() and np.isnan(arrays["rmse/dreamt/velocity"][3:]).all()
    assert arrays["imagined/predicted"].size == 0  # no 15 rows of one episode
    expected = np.sqrt(((arrays["seen/velocity"] - arrays["truth/velocity"]) ** 2).mean((0, 1)))
    assert np.allclose(arrays["rmse/seen/velocity"], expected, atol=1e-5)


def test_missing_values_and_classes_do_not_count_as_errors():
    agent = nano(observations=MIXED, actions=MIXED_ACTIONS)
    batch = random_batch(agent, 4, STEPS + 1)
    batch.is_first[:] = False
    batch.observation["joints"][0, 8] = -torch.inf
    arrays = portrait(agent, batch)
    assert np.isfinite(arrays["rmse/dreamt/joints"]).all() and np.isfinite(arrays["spread/joints"]).all()
    assert (arrays["rmse/dreamt/gear"] <= 1).all() and arrays["rmse/dreamt/gear"].max() > 0
    assert np.isfinite(list(summary(arrays).values())).all()


def test_windows_that_are_too_short_are_refused():
    agent = nano()
    with pytest.raises(ValueError, match=f"at least {CONTEXT + 2} rows, found {CONTEXT + 1}"):
        portrait(agent, random_batch(agent, 2, CONTEXT + 1))


def test_filtering_begins_where_the_replay_says():
    for context, moves in (("stored", True), ("zero", False)):
        agent = nano(f"replay_context={context}")
        batch = random_batch(agent, 3, STEPS + 1)
        batch.is_first[:] = False
        other = batch._replace(deter=torch.full_like(batch.deter, 0.5))
        found, moved = portrait(agent, batch)["seen/velocity"], portrait(agent, other)["seen/velocity"]
        assert np.array_equal(found, moved) != moves


def test_the_windows_that_are_shown_are_those_whose_episode_goes_on():
    agent = nano()
    batch = random_batch(agent, 5, STEPS + 1)
    batch.is_first[:] = False
    batch.is_first[0, 12], batch.is_first[3, 20] = True, True
    arrays = portrait(agent, batch)
    assert np.array_equal(arrays["truth/velocity"], batch.observation["velocity"].numpy()[[1, 2, 4], 1:])
    assert arrays["lasted"].tolist() == [STEPS - CONTEXT] * 3
    batch.is_first[:, 1 + CONTEXT + 3] = True
    assert portrait(agent, batch)["lasted"].tolist() == [3] * 3


def test_what_acts_imagines_from_what_it_sees_itself():
    """World Models acts by V and M as they were when C was handed over, and theirs are the states to dream from."""
    config = load_config("world_models:cpu", ["device=cpu", *GENERATIONS["world_models:cpu"], "replay_context=zero"])
    agent = Agent(WALKER, SIX_ACTIONS, config)
    batch = random_batch(agent, 3, STEPS + 1)
    batch.is_first[:] = False
    before = portrait(agent, batch)
    with torch.no_grad():
        for parameter in agent.parts.modules["world_model"].parameters():
            parameter.mul_(2)
    after = portrait(agent, batch)
    assert not np.array_equal(after["seen/velocity"], before["seen/velocity"])
    assert before["imagined/predicted"].size and np.array_equal(
        after["imagined/predicted"], before["imagined/predicted"]
    )


def test_an_episode_of_each_robot_and_of_the_control_suite_is_short_enough_to_be_shown():
    actions = [1000, *(load_spec(robot).episode.max_steps for robot in known_robots())]
    assert max(actions) + 1 <= EPISODE_ROWS  # an episode has a row more than actions
