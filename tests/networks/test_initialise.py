"""A checkpoint gives what matches and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet

from medsize.networks import initialise


def unet(num_classes: int) -> UNet:
    return UNet(spatial_dims=2, in_channels=1, out_channels=num_classes, channels=(4, 8), strides=(2,))


def test_random_leaves_the_network_alone() -> None:
    network = unet(2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initialise(network)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("container", [None, "network", "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoint_of_other_classes_gives_all_but_the_last_layer(
    tmp_path: Path, container: str | None, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = unet(5), unet(2)
    state = source.state_dict()
    saved = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    torch.save({container: saved} if container else saved, tmp_path / "weights.pt")
    initialise(target, "checkpoint", tmp_path / "weights.pt")
    same = [
        name for name, t in target.state_dict().items() if t.shape == state[name].shape and torch.equal(t, state[name])
    ]
    fitting = [name for name, t in target.state_dict().items() if t.shape == state[name].shape]
    assert same == fitting
    assert 0 < len(fitting) < len(state)
    assert f"{len(fitting)} tensors loaded" in capsys.readouterr().out


def test_a_checkpoint_with_little_of_the_network_is_told_of(tmp_path: Path) -> None:
    torch.save(UNet(2, 1, 2, channels=(4, 16), strides=(2,)).state_dict(), tmp_path / "weights.pt")
    with pytest.warns(UserWarning, match=r"only \d\.\d% of the network's parameters"):
        initialise(unet(2), "checkpoint", tmp_path / "weights.pt")


def test_bad_starts_are_refused(tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="init is 'pretrained'"):
        initialise(unet(2), "pretrained")
    with pytest.raises(ValueError, match="UNet has no ImageNet weights"):
        initialise(unet(2), "imagenet")
    with pytest.raises(ValueError, match="it needs the file"):
        initialise(unet(2), "checkpoint")
    with pytest.raises(ValueError, match="no tensor matches"):
        initialise(unet(2), "checkpoint", tmp_path / "other.pt")
    torch.save(unet(5).state_dict(), tmp_path / "five_classes.pt")
    with pytest.raises(ValueError, match="not in it, or differ in shape"):
        initialise(unet(2), "checkpoint", tmp_path / "five_classes.pt", strict=True)
