"""Settings of the world model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from robot_dreamer.config.check import Section, require, require_positive, require_range

_MAY_BE_ZERO = ("unimix", "free_nats", "multipliers", "reward_units", "overshooting")


@dataclass(frozen=True)
class ModelConfig(Section):
    """Sizes and constants of the world model (encoder, RSSM, decoder, reward and continue head)."""

    deter: int = 8192
    """Size D of the deterministic state; a multiple of `blocks` and `decoder_blocks`."""
    hidden: int = 1024
    """Width of the layers inside the RSSM."""
    cell: Literal["block", "reset_before", "reset_after", "layer_norm", "layer_norm_bare", "lstm"] = "block"
    """Recurrent cell; block: DreamerV3's block GRU; lstm: World Models' M, whose `deter` is h and c, half of it each;
    the others: see `gru_cells.py`."""
    activation: Literal["relu", "elu", "silu", "tanh"] = "silu"
    """Activation of all layers but the convolutions; `block` has SiLU."""
    conv_activation: Literal["relu", "elu", "silu"] = "silu"
    """Activation of the convolutions of the image stack of 2018."""
    norm: bool = False
    """Layer norm in front of each activation, where the cell is not `block`."""
    pixel_code: Literal["unit", "centered", "five_bit"] = "unit"
    """How the image stack of 2018 reads pixels, see `conv64.py`."""
    likelihood: Literal["normal", "squares", "symlog_squares"] = "normal"
    """Loss of predicted numbers and pixels: half the squared error; or all of it with pixels through a sigmoid; or the
    same with numbers compared after symlog."""
    daydreamer_init: bool = False
    """DayDreamer's initial kernels, and no dense layer in front of the image decoder."""
    learned_start: bool = False
    """Learn the state before an episode (DayDreamer)."""
    kl_rule: Literal["dyn_rep", "hinge", "floor_of_mean", "balanced", "adaptive"] = "dyn_rep"
    """How the KL becomes a loss, see `kl_rules.py`; dyn_rep: DreamerV3."""
    kl_balance: float = 0.8
    """Share of the KL that trains the prior, where the rule is `balanced` or `adaptive`."""
    overshooting: int = 0
    """Steps ahead at which the prior is judged too (latent overshooting, PlaNet); 0 switches it off."""
    latent: Literal["classes", "numbers"] = "classes"
    """Latent variables: one-hot classes, or normally distributed numbers."""
    stoch: int = 32
    """Number S of latent variables."""
    classes: int = 64
    """Number K of classes of each latent variable."""
    blocks: int = 8
    """Number of blocks of the block-diagonal recurrent layers."""
    units: int = 1024
    """Width of the vector encoder and decoder and of all heads."""
    depth: int = 64
    """Base number of channels of the convolutions."""
    multipliers: tuple[int, ...] = (2, 3, 4, 4)
    """Channels of each image stage as multiples of `depth`; each stage halves the resolution."""
    kernel: int = 5
    """Side of the convolution kernels; odd."""
    encoder_layers: int = 3
    """Hidden layers of the vector encoder."""
    decoder_layers: int = 3
    """Hidden layers of the vector decoder."""
    decoder_blocks: int = 8
    """Blocks of the layer that lays the deterministic state out as the first feature map of the image decoder."""
    dynamics_layers: int = 1
    """Block-diagonal hidden layers in front of the recurrent gates."""
    prior_layers: int = 2
    """Hidden layers of the prior."""
    posterior_layers: int = 1
    """Hidden layers of the posterior."""
    reward_layers: int = 1
    """Hidden layers of the reward head."""
    reward_units: int = 0
    """Width of the reward head, where the cell is not `block`; 0: `units`."""
    continue_head: bool = False
    """Before DreamerV3: predict whether an episode goes on, for robots and tasks whose episodes can end."""
    tanh_rewards: bool = False
    """Before DreamerV3: the reward head learns tanh of the reward (DreamerV2 on Atari)."""
    continue_layers: int = 1
    """Hidden layers of the continue head."""
    bins: int = 255
    """Number of bins of the two-hot heads (reward and critic); odd."""
    min_std: float = 0.1
    """Smallest standard deviation of latent numbers."""
    std_rule: Literal["softplus", "sigmoid2", "log_variance"] = "softplus"
    """How latent numbers get their standard deviation: softplus(x), or 2 sigmoid(x / 2), plus the smallest one; or
    exp(x / 2) (World Models)."""
    mixtures: int = 5
    """Normal distributions that M of World Models mixes for each latent number."""
    restart_input: bool = False
    """M of World Models is told which row began an episode (Doom)."""
    unimix: float = 0.01
    """Share of the uniform distribution mixed into the latent distributions."""
    free_nats: float = 1.0
    """KL terms below this many nats (summed over the latent variables) give no gradient."""
    symlog_inputs: bool = True
    """Squash vector observations with symlog in front of the encoder."""

    def check(self) -> None:
        require_positive(self, exclude=_MAY_BE_ZERO)
        require(0 <= self.unimix < 1, "unimix", "at least 0 and below 1", self.unimix)
        require_range("kl_balance", self.kl_balance, 0.0, 1.0)
        require(self.overshooting >= 0, "overshooting", "0 or a positive number", self.overshooting)
        require(self.reward_units >= 0, "reward_units", "0 or a positive number", self.reward_units)
        require_range("free_nats", self.free_nats, 0.0, math.inf)
        for name in ("blocks", "decoder_blocks") if self.cell == "block" else ():
            parts = getattr(self, name)
            require(self.deter % parts == 0, "deter", f"a multiple of model.{name} = {parts}", self.deter, (name,))
        require(self.bins % 2 == 1 and self.bins >= 3, "bins", "an odd number of at least 3", self.bins)
        require(self.kernel % 2 == 1, "kernel", "an odd number", self.kernel)
        require(
            len(self.multipliers) > 0 and all(m > 0 for m in self.multipliers),
            "multipliers",
            "one or more positive numbers",
            self.multipliers,
        )
