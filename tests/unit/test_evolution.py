"""The linear controller, its search, and the dreams in which it is judged."""

import pytest
import torch

from robot_dreamer.behavior.dreams import DreamNoise, DreamStart, dream_returns
from robot_dreamer.behavior.evolution import Evolution, LinearController
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.mdn import MDNRNN, Mixture

FORCE = [Field("force", "vector", (2,))]
GEAR = [Field("gear", "discrete", (), 3)]


def search(steps, cut=None, size=12):
    """A noisy quadratic with its best point at one; `cut`: go on from saved tensors after that generation."""
    generator = torch.Generator().manual_seed(1)
    evolution = Evolution(size, 8, 0.1)
    for generation in range(steps):
        if generation == cut:
            evolution = Evolution(size, 8, 0.1, evolution.tensors())
        candidates = evolution.ask(torch.randn(8, size, generator=generator, dtype=torch.float64))
        noise = 0.01 * torch.randn(8, generator=generator)
        evolution.tell(candidates, -((candidates - 1) ** 2 * torch.arange(1, size + 1)).sum(-1) + noise)
    return evolution


def test_the_search_finds_the_best_point():
    assert (search(200).mean - 1).abs().max() < 0.1


@pytest.mark.parametrize("size", [12, 150])  # a large covariance is decomposed only now and then
@pytest.mark.parametrize("cut", [0, 1, 17, 29])
def test_a_search_that_was_cut_goes_on_exactly(cut, size):
    whole, resumed = search(30, size=size).tensors(), search(30, cut, size).tensors()
    assert whole.keys() == resumed.keys()
    assert {name for name in whole if not torch.equal(whole[name], resumed[name])} == set()


def test_the_smallest_population_that_may_be_set_can_be_searched_with():
    evolution, generator = Evolution(12, 6, 0.1), torch.Generator().manual_seed(1)
    for _ in range(5):
        candidates = evolution.ask(torch.randn(6, 12, generator=generator, dtype=torch.float64))
        evolution.tell(candidates, -candidates.square().sum(-1))


def test_a_large_search_takes_the_noise_it_is_given():
    evolution = Evolution(867, 64, 0.1)
    for _ in range(2):
        candidates = evolution.ask(torch.zeros(64, 867))
        assert torch.equal(candidates, evolution.mean.expand(64, -1))
        evolution.tell(candidates, torch.arange(64.0))


def test_a_restart_keeps_the_mean_and_forgets_the_step_size():
    evolution = search(20)
    mean = evolution.mean
    evolution.restart()
    assert torch.equal(evolution.mean, mean)
    assert evolution.sigma == 0.1


def test_fitness_that_is_not_finite_is_refused():
    evolution = Evolution(3, 4, 0.1)
    with pytest.raises(ValueError, match="fitness: expected finite numbers, found 1 others"):
        evolution.tell(evolution.ask(torch.randn(4, 3)), torch.tensor([1.0, 2.0, float("nan"), 0.0]))


def test_a_discrete_action_is_the_class_with_the_largest_output():
    controller = LinearController(GEAR, 2)
    controller.load(torch.tensor([0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    chosen = controller.choose(controller(torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])))
    assert chosen["gear"].tolist() == [0, 1, 2]


def test_noise_explores_until_a_controller_is_handed_over():
    controller = LinearController(FORCE, 3)
    assert controller.spread == 1.0
    controller.hand_over(torch.arange(8.0), 0.25)
    assert controller.spread == 0.25
    assert controller.bias.tolist() == [0.0, 1.0] and controller.kernel.tolist() == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    assert controller.parameter_count == 8


def dream_setup(fields, done=True):
    torch.manual_seed(0)
    actions = sum(field.features for field in fields)
    memory = MDNRNN(3, actions, 6, 2, done=done)
    controller = LinearController(fields, 3 + 6)
    start = DreamStart(torch.randn(4, 3), torch.randn(4, 6), torch.randn(4, 6))
    return memory, controller, start, DreamNoise.draw(5, 4, 3, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("fields", [FORCE, GEAR, GEAR + FORCE])
@torch.no_grad()
def test_a_population_dreams_as_each_candidate_alone_would(fields):
    memory, controller, start, noise = dream_setup(fields, done=False)
    candidates = torch.randn(7, controller.parameter_count)
    together = dream_returns(memory, controller, candidates, start, noise, 1.2)
    assert together.shape == (7, 4)
    for candidate, found in zip(candidates, together, strict=True):
        alone = dream_returns(memory, controller, candidate[None], start, noise, 1.2)[0]
        torch.testing.assert_close(found, alone)
    assert together.std(0).min() > 1e-4  # they do differ


@torch.no_grad()
def test_a_dream_that_is_over_earns_no_more():
    memory, controller, start, noise = dream_setup(FORCE)
    memory.kernel.zero_()
    memory.bias.zero_()
    memory.bias[1] = 2.0  # the reward of each step
    candidates = torch.randn(3, controller.parameter_count)
    assert dream_returns(memory, controller, candidates, start, noise, 1.0).tolist() == [[10.0] * 4] * 3
    memory.bias[0] = 1.0  # done at once: the reward of the last step still counts
    assert dream_returns(memory, controller, candidates, start, noise, 1.0).tolist() == [[2.0] * 4] * 3


def test_temperature_flattens_the_weights_and_widens_the_parts():
    mixture = Mixture(torch.log(torch.tensor([[0.9, 0.1]])), torch.tensor([[0.0, 10.0]]), torch.zeros(1, 2))
    uniform, normal = torch.tensor([0.85]), torch.tensor([1.0])
    assert mixture.sample(uniform, normal).item() == pytest.approx(1.0)  # the first part
    # At temperature 4 the weights are 0.634 and 0.366, and the standard deviation is 2.
    assert mixture.sample(uniform, normal, 4.0).item() == pytest.approx(12.0)


def test_a_mixture_is_as_probable_as_its_parts_say():
    mixture = Mixture(torch.log(torch.tensor([[0.25, 0.75]])), torch.tensor([[-1.0, 1.0]]), torch.zeros(1, 2))
    normal = torch.distributions.Normal(torch.tensor([-1.0, 1.0]), torch.ones(2))
    expected = torch.log((torch.tensor([0.25, 0.75]) * normal.log_prob(torch.tensor(0.3)).exp()).sum())
    assert mixture.log_prob(torch.tensor([0.3])).item() == pytest.approx(expected.item())


@torch.no_grad()
def test_what_a_memory_says_behind_the_end_of_a_dream_spoils_nothing(monkeypatch):
    memory, controller, start, noise = dream_setup(FORCE)
    memory.kernel.zero_()
    memory.bias.zero_()
    memory.bias[:2] = torch.tensor([1.0, 2.0])  # done at once, and the reward
    predict, rows = memory.predict, []

    def lost(h):
        rows.append(predict(h))
        return rows[-1] if len(rows) == 1 else rows[-1]._replace(reward=torch.full_like(rows[-1].reward, float("nan")))

    monkeypatch.setattr(memory, "predict", lost)
    candidates = torch.randn(3, controller.parameter_count)
    assert dream_returns(memory, controller, candidates, start, noise, 1.0).tolist() == [[2.0] * 4] * 3


@torch.no_grad()
def test_a_dream_begins_with_the_flag_of_its_row(monkeypatch):
    torch.manual_seed(0)
    actions = sum(field.features for field in FORCE)
    memory = MDNRNN(3, actions, 6, 2, done=False, restart=True)
    controller = LinearController(FORCE, 3 + 6)
    flags = torch.tensor([1.0, 0.0])
    start = DreamStart(torch.randn(2, 3), torch.randn(2, 6), torch.randn(2, 6), flags)
    seen, step = [], memory.step

    def noted(h, c, z, action, restart):
        seen.append(restart.tolist())
        return step(h, c, z, action, restart)

    monkeypatch.setattr(memory, "step", noted)
    noise = DreamNoise.draw(3, 2, 3, torch.Generator().manual_seed(2))
    dream_returns(memory, controller, torch.randn(2, controller.parameter_count), start, noise, 1.0)
    assert seen == [[1.0, 0.0] * 2, [0.0] * 4, [0.0] * 4]
