"""The planner: the search on functions whose optimum is known, and the actor made of it."""

import pytest
import torch
from torch import nn

from robot_dreamer.behavior.planner import Planner, cem, imagined_return
from robot_dreamer.config import PlannerConfig, load_config
from robot_dreamer.world_model.distributions import MSE
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import Numbers
from robot_dreamer.world_model.rssm import RSSM, Latents, feature_of

ARM, WHEEL = Field("arm", "vector", (2,)), Field("wheel", "vector", ())


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_quadratic_is_found_and_the_spread_shrinks_in_each_iteration():
    goal = torch.tensor([[0.5, -0.25], [0.9, 0.1]])  # one optimum per row of the batch

    def evaluate(actions, iteration):
        return -(actions - goal[:, None, None]).square().sum((2, 3))

    noise = normal(2, 8, 200, 3, 2)
    spreads = [cem(evaluate, noise[:, : i + 1], 20).std for i in range(8)]
    assert all((after < before).all() for before, after in zip(spreads[:3], spreads[1:4], strict=True))
    plan = cem(evaluate, noise, 20)
    assert plan.mean == pytest.approx(goal[:, None].expand(-1, 3, -1), abs=0.05)
    assert (plan.mean.abs() <= 1).all()


def test_the_mean_of_the_elites_is_the_plan_not_the_best_candidate():
    seen = []

    def evaluate(actions, iteration):
        seen.append(actions)
        return actions.sum((2, 3))

    plan = cem(evaluate, normal(1, 1, 50, 1, 1), 5)
    best = seen[0].flatten().topk(5).values
    assert plan.mean.item() == pytest.approx(best.mean().item())
    assert plan.std.item() == pytest.approx((best.var(correction=0) + 1e-6).sqrt().item())


def test_candidates_are_clipped_before_they_are_evaluated_and_before_they_are_refitted():
    def evaluate(actions, iteration):
        assert actions.min() == -1 and actions.max() == 1
        return actions.sum((2, 3))

    plan = cem(evaluate, 100 * normal(1, 1, 50, 1, 1), 5)
    assert plan.mean.item() == 1.0


def test_rows_do_not_see_each_other():
    def evaluate(actions, iteration):
        return actions.square().sum((2, 3)) * torch.tensor([[1.0], [-1.0]])

    noise = normal(2, 3, 40, 2, 1)
    together = cem(evaluate, noise, 5).mean
    alone = cem(lambda actions, i: -actions.square().sum((2, 3)), noise[1:], 5).mean
    assert together[1] == pytest.approx(alone[0])


class Counter(RSSM):
    """h adds up the actions, the latent is the noise."""

    def __init__(self):
        super().__init__(1, Numbers(1))
        self.gain = nn.Parameter(torch.ones(()))

    def step(self, deter, stoch, action, prepared=None):
        return deter + self.gain * action.sum(-1, keepdim=True)

    def prior_statistics(self, deter):
        return torch.cat((torch.zeros_like(deter), torch.full_like(deter, 0.5)), -1)

    def posterior_statistics(self, deter, tokens):
        return self.prior_statistics(deter)


class Near(nn.Module):
    """The reward: how near h is to 2; the latent does not matter."""

    def forward(self, feature):
        return MSE(-(feature[..., 0] - 2).abs())


def planner(**sizes):
    return Planner([ARM, WHEEL], Numbers(1), PlannerConfig(**sizes))


def plan(actor, state, spread=0.0, seed=0):
    rows = state.deter.shape[0]
    noise = {p.name: normal(rows, *p.shape, seed=seed + i) for i, p in enumerate(actor.noise)}
    noise |= {p.name: noise[p.name] * spread for p in actor.noise if p.role == "action_noise"}
    return actor.act(Counter(), {"reward": Near()}, state, feature_of(*state), noise)


def test_the_planner_steers_the_model_where_the_reward_is():
    actor = planner(horizon=4, iterations=5, candidates=200, elites=20)
    with torch.no_grad():
        action = plan(actor, Latents(torch.tensor([[0.0], [2.0], [4.0]]), torch.zeros(3, 1)))
    assert action["arm"].shape == (3, 2) and action["wheel"].shape == (3,)
    total = action["arm"].sum(-1) + action["wheel"]
    assert total[0] > 1.5 and abs(total[1]) < 0.3 and total[2] < -1.5


def test_exploration_is_added_to_the_action_and_nothing_else():
    actor = planner(horizon=2, iterations=2, candidates=20, elites=5, exploration=0.3)
    state = Latents(torch.zeros(1, 1), torch.zeros(1, 1))
    with torch.no_grad():
        still, noisy = plan(actor, state), plan(actor, state, spread=1.0)
    arm = next(port for port in actor.noise if port.key == "arm")
    drawn = normal(1, *arm.shape, seed=actor.noise.index(arm))
    assert noisy["arm"] - still["arm"] == pytest.approx(0.3 * drawn, abs=1e-6)


def test_returns_are_sums_over_the_horizon():
    state = Latents(torch.zeros(2, 1), torch.zeros(2, 1))
    actions = torch.full((2, 3, 4, 1), 1.0)
    returns = imagined_return(Counter(), Near(), state, actions, normal(2, 3, 4, 1))
    assert returns.tolist() == [[-4.0] * 3] * 2  # h = 1, 2, 3, 4


def test_discrete_actions_are_refused():
    with pytest.raises(ValueError, match=r"action 'gear': the planner .* found a choice of 4; use one"):
        Planner([Field("gear", "discrete", (), 4)], Numbers(3), PlannerConfig())


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"planner.elites: expected at most planner.candidates = 10, found 11"):
        load_config("nano", ["planner.candidates=10", "planner.elites=11"])
    with pytest.raises(ValueError, match=r"planner.horizon: expected a positive number, found 0"):
        load_config("nano", ["planner.horizon=0"])


def test_the_search_exports_to_onnx(tmp_path):
    """One graph without a node that depends on data in Python; ONNX Runtime finds the same plan."""
    import numpy as np
    import onnxruntime

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.rssm, self.reward = Counter(), Near()

        def forward(self, deter, actions, latents):
            def evaluate(candidates, iteration):
                state = Latents(deter, torch.zeros(1, 1))
                return imagined_return(self.rssm, self.reward, state, candidates, latents[:, iteration])

            return cem(evaluate, actions, 5).mean

    inputs = (torch.zeros(1, 1), normal(1, 3, 20, 4, 2), normal(1, 3, 20, 4, 1, seed=1))
    step = Step().eval().requires_grad_(False)
    path = tmp_path / "plan.onnx"
    torch.onnx.export(step, inputs, str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    names = [x.name for x in session.get_inputs()]
    found = session.run(None, {n: np.asarray(x) for n, x in zip(names, inputs, strict=True)})[0]
    assert found == pytest.approx(step(*inputs).numpy(), abs=1e-6)
