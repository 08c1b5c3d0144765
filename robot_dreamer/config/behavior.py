"""Settings of actor and critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robot_dreamer.config.check import Section, require, require_less, require_range

_SHARES = ("exploration", "dynamics_share", "advantage_rate", "entropy_target")


@dataclass(frozen=True)
class BehaviorConfig(Section):
    """Actor and critic, trained on imagined trajectories."""

    horizon: int = 15
    """Number H of imagined steps."""
    imagine_last: int = 0
    """Start imagination only from this many last rows of each training sequence; 0 means from every row."""
    return_horizon: int = 333
    """Effective length of the discounted return in steps: the discount is 1 - 1 / return_horizon."""
    continue_discount: bool = True
    """Fold the discount into the label of the continue head instead of the return formula."""
    lam: float = 0.95
    """Lambda of the imagined returns and of the replay returns."""
    entropy: float = 3e-4
    """Weight of the policy entropy."""
    slow_rate: float = 0.02
    """Share of the critic that enters the slow critic after each update."""
    slow_regularizer: float = 1.0
    """Weight of the critic loss against the prediction of the slow critic."""
    slow_target: bool = False
    """Use the slow critic for bootstrap and baseline instead of the critic itself."""
    return_rate: float = 0.01
    """Rate of the moving percentiles that scale the returns."""
    return_percentile_low: float = 5.0
    """Lower percentile of the return range."""
    return_percentile_high: float = 95.0
    """Upper percentile of the return range."""
    return_limit: float = 1.0
    """Smallest return range; smaller ones are not amplified."""
    policy_layers: int = 3
    """Hidden layers of the policy."""
    critic_layers: int = 3
    """Hidden layers of the critic."""
    min_std: float = 0.1
    """Smallest standard deviation of a continuous action."""
    max_std: float = 1.0
    """Largest standard deviation of a continuous action."""
    discrete_unimix: float = 0.0
    """Share of the uniform distribution in a discrete policy. The paper says 0.01, the published code applies none."""
    policy_outscale: float = 0.01
    """Factor on the initial kernels of the last policy layer."""
    critic_outscale: float = 0.0
    """Factor on the initial kernels of the last layer of critic and reward head; 0 predicts zero at the start."""

    actor: Literal["normal", "tanh_normal", "truncated_normal"] = "normal"
    """Distribution of a continuous action: DayDreamer's and DreamerV3's, Dreamer V1's, DreamerV2's."""
    init_std: float = 5.0
    """tanh_normal: standard deviation in front of the tanh where the network says 0."""
    exact_cut: bool = False
    """truncated_normal: differentiate a sample through the cut too; the published code does not."""
    exploration: float = 0.0
    """Noise on actions while experience is collected, before DreamerV3: its standard deviation where they are
    continuous, the probability of a uniform choice where they are discrete."""
    gradient: Literal["auto", "dynamics", "reinforce", "mix"] = "auto"
    """How the actor gets better, before DreamerV3: backpropagation through the model, REINFORCE, or shares of both;
    auto: REINFORCE for discrete actions, the model for continuous ones."""
    dynamics_share: float = 0.1
    """mix: share of the backpropagation."""
    returns: Literal["arrival", "departure"] = "departure"
    """Whether the return of a state has its own reward (arrival: Dreamer V1, DreamerV2) or begins with the next."""
    imagine_start: bool = True
    """Whether the state in which imagination starts is one of the judged states (not in Dreamer V1)."""
    slow_every: int = 0
    """Updates between two whole copies of the critic to the slow critic, which then judges; 0: the critic itself
    judges (Dreamer V1). Before DreamerV3."""
    update_order: Literal["together", "model_first", "critic_first"] = "together"
    """Which parts have made their step before the loss of the next is computed: none (Dreamer V1), the model
    (DreamerV2), the model, then the critic (DayDreamer)."""
    advantage_rate: float = 0.0
    """Rate of the moving mean and deviation by which advantages are normalised (DayDreamer); 0: not at all."""
    entropy_target: float = 0.0
    """Wanted entropy of each action entry, between that of the least and of the most random policy; the weight then
    adapts itself (DayDreamer). 0: the weight is `entropy`."""

    def check(self) -> None:
        for name in ("horizon", "policy_layers", "critic_layers"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.return_horizon > 1, "return_horizon", "more than 1", self.return_horizon)
        require(self.imagine_last >= 0, "imagine_last", "0 or a positive number", self.imagine_last)
        for name in ("lam", "slow_rate", "return_rate", *_SHARES):
            require_range(name, getattr(self, name), 0.0, 1.0)
        require(0 <= self.discrete_unimix < 1, "discrete_unimix", "at least 0 and below 1", self.discrete_unimix)
        for name in ("entropy", "slow_regularizer", "policy_outscale", "critic_outscale"):
            require(getattr(self, name) >= 0, name, "0 or a positive number", getattr(self, name))
        low, high = "return_percentile_low", "return_percentile_high"
        for name in (low, high):
            require_range(name, getattr(self, name), 0.0, 100.0)
        require_less(self, "behavior", low, high)
        require(self.return_limit > 0, "return_limit", "a positive number", self.return_limit)
        require(self.slow_every >= 0, "slow_every", "0 or a positive number", self.slow_every)
        require(self.init_std > 0, "init_std", "a positive number", self.init_std)
        require(self.min_std > 0, "min_std", "a positive number", self.min_std)
        require_less(self, "behavior", "min_std", "max_std")
