"""World Models as a generation: stages in turn, exact resume, what acts, dreams that diverge, refusals."""

import gymnasium
import numpy as np
import pytest
import torch

from robot_dreamer.behavior.evolution import Evolution
from robot_dreamer.config import StagesConfig, load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.objectives.world_models_parts import stage_at
from robot_dreamer.world_model.rssm import Latents
from tests.agents import SIX_ACTIONS, WALKER, box, random_batch

SMALL = (
    *("device=cpu", "stages.vision=2", "stages.memory=2", "stages.controller=3", "stages.vision_rows=8"),
    *("evolution.population=6", "evolution.dreams=3", "evolution.dream_length=4", "evolution.deploy_every=2"),
    *("model.units=16", "model.deter=16"),
)
MIXED = gymnasium.spaces.Dict(
    {
        "camera": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
        "joints": box(3),
        "gear": gymnasium.spaces.Discrete(4),
    }
)
MIXED_ACTIONS = gymnasium.spaces.Dict({"arm": gymnasium.spaces.Box(-1, 1, (2,)), "grip": gymnasium.spaces.Discrete(3)})


def agent(*overrides, observations=WALKER, actions=SIX_ACTIONS):
    return Agent(observations, actions, load_config("world_models:cpu", [*SMALL, *overrides]))


def parameters(found, prefix):
    return {name: p.detach().clone() for name, p in found.named_parameters() if name.startswith(prefix)}


def changed(before, found):
    """Which of the saved parameters are other ones now."""
    now = dict(found.named_parameters())
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


def test_stages_take_turns_and_begin_again():
    stages = StagesConfig(vision=2, memory=1, controller=2)
    found = [stage_at(i, stages) for i in range(6)]
    turns = [("vision", 0), ("vision", 1), ("memory", 0), ("controller", 0), ("controller", 1), ("vision", 0)]
    assert found == turns


def test_each_stage_changes_its_own_network_only():
    found = agent()
    parts = {
        "vision": ("world_model.encoder", "world_model.decoder"),
        "memory": ("world_model.rssm",),
        "controller": ("acting", "policy"),
    }
    for stage in ["vision"] * 2 + ["memory"] * 2 + ["controller"] * 3:
        before = parameters(found, "")
        result = found.update(random_batch(found, 4, 9))
        assert result.applied
        own = {name for name in before if name.startswith(parts[stage])}
        assert changed(before, found) <= own, stage
        assert stage == "controller" or changed(before, found) == own


def test_what_acts_changes_as_a_whole_when_a_controller_is_handed_over():
    found = agent()
    acting = parameters(found, ("acting", "policy"))
    for _ in range(5):  # V, V, M, M and the first generation
        found.update(random_batch(found, 4, 9))
    assert changed(acting, found) == set()
    found.update(random_batch(found, 4, 9))  # the second generation: deploy_every=2
    now = dict(found.named_parameters())
    for name, value in now.items():
        if name.startswith("acting."):
            assert torch.equal(value, now[name.replace("acting.", "world_model.", 1)]), name
    assert now["policy.kernel"].abs().max() > 0 and float(now["policy.spread"]) == pytest.approx(0.4)
    mean = found.state["evolution/search/mean"].float()
    kernel, bias = found.parts.modules["policy"].split(mean)
    assert torch.equal(now["policy.kernel"], kernel) and torch.equal(now["policy.bias"], bias)


@pytest.mark.parametrize("cut", [1, 3, 5, 6])
def test_a_run_that_was_cut_goes_on_exactly(cut):
    whole, part = agent(), agent()
    for i in range(9):
        if i == cut:
            state = part.training_state()
            part = agent("seed=7")
            part.load_training_state(state)
        whole.update(random_batch(whole, 4, 9, i))
        part.update(random_batch(part, 4, 9, i))
    ours, theirs = whole.training_state(), part.training_state()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == set()


def test_images_vectors_and_classes_together_and_both_kinds_of_action():
    found = agent("model.depth=2", observations=MIXED, actions=MIXED_ACTIONS)
    terms = set()
    for i in range(7):
        result = found.update(random_batch(found, 3, 6, i))
        assert result.applied
        terms |= result.losses.keys()
    assert {f"reconstruction/{name}" for name in ("camera", "gear", "joints")} < terms
    step = found.policy_step()
    noise = {port.name: torch.randn(2, *port.shape) for port in step.layout.noise}
    state = {name: torch.zeros(2, *shape) for name, shape in step.layout.states.items()}
    rows = random_batch(found, 2, 1)
    observation = {name: value[:, 0] for name, value in rows.observation.items()}
    previous = {name: value[:, 0] for name, value in rows.action.items()}
    acted = step(observation, previous, state, torch.zeros(2, dtype=torch.bool), noise)
    assert acted.action["arm"].abs().max() <= 1 and set(acted.action["grip"].tolist()) <= {0, 1, 2}
    assert acted.monitors.keys() == {"surprise", "reward"} and acted.monitors["surprise"].shape == (2,)


@torch.no_grad()
def test_an_episode_begins_with_an_empty_memory_and_goes_on_with_the_executed_action():
    found = agent("model.restart_input=true")
    rssm = found.parts.world.rssm
    tokens, action = torch.randn(2, rssm.latent.statistics[0]), torch.randn(2, 6)
    state = Latents(torch.randn(2, rssm.deter), torch.randn(2, *rssm.latent.shape))
    keep = torch.tensor([[1.0], [0.0]])
    row = rssm.filter(state, action, tokens, keep, torch.zeros(2, *rssm.latent.shape))
    h, c, restart = rssm.split(state.deter[:1])
    h, c = rssm.memory.step(h, c, state.stoch[:1], action[:1], restart)
    torch.testing.assert_close(row.deter[:1], torch.cat((h, c, torch.zeros(1, 1)), -1))
    assert torch.equal(row.deter[1], torch.tensor([0.0] * (rssm.deter - 1) + [1.0]))
    assert torch.equal(row.stoch, tokens.chunk(2, -1)[0])  # no noise: the mean of V's code


@torch.no_grad()
def test_surprise_is_the_likelihood_of_the_mixture():
    found = agent()
    rssm = found.parts.world.rssm
    zeros = torch.zeros(3, *rssm.latent.shape)
    state = Latents(torch.randn(3, rssm.deter), zeros)
    row = rssm.filter(state, torch.zeros(3, 6), torch.zeros(3, rssm.latent.statistics[0]), torch.ones(3, 1), zeros)
    near = rssm.surprise(row)
    mixture = rssm.predict(row.deter).latent
    torch.testing.assert_close(near, -mixture.log_prob(row.stoch).sum(-1))
    assert (rssm.surprise(row._replace(stoch=row.stoch + 50)) > near + 10).all()


def test_dreams_that_diverge_are_skipped_and_counted(caplog):
    found = agent()
    for i in range(4):
        found.update(random_batch(found, 4, 9, i))
    memory = found.parts.world.rssm.memory
    heads = memory.kernel.shape[1] - 3 * memory.mixtures * memory.latent
    before = found.training_state()
    with torch.no_grad():  # codes as large as float32 knows
        memory.bias[heads:].fill_(300.0)
    result = found.update(random_batch(found, 4, 9, 4))
    assert result.applied and int(result.metrics["dream/diverged"]) == 7  # the population and its mean
    assert "M lost itself in every dream" in caplog.text
    after = found.training_state()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"model/world_model.rssm.memory.bias", "generator", "stages/position"}
    for i in range(20):  # the run comes to the stage that can mend M again
        stage, _ = stage_at(int(found.state["stages/position"]), found.config.stages)
        if stage == "memory":
            break
        found.update(random_batch(found, 4, 9, 5 + i))
    assert stage == "memory"


def test_one_candidate_that_diverges_ranks_last(monkeypatch):
    from robot_dreamer.learner.objectives import world_models

    found = agent()
    for i in range(4):
        found.update(random_batch(found, 4, 9, i))
    told = []
    returns, tell = world_models.dream_returns, Evolution.tell

    def broken(*arguments):
        values = returns(*arguments)
        values[2, 1] = float("nan")
        return values

    def keep(self, candidates, fitness):
        if fitness.dtype.is_floating_point:  # the first generation of a resumed search is a dummy
            told.append(fitness)
        tell(self, candidates, fitness)

    monkeypatch.setattr(world_models, "dream_returns", broken)
    monkeypatch.setattr(Evolution, "tell", keep)
    result = found.update(random_batch(found, 4, 9, 4))
    assert result.applied and int(result.metrics["dream/diverged"]) == 1
    assert told[0][2] <= told[0].min()


def test_a_search_that_explodes_begins_again_and_is_counted(caplog):
    found = agent()
    for i in range(5):
        found.update(random_batch(found, 4, 9, i))
    found.state["evolution/search/sigma"].fill_(1e6)
    result = found.update(random_batch(found, 4, 9, 5))
    assert result.applied and int(result.metrics["evolution/restarts"]) == 1
    assert "evolution: step size" in caplog.text
    assert int(found.state["evolution/restarts"]) == 1
    assert float(found.state["evolution/search/sigma"]) == 0.1 and not found.state["evolution/search/countiter"]


@pytest.mark.parametrize("override", ["model.cell=layer_norm", "model.latent=classes", "model.std_rule=softplus"])
def test_a_model_of_another_generation_is_refused(override):
    with pytest.raises(ValueError, match="objective world_models: expected model.cell lstm, .* with the preset"):
        agent(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evolution.population=5", "evolution.population: expected at least 6, found 5"),
        ("evolution.sigma_limit=0.01", "evolution.sigma_limit: expected at least evolution.sigma = 0.1, found 0.01"),
        ("stages.memory=0", "stages.memory: expected a positive number, found 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(override, message):
    with pytest.raises(ValueError, match=message):
        load_config("world_models:cpu", [override])


def test_published_sizes():
    found = load_config("world_models")
    car = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    racing = Agent(
        car, gymnasium.spaces.Dict({"action": gymnasium.spaces.Box(-1, 1, (3,))}), found.with_run(device="cpu")
    )
    assert racing.parts.modules["policy"].parameter_count == 867
    vision = sum(
        p.numel() for module in ("encoder", "decoder") for p in getattr(racing.parts.world, module).parameters()
    )
    assert vision == 4_348_547
    # 422,368 as published, and two outputs more: reward and end, without which it cannot be dreamed in
    assert sum(p.numel() for p in racing.parts.world.rssm.parameters()) == 422_368 + 2 * 257
    assert found.model.free_nats == 0.5 * found.model.stoch


def test_the_surprise_of_a_robot_is_the_mixtures_negative_log_likelihood():
    found = agent()
    step = found.policy_step()
    rssm = step.rssm
    batch = random_batch(found, 3, 2)
    observation = {name: value[:, 0] for name, value in batch.observation.items()}
    action = {name: value[:, 0] for name, value in batch.action.items()}
    state = {"deter": torch.randn(3, rssm.deter), "stoch": torch.randn(3, *rssm.latent.shape)}
    noise = {port.name: torch.zeros(3, *port.shape) for port in step.layout.noise}
    with torch.no_grad():
        acted = step(observation, action, state, torch.zeros(3, dtype=torch.bool), noise)
        row = rssm.predict(acted.state["deter"]).latent
        expected = -row.log_prob(acted.state["stoch"]).sum(-1)
    torch.testing.assert_close(acted.monitors["surprise"], expected)


def test_the_spread_of_sharp_mixtures_does_not_cancel():
    rssm = agent().parts.world.rssm
    each = rssm.memory.mixtures
    with torch.no_grad():
        rssm.memory.kernel.zero_()
        heads = rssm.memory.kernel.shape[1] - 3 * each * rssm.memory.latent
        one = torch.tensor([0.0, 3.3, -8.0]).repeat_interleave(each)  # weights, means, log_stds
        rssm.memory.bias[heads:].copy_(one.repeat(rssm.memory.latent))
        mean, log_variance = rssm.prior_statistics(torch.zeros(1, rssm.deter)).chunk(2, -1)
    torch.testing.assert_close(mean, torch.full_like(mean, 3.3))
    torch.testing.assert_close(log_variance, torch.full_like(log_variance, -16.0))
