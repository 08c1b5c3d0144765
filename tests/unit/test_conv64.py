"""The image stack of 2018: sizes, initial kernels, pixel codes, what is shown of them, refusals."""

import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.world_model.coder64 import Decoder64
from robot_dreamer.world_model.conv64 import Conv64Decoder, Conv64Encoder, pixels, require_64
from robot_dreamer.world_model.fields import Field


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_are_those_of_the_papers():
    encoder = Conv64Encoder(3, 32, "relu")
    assert (encoder.outputs, count(encoder)) == (1024, 690_144)
    assert Conv64Encoder(3, 48, "elu").outputs == 1536
    # World Models: 4,348,547 with its two heads of 32 numbers, 1024 * 64 + 64.
    assert count(encoder) + count(Conv64Decoder(32, 3, 32, "relu")) + 1024 * 64 + 64 == 4_348_547


@pytest.mark.parametrize(("norm", "dense"), [(False, True), (True, False)])
def test_images_go_in_and_come_out(norm, dense):
    encoder = Conv64Encoder(3, 4, "elu", norm)
    decoder = Conv64Decoder(encoder.outputs, 3, 4, "elu", norm, dense)
    flat = encoder(torch.rand(2, 64, 64, 3))
    assert flat.shape == (2, encoder.outputs)
    assert decoder(flat).shape == (2, 64, 64, 3)


def test_initial_kernels():
    torch.manual_seed(0)

    def bounds(module):
        return [layer.kernel.detach().abs().max().item() for layer in module.layers]

    # 8 channels: sqrt(6 / (area (in + out))); DayDreamer leaves the area out, in the encoder only.
    expected = [(6 / (16 * (n + m))) ** 0.5 for n, m in ((3, 8), (8, 16), (16, 32), (32, 64))]
    assert bounds(Conv64Encoder(3, 8, "relu")) == pytest.approx(expected, rel=0.02)
    assert bounds(Conv64Encoder(3, 8, "elu", spread=True)) == pytest.approx([4 * x for x in expected], rel=0.02)
    assert all(
        float(x.abs().max()) == 0 for name, x in Conv64Encoder(3, 8, "relu").named_parameters() if "bias" in name
    )


def test_pixel_codes():
    images = torch.arange(256, dtype=torch.uint8)
    assert pixels(images, "unit")[[0, 255]].tolist() == [0, 1]
    assert pixels(images, "centered")[[0, 255]].tolist() == [-0.5, 0.5]
    coarse = pixels(images, "five_bit")
    assert coarse.unique().numel() == 32
    assert coarse[[0, 255]].tolist() == [-0.5 + 1 / 64, 0.5 - 1 / 64]
    noisy = pixels(images, "five_bit", torch.rand(256, generator=torch.Generator().manual_seed(0)))
    assert noisy.unique().numel() > 200
    assert ((noisy - coarse).abs() <= 1 / 64).all()


def test_images_of_another_size_are_refused():
    small = Field("camera", "image", (48, 64, 3), 0)
    with pytest.raises(ValueError, match=r"image 'camera': .* expects 64x64 pixels, found 48x64"):
        require_64([small])
    assert require_64([Field("a", "image", (64, 64, 3), 0), Field("b", "image", (64, 64, 1), 0)]) == 4


@pytest.mark.parametrize("code", ["unit", "centered", "five_bit"])
def test_a_decoder_with_a_sigmoid_can_show_black_and_white_whatever_the_encoder_reads(code):
    config = load_config("dreamer_v1", ["model.likelihood=squares", f"model.pixel_code={code}", "model.depth=1"])
    decoder, feature = Decoder64([Field("camera", "image", (64, 64, 1))], 3, config.model), torch.zeros(2, 3)
    for bias, byte in ((-50.0, 0), (50.0, 255)):
        torch.nn.init.constant_(decoder.image.out.bias, bias)
        pictures = {"camera": torch.full((2, 64, 64, 1), byte, dtype=torch.uint8)}
        assert decoder.losses(feature, pictures)["camera"].max() < 1e-6
        assert decoder.means(feature)["camera"].unique().tolist() == pytest.approx([byte / 255])
