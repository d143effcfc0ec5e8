"""Settings of a run, checked before it starts and recorded with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from medsize.model_errors import found_and_expected

__all__ = ["DERIVED", "RunSettings", "read_settings"]

Model = TypeVar("Model", bound=BaseModel)


def _not_as_text(value: Any) -> Any:
    if isinstance(value, str) and value.lower() != "true":
        raise ValueError("any text counts as true. Write True or False.")
    return value


# The config goes on with the values that it was given: none is accepted here that means something else there.
Switch = Annotated[bool, BeforeValidator(_not_as_text)]
Whole = Annotated[int, Strict()]
AtLeast1 = Annotated[Whole, Field(ge=1)]
Number = Annotated[float, Strict()]
DERIVED: dict[str, tuple[str, ...]] = {"num_classes": (), "region_mm": ("spacing", "roi_size")}
"""Settings that follow from the cohort or from other settings, and are faulty with these."""


class RunSettings(BaseModel):
    """
    Settings of a run, with the keys of ``settings`` in a bundle's ``train.yaml``.

    Those without ``exclude`` are recorded in ``summary.json``.
    """

    model_config = ConfigDict(extra="forbid")

    seed: Whole = 0
    supervision: str | None = None
    """See :meth:`medsize.data.Cohort.training_items`; ``None`` without training."""
    size_level: str = "slice"
    """See :meth:`medsize.data.Cohort.training_items`."""
    val_fold: Whole | None = Field(None, exclude=True)
    """The fold to validate on."""
    num_masks: Whole | None = None
    """Number of the first subjects whose masks are kept; ``None`` for all."""
    num_classes: Whole | None = Field(None, exclude=True)
    """K, with the background, of the network; ``None``: that of the cohort."""
    first_labels: str | None = None
    """Features of the first labels, see :class:`medsize.first_labels.SliceFeatures`; ``None`` without first labels."""
    init: str = "random"
    """See :func:`medsize.networks.initialise`."""
    checkpoint: Path | None = Field(None, exclude=True)
    """Weights that must exist before the run."""
    use_roi: Switch = Field(False, serialization_alias="roi")
    """Items are cropped to their roi."""
    orientation: str = Field("", exclude=True)
    """Codes of the axes that scans are turned to; empty: they stay as they are stored."""
    spacing: tuple[Number, ...] = ()
    """Spacing of the voxels that the network sees, mm."""
    roi_size: tuple[AtLeast1, ...] = ()
    """Size of the network's window, in these voxels."""
    halo: tuple[Whole, ...] = Field((), exclude=True)
    """Margin of a patch of a whole scan, in these voxels."""
    region_mm: tuple[Number, ...] = Field((), exclude=True)
    """Extent of the region given to the network along each axis, mm; negative for all of an axis."""
    data_list: Path | None = None
    bundle: Path | None = None
    """Folder of the bundle."""
    output_dir: Path | None = Field(None, exclude=True)
    """Folder of the run; ``None`` without training."""
    resume: Switch = Field(False, exclude=True)
    """Go on from the last checkpoint in ``output_dir``."""
    overwrite: Switch = Field(False, exclude=True)
    """Allow a new run in an ``output_dir`` that holds one."""
    organ_run: Path | None = None
    """Folder of the run that finds the organs that structures lie in; ``None``: the cohort has their masks."""
    cache_dir: Path | None = Field(None, exclude=True)
    """Folder of preprocessed scans, see :class:`medsize.data.PersistentCacheDataset`."""
    world_size: Whole = Field(1, exclude=True)
    """Number of processes that share the work."""

    def recorded(self) -> dict[str, Any]:
        """Return the settings that ``summary.json`` holds, under its names."""
        return self.model_dump(mode="json", by_alias=True)


def read_settings(model: type[Model], values: Mapping[str, Any] | Model) -> tuple[Model, list[str]]:
    """
    Read all valid settings, and collect the problems of the others.

    Args:
        model: :class:`RunSettings`, or another model whose keys all have a default.
        values: values by key, or settings that have been read.

    Returns:
        the settings, wrong ones left at their defaults; and a message for each wrong one.
    """
    try:
        return model.model_validate(values), []
    except ValidationError as e:
        errors = {str(error["loc"][0]): error for error in e.errors()}
        sound = {key: value for key, value in dict(values).items() if key not in errors}
        stated = {key: error for key, error in errors.items() if not errors.keys() & set(DERIVED.get(key, ()))}
        problems = [_describe(key, dict(values)[key], error, model) for key, error in stated.items()]
        return model.model_validate(sound), problems


def _describe(key: str, value: Any, error: Any, model: type[BaseModel]) -> str:
    if "ctx" not in error and (len(error["loc"]) > 1 or error["type"] == "tuple_type"):
        return f"{key} is {value!r}, expected a list of numbers."
    return found_and_expected({**error, "input": value}, key, model.model_fields)
