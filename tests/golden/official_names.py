"""Names and layouts of the parameters in the published DreamerV3 code, to read its checkpoints.

Only two things differ besides the names: convolution kernels are (height, width, in, out) there and (out, in, height,
width) here, and several images leave its decoder in the order in which the environment lists them, ours alphabetically.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from robot_dreamer.world_model.fields import Field

_RULES = (
    (r"^world_model\.encoder\.vector\.(\d+)\.scale", r"enc/mlp\1norm/scale"),
    (r"^world_model\.encoder\.vector\.(\d+)\.", r"enc/mlp\1/"),
    (r"^world_model\.encoder\.image\.(\d+)\.scale", r"enc/cnn\1norm/scale"),
    (r"^world_model\.encoder\.image\.(\d+)\.", r"enc/cnn\1/"),
    (r"^world_model\.rssm\.deter_in\.", "dyn/dynin0."),
    (r"^world_model\.rssm\.stoch_in\.", "dyn/dynin1."),
    (r"^world_model\.rssm\.action_in\.", "dyn/dynin2."),
    (r"^world_model\.rssm\.hidden\.(\d+)\.", r"dyn/dynhid\1."),
    (r"^world_model\.rssm\.gates\.", "dyn/dyngru."),
    (r"^world_model\.rssm\.prior\.(\d+)\.", r"dyn/prior\1."),
    (r"^world_model\.rssm\.prior_out\.", "dyn/priorlogit."),
    (r"^world_model\.rssm\.posterior\.(\d+)\.", r"dyn/obs\1."),
    (r"^world_model\.rssm\.posterior_out\.", "dyn/obslogit."),
    (r"^world_model\.decoder\.vector\.(\d+)\.", r"dec/mlp.\1."),
    (r"^world_model\.decoder\.image\.deter\.", "dec/sp0."),
    (r"^world_model\.decoder\.image\.stoch\.0\.", "dec/sp1."),
    (r"^world_model\.decoder\.image\.stoch\.1\.", "dec/sp2."),
    (r"^world_model\.decoder\.image\.scale", "dec/spnorm/scale"),
    (r"^world_model\.decoder\.image\.out\.", "dec/imgout."),
    (r"^world_model\.reward\.trunk\.(\d+)\.", r"rew/mlp.\1."),
    (r"^world_model\.reward\.out\.", "rew/head/logits."),
    (r"^world_model\.continuation\.trunk\.(\d+)\.", r"con/mlp.\1."),
    (r"^world_model\.continuation\.out\.", "con/head/logit."),
    (r"^policy\.trunk\.(\d+)\.", r"pol/mlp.\1."),
    (r"^slow_critic\.trunk\.(\d+)\.", r"slowval/mlp.\1."),
    (r"^slow_critic\.out\.", "slowval/head/logits."),
    (r"^critic\.trunk\.(\d+)\.", r"val/mlp.\1."),
    (r"^critic\.out\.", "val/head/logits."),
    # What is left: "layer.kernel" and "layer.scale", where the norm is a layer of its own.
    (r"mlp\.(\d+)\.scale$", r"mlp/norm\1/scale"),
    (r"mlp\.(\d+)\.", r"mlp/linear\1/"),
    (r"\.scale$", "norm/scale"),
    (r"\.(kernel|bias)$", r"/\1"),
)


class OfficialNames:
    """Translates parameters between an `Agent` and the published code."""

    def __init__(
        self,
        observations: Sequence[Field],
        actions: Sequence[Field],
        stages: int,
        image_order: Sequence[str] | None = None,
    ) -> None:
        """stages: number of image stages; image_order: order of the images there, None for alphabetical."""
        self._heads = [field for field in observations if field.kind != "image"]
        self._actions = list(actions)
        self._stages = stages
        images = {field.name: field.shape[-1] for field in observations if field.kind == "image"}
        self._channels = _channel_order(images, image_order or sorted(images))

    def name(self, name: str) -> str:
        """The published name of one of our parameters."""
        if match := re.fullmatch(r"^world_model\.decoder\.vector_heads\.(\d+)\.(.*)", name):
            field = self._heads[int(match[1])]
            return f"dec/vec/{field.name}/{'logits' if field.kind == 'discrete' else 'pred'}/{match[2]}"
        if match := re.fullmatch(r"^policy\.heads\.(\d+)\.(\w+)\.(.*)", name):
            part = {"std": "stddev"}.get(match[2], match[2])
            return f"pol/head/{self._actions[int(match[1])].name}/{part}/{match[3]}"
        if match := re.fullmatch(r"^world_model\.decoder\.image\.stages\.(\d+)\.(.*)", name):
            # Numbered from the output side there.
            index = self._stages - 2 - int(match[1])
            return f"dec/conv{index}norm/scale" if match[2] == "scale" else f"dec/conv{index}/{match[2]}"
        for pattern, replacement in _RULES:
            name = re.sub(pattern, replacement, name)
        return name

    def to_ours(self, name: str, value: Tensor) -> Tensor:
        """A published tensor in the layout of our parameter `name`."""
        if value.dim() == 4:
            value = value.permute(3, 2, 0, 1)
        if name.startswith("world_model.decoder.image.out."):
            value = value[self._channels]
        return value.contiguous()

    def to_official(self, name: str, value: Tensor) -> Tensor:
        """Our parameter `name` in the published layout."""
        if name.startswith("world_model.decoder.image.out."):
            value = value[torch.argsort(self._channels)]
        if value.dim() == 4:
            value = value.permute(2, 3, 1, 0)
        return value.contiguous()


def _channel_order(channels: dict[str, int], order: Sequence[str]) -> Tensor:
    """For each of our output channels (images alphabetical) its index in the published order."""
    start, first = {}, 0
    for name in order:
        start[name] = first
        first += channels[name]
    return torch.tensor([start[name] + i for name in sorted(channels) for i in range(channels[name])], dtype=torch.long)
