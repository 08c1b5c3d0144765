"""Settings of actor and critic."""

from __future__ import annotations

from dataclasses import dataclass

from robot_dreamer.config.check import require, require_range


@dataclass(frozen=True)
class BehaviorConfig:
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

    def __post_init__(self) -> None:
        for name in ("horizon", "policy_layers", "critic_layers"):
            require(getattr(self, name) > 0, f"behavior.{name}", "a positive number", getattr(self, name))
        require(self.return_horizon > 1, "behavior.return_horizon", "more than 1", self.return_horizon)
        require(self.imagine_last >= 0, "behavior.imagine_last", "0 or a positive number", self.imagine_last)
        for name in ("lam", "slow_rate", "return_rate", "discrete_unimix"):
            require_range(f"behavior.{name}", getattr(self, name), 0.0, 1.0)
        low, high = self.return_percentile_low, self.return_percentile_high
        require(0 <= low < high <= 100, "behavior.return_percentile_low", "0 <= low < high <= 100", (low, high))
        require(self.return_limit > 0, "behavior.return_limit", "a positive number", self.return_limit)
        require(0 < self.min_std < self.max_std, "behavior.min_std", "0 < min_std < max_std", self.min_std)
