"""Check of the values that a config states plainly: others show only when they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from monai.bundle import ConfigComponent
from pydantic import AfterValidator, BaseModel, Field

from medsize.bundle.run.settings import AtLeast1, Number, RunSettings, Switch, Whole, read_settings
from medsize.checks.config_check import config_items
from medsize.scans.space.orientation import are_axis_codes

__all__ = ["value_problems"]


def _available(name: str | int) -> str | int:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError("expected a device such as cpu or cuda:0.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"found {torch.cuda.device_count()} CUDA devices. Name one of these, or cpu.")
    return name


def _axes(codes: str) -> str:
    if codes and not (len(codes) == 3 and are_axis_codes(codes)):
        raise ValueError("expected L or R, A or P, and S or I in any order, such as RAS, or nothing.")
    return codes


TEXTS = {"false": "False", "null": "None"}
"""Texts that a command line leaves as they are, though YAML reads them as values."""
AtLeast0 = Annotated[Number, Field(ge=0)]
MoreThan0 = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Ramp = tuple[Fraction, Fraction]


class ConfigValues(BaseModel):
    """Keys of ``train.yaml`` whose wrong values would stop a run after it has begun, or change it silently."""

    max_epochs: AtLeast1 = 1
    batch_size: AtLeast1 = 1
    epoch_scans: AtLeast1 = 1
    num_slices: AtLeast1 = 1
    val_interval: AtLeast1 = 1
    accumulation_steps: AtLeast1 = 1
    learning_rate: MoreThan0 = 1
    decay: MoreThan0 = 1
    spacing: tuple[MoreThan0, ...] = ()
    roi_size: tuple[AtLeast1, ...] = ()
    orientation: Annotated[str, AfterValidator(_axes)] = ""
    size_weight: AtLeast0 = 1
    mask_weight: AtLeast0 = 1
    scribble_weight: AtLeast0 = 1
    soft_label_weight: AtLeast0 = 1
    soft_label_end: AtLeast0 = 1
    soft_label_fade: Ramp = (0, 1)
    potts_weight: AtLeast0 = 1
    potts_ramp: Ramp = (0, 1)
    potts_radius: AtLeast1 = 1
    potts_contrast: MoreThan0 = 1
    agreement_weight: AtLeast0 = 1
    fixed_axis: Annotated[Whole, Field(ge=0)] | None = None
    mask_share: Fraction | None = None
    jitter: AtLeast0 = 0
    intensity_window: tuple[Number, Number] | None = None
    cache_rate: Fraction = 1
    num_workers: Annotated[Whole, Field(ge=0)] = 0
    device: Annotated[str | int, AfterValidator(_available)] = "cpu"
    amp: Switch = False
    channels_last: Switch = False
    compile: Switch = False
    fit_to_window: Switch = False
    save_masks: Switch = False
    start_at_mean_sizes: Switch = False
    tile_pictures: Switch = False
    freeze_batch_norm: Switch = False


def value_problems(config: Mapping[str, Any]) -> list[str]:
    """
    Find values of a wrong type or out of range among those that a config states plainly.

    Args:
        config: the config, with overlays and overrides. References and expressions in it are left alone.

    Returns:
        one message per problem.
    """
    stated = {key: config[key] for key in ConfigValues.model_fields if key in config and _is_plain(config[key])}
    problems = read_settings(ConfigValues, stated)[1]
    checked = {*stated, *RunSettings.model_fields}
    problems += [
        f"{key} is the text '{text}', which counts as true. Write {TEXTS[text.lower()]}, as Python does."
        for key, value in config_items(config)
        for text in (value if isinstance(value, tuple) else [value])
        if isinstance(text, str) and text.lower() in TEXTS and key not in checked and not key.endswith("_disabled_")
    ]
    proposal = config.get("proposal")
    axes = proposal.get("spatial_dims") if isinstance(proposal, Mapping) else None
    for key in ("spacing", "roi_size"):
        value = stated.get(key)
        if isinstance(axes, int) and isinstance(value, list | tuple) and len(value) != axes:
            problems.append(f"{key} is {list(value)}, expected {axes} numbers, one for each axis of the network.")
    fixed = stated.get("fixed_axis")
    if isinstance(axes, int) and isinstance(fixed, int) and fixed >= axes:
        problems.append(f"fixed_axis is {fixed}, expected an axis of the network, 0 to {axes - 1}, or null.")
    return problems


def _is_plain(value: Any) -> bool:
    """Return whether a value neither refers to others nor is evaluated."""
    if isinstance(value, str):
        return not value.startswith(("$", "@", "%"))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return not ConfigComponent.is_instantiable(value)
