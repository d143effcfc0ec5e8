"""Check of a run with noise in its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from medsize.bundle.run.settings import RunSettings, read_settings
from medsize.checks.run_check import check_run
from medsize.data.cohort import Cohort
from medsize.sizes.size_detail import SIZE_DETAILS
from medsize.sizes.size_noise import SIZE_NOISE_KINDS, find_size_noise
from medsize.transforms.perturb_mask import MASK_NOISES

__all__ = ["LabelNoise", "check_noisy_run"]


class LabelNoise(BaseModel):
    """Noise that a study adds to labels, with the keys of ``noise.yaml``."""

    model_config = ConfigDict(extra="forbid")

    size_detail: str = "given"
    """See :func:`medsize.sizes.with_size_detail`."""
    size_noise: str | None = None
    """See :func:`medsize.sizes.with_size_noise`."""
    size_noise_file: str | None = None
    """Model of errors, for ``size_noise: measured``."""
    mask_noise: str | None = None
    """See :class:`medsize.transforms.PerturbMask`."""
    noise_level: float = 0.0
    """Level of either noise."""
    noise_stated: bool = False
    """True if the sizes state it as their error."""
    num_clicked_scans: int | None = None
    """See :func:`medsize.studies.clicked_scans.keep_clicks`."""

    @field_validator("size_detail")
    @classmethod
    def _detail_exists(cls, detail: str) -> str:
        if detail not in SIZE_DETAILS:
            raise ValueError(f"it must be one of {', '.join(SIZE_DETAILS)}.")
        return detail

    @field_validator("size_noise", "mask_noise")
    @classmethod
    def _noise_exists(cls, noise: str | None, info: ValidationInfo) -> str | None:
        known = SIZE_NOISE_KINDS if info.field_name == "size_noise" else MASK_NOISES
        if noise is not None and noise not in known:
            raise ValueError(f"it must be null or one of {', '.join(known)}.")
        return noise

    @field_validator("noise_level")
    @classmethod
    def _is_not_negative(cls, level: float) -> float:
        if level < 0:
            raise ValueError("it must not be negative.")
        return level

    @field_validator("num_clicked_scans")
    @classmethod
    def _is_a_number_of_scans(cls, num_scans: int | None) -> int | None:
        if num_scans is not None and num_scans < 0:
            raise ValueError("it must be a number of scans, or null for all.")
        return num_scans


def check_noisy_run(cohort: Cohort, settings: RunSettings | Mapping[str, Any], noise: Mapping[str, Any]) -> None:
    """
    Check a run like :func:`medsize.checks.check_run`, and the noise in its labels.

    Args:
        cohort: cohort to train and validate on.
        settings: settings of the run.
        noise: values of :class:`LabelNoise`, by key.

    Raises:
        RunRefused: with one message that lists all problems.
    """
    read, problems = read_settings(LabelNoise, noise)
    cache_dir = read_settings(RunSettings, settings)[0].cache_dir
    if read.mask_noise is not None and cache_dir is not None:
        # Scans from the cache never pass PerturbMask, which measures what it does.
        problems.append(
            f"mask_noise is '{read.mask_noise}': its masks are made and measured in each run. Set cache_dir to null."
        )
    if read.size_noise is not None:
        try:
            find_size_noise(read.size_noise, read.size_noise_file)
        except ValueError as e:
            problems.append(str(e))
    check_run(cohort, settings, problems)
