"""DreamerV3 learns from what robots have: pictures, choices, and sensors that do not show everything.

And the gates say no: each of three learners that were broken on purpose fails one that the whole learner passes.
"""

import pytest
import torch

from robot_dreamer.behavior.imagination import imagine_step
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.objectives import dreamer_v3
from tests.learning.carts import Cart
from tests.learning.test_dreamers_learn import V3

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]
LONG = {"pushed": 350, "picture": 300}  # updates; 250 of the others
CHANCE, HELD = 8.0, 13.5  # returns: below the first by chance, above the second if the cart is held


def learned(cart, updates=250, change=lambda batch: batch):
    """An agent that was trained on one batch of episodes by chance."""
    torch.set_num_threads(1)
    agent = Agent(*cart.spaces, load_config("cpu_small", V3))
    chance = cart.by_chance()
    assert chance[2].sum(1).mean() < CHANCE
    batch = change(cart.batch(chance, agent))
    for _ in range(updates):
        assert agent.update(batch).applied
    return agent


@pytest.mark.parametrize("kind", ["choice", "pushed", "picture"])
def test_it_is_learned_from(kind):
    cart = Cart(**{kind: True})
    agent = learned(cart, LONG.get(kind, 250))
    assert cart.returns(agent) > HELD
    if kind == "pushed":  # who forgets, or acts from a latent that stands still, does not pass
        assert cart.returns(agent, remembers=False) < HELD - 1


def test_a_learner_with_the_wrong_sign_of_the_advantage_is_caught(monkeypatch):
    true = dreamer_v3.imagination_losses

    def wrong(*arguments):
        losses = true(*arguments)
        return losses._replace(policy=-losses.policy)

    monkeypatch.setattr(dreamer_v3, "imagination_losses", wrong)
    assert Cart().returns(learned(Cart())) < HELD - 1


def test_a_learner_with_shuffled_actions_is_caught():
    def shuffled(batch):
        return batch._replace(action={name: value.roll(7, 1) for name, value in batch.action.items()})

    assert Cart().returns(learned(Cart(), change=shuffled)) < HELD - 1


def test_a_learner_that_dreams_from_stale_latents_is_caught(monkeypatch):
    """Each step of a dream begins where the one before did, so no action leads anywhere."""

    def stale(rssm, policy, deter, stoch, *rest):
        return imagine_step(rssm, policy, deter, stoch, *rest)._replace(deter=deter, stoch=stoch)

    monkeypatch.setattr(dreamer_v3, "imagine_step", stale)
    assert Cart().returns(learned(Cart())) < HELD - 1
