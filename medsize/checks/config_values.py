"""Check of the values that a config states plainly: others show only when they are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import torch
from monai.bundle import ConfigComponent
from pydantic import AfterValidator, BaseModel, Field

from medsize.bundle.run.settings import AtLeast1, Number, RunSettings, Switch, Whole, read_settings

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
    if codes and sorted(codes.translate(SAME_AXIS)) != ["I", "L", "P"]:
        raise ValueError("expected L or R, A or P, and S or I in any order, such as RAS, or nothing.")
    return codes


TEXTS = {"false": "False", "null": "None"}
"""Texts that a command line leaves as they are, though YAML reads them as values."""
SAME_AXIS = str.maketrans("RAS", "LPI")
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
    problems += [
        f"{key} is the text '{text}', which counts as true. Write {TEXTS[text.lower()]}, as Python does."
        for key, text in _texts(config)
        if text.lower() in TEXTS and key not in {*stated, *RunSettings.model_fields} and not key.endswith("_disabled_")
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


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a config, with their ids."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for name, part in parts:
        yield from _texts(part, f"{key}::{name}" if key else str(name))


def _is_plain(value: Any) -> bool:
    """Return whether a value neither refers to others nor is evaluated."""
    if isinstance(value, str):
        return not value.startswith(("$", "@", "%"))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return not ConfigComponent.is_instantiable(value)
