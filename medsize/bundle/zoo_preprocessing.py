"""Preprocessing of a bundle of MONAI's model zoo, as far as a training of medsize can have the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.bundle import ConfigParser

from medsize.bundle.zoo_config import ZooConfig, is_plain
from medsize.scans.space.orientation import are_axis_codes

__all__ = ["Preprocessing", "read_preprocessing"]

TRAINED_ELSEWHERE = ("LoadImaged", "EnsureChannelFirstd", "AddChanneld", "AsChannelFirstd", "EnsureTyped", "ToTensord")
"""Transforms that a training of medsize has itself; their names may end in another form of the dictionary suffix."""
OF_INTENSITIES = (
    *("ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "ScaleIntensityd", "NormalizeIntensityd"),
    *("ClipIntensityPercentilesd", "ThresholdIntensityd", "ShiftIntensityd", "AdjustContrastd", "HistogramNormalized"),
)
OF_SPACE = ("CropForegroundd", "SpatialPadd", "CenterSpatialCropd", "ResizeWithPadOrCropd", "DivisiblePadd", "Resized")


@dataclass(frozen=True)
class Preprocessing:
    """Orientation, spacing and intensities; and what was left out."""

    orientation: str = ""
    spacing: tuple[float, ...] | None = None
    intensities: tuple[Mapping[str, Any], ...] = ()
    """Transforms of the image's intensities, as a config has them."""
    left_out: tuple[str, ...] = ()
    """Names of other transforms, with the reason."""

    @property
    def window(self) -> tuple[float, float] | None:
        """Intensities that become 0 and 1, if that is all that is done to them."""
        if len(self.intensities) != 1 or self.intensities[0]["_target_"] != "ScaleIntensityRanged":
            return None
        of_one = self.intensities[0]
        if (of_one.get("b_min"), of_one.get("b_max"), of_one.get("clip")) != (0, 1, True):
            return None
        return float(of_one["a_min"]), float(of_one["a_max"])


def read_preprocessing(config: ZooConfig, dimensions: int, channels: int) -> Preprocessing:
    """
    Read the preprocessing of a bundle.

    Args:
        config: its config.
        dimensions: spatial dimensions of its network.
        channels: channels of its images.

    Raises:
        ValueError: when a transform has arguments that it fails with.
    """
    orientation, spacing, left_out = "", None, []
    intensities: list[Mapping[str, Any]] = []
    for step in config.transforms("preprocessing"):
        target = str(step.get("_target_", ""))
        name = target.rpartition(".")[2]
        name = f"{name.removesuffix('Dict').removesuffix('D').removesuffix('d')}d"
        if name in TRAINED_ELSEWHERE:
            continue
        if name == "Orientationd" and isinstance(step.get("axcodes"), str):
            orientation = _axes(config, step["axcodes"], dimensions)
        elif name == "Spacingd" and "pixdim" in step and is_plain(step["pixdim"]):
            spacing = _spacing(step["pixdim"], dimensions)
            if spacing is None:
                left_out.append(f"{name}: its pixdim {step['pixdim']} keeps spacings as they are stored")
        elif name in OF_INTENSITIES and len(step) > 1 and is_plain({k: v for k, v in step.items() if k != "keys"}):
            intensities.append(_tried(config, {**step, "_target_": name, "keys": "image"}, channels))
        elif name in OF_SPACE:
            left_out.append(f"{name}: the window of the cohort stands for it")
        else:
            left_out.append(f"{target or step}: medsize knows no place for it")
    return Preprocessing(orientation, spacing, tuple(intensities), tuple(left_out))


def _axes(config: ZooConfig, codes: str, dimensions: int) -> str:
    if len(codes) not in (3, dimensions) or not are_axis_codes(codes):
        raise ValueError(
            f"{config.file}: Orientationd has the axcodes '{codes}', expected three such as RAS. Correct it."
        )
    return codes


def _spacing(pixdim: Any, dimensions: int) -> tuple[float, ...] | None:
    """Return the mm along each axis as ``Spacing`` understands them; ``None`` if an axis keeps its own."""
    stated = list(pixdim) if isinstance(pixdim, list | tuple) else [pixdim]
    if not stated or not all(isinstance(mm, int | float) and math.isfinite(mm) and mm > 0 for mm in stated):
        return None
    stated += stated[-1:] * (dimensions - len(stated))  # the last one counts for the axes that follow
    return tuple(map(float, stated))


def _tried(config: ZooConfig, step: Mapping[str, Any], channels: int) -> Mapping[str, Any]:
    """Return the definition of a transform of intensities that works on a scan."""
    name, arguments = step["_target_"], {key: value for key, value in step.items() if key not in ("_target_", "keys")}
    try:
        tried = ConfigParser({"of": dict(step)}).get_parsed_content("of")({"image": torch.rand(channels, 4, 4, 4)})
    except Exception as e:  # of any transform
        raise ValueError(f"{config.file}: {name} fails with the arguments {arguments}. Correct these.") from e
    if not torch.isfinite(torch.as_tensor(tried["image"])).all():
        raise ValueError(f"{config.file}: {name} makes NaN or ∞ with the arguments {arguments}. Correct these.")
    if name == "ScaleIntensityRanged" and not step["a_min"] < step["a_max"]:
        raise ValueError(
            f"{config.file}: {name} has a_min {step['a_min']} and a_max {step['a_max']}, expected a_min below a_max. "
            "Correct these."
        )
    return step
