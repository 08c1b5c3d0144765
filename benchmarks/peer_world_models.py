"""World Models by ctallec/world-models, V and M as a callable update each, for `peers.py`.

After the calls of `trainvae.py` and `trainmdrnn.py`. The sizes of its V are fixed, those of the paper. Beside ours, its
M does more: it encodes each picture twice, as one row's and as the next one's, and decodes what it does not use. Its C
learns in the world, not in dreams, and is not measured.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from benchmarks.peer_code import Checkout, count_of, parameters_of
from benchmarks.step_time import ACTIONS, Update
from robot_dreamer.config import Config


def vision_update(config: Config, code: Checkout) -> tuple[Update, str]:
    """One update of V on a ready batch of pictures, and what it is.

    Raises ImportError where the code is not there.
    """
    (networks,) = code.modules("models.vae")
    torch.manual_seed(0)
    vision = networks.VAE(3, config.model.stoch)
    optimizer = torch.optim.Adam(vision.parameters())
    pictures = torch.rand(config.stages.vision_rows, 3, 64, 64)

    def update() -> float:
        optimizer.zero_grad()
        seen, mean, log_std = vision(pictures)
        divergence = -0.5 * torch.sum(1 + 2 * log_std - mean.pow(2) - (2 * log_std).exp())
        loss = F.mse_loss(seen, pictures, reduction="sum") + divergence
        loss.backward()
        optimizer.step()
        return loss.item()

    return update, f"{code}, {count_of(parameters_of(vision))}"


def memory_update(config: Config, code: Checkout) -> tuple[Update, str]:
    """One update of M on a ready batch of pictures, and what it is.

    Raises ImportError where the code is not there.
    """
    see, remember = code.modules("models.vae", "models.mdrnn")
    torch.manual_seed(0)
    size, lead = config.model.stoch, (config.batch_size, config.batch_length)
    vision = see.VAE(3, size)
    memory = remember.MDRNN(size, ACTIONS, config.model.deter // 2, config.model.mixtures)
    optimizer = torch.optim.RMSprop(memory.parameters(), lr=config.memory_optimizer.learning_rate, alpha=0.9)
    pictures, following = torch.rand(*lead, 3, 64, 64), torch.rand(*lead, 3, 64, 64)
    action, reward, terminal = torch.rand(*lead, ACTIONS) * 2 - 1, torch.randn(lead), torch.zeros(lead)

    @torch.no_grad()
    def code_of(x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x.view(-1, 3, 64, 64), size=64, mode="bilinear", align_corners=True)
        _, mean, log_std = vision(x)
        drawn: torch.Tensor = mean + log_std.exp() * torch.randn_like(mean)
        return drawn.view(*lead, size).transpose(0, 1)

    def update() -> float:
        now, then = code_of(pictures), code_of(following)
        mean, std, mixture, rewards, ends = memory(action.transpose(0, 1), now)
        loss = remember.gmm_loss(then, mean, std, mixture)
        loss = loss + F.binary_cross_entropy_with_logits(ends, terminal.transpose(0, 1))
        loss = (loss + F.mse_loss(rewards, reward.transpose(0, 1))) / (size + 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return update, f"{code}, {count_of(parameters_of(memory))}; more: encodes twice, and decodes"
