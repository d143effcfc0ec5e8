"""Facts of a cohort that decide its plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict

from medsize.cohort.proposal import propose_dimensions, propose_settings
from medsize.data.cohort import Cohort
from medsize.data.load_cohort import load_cohort
from medsize.data.proposal import Proposal
from medsize.items import CohortItem
from medsize.scans.scan_facts import UNREADABLE, image_facts, image_place
from medsize.suggest import did_you_mean_path

__all__ = ["DATA_LIST", "OVERLAY", "CohortFacts", "CohortSource", "cohort_facts", "find_source"]

OVERLAY = "cohort.yaml"
DATA_LIST = "datalist.json"


class CohortSource(BaseModel):
    """Files of a cohort."""

    model_config = ConfigDict(frozen=True)

    data_list: Path
    dataset_dir: Path
    overlay: Path | None = None
    """Overlay of train.yaml that ``medsize init`` wrote; ``None`` for a data list alone."""
    proposed: dict[str, Any] = {}
    """Keys of the overlay."""
    sha256: str = ""
    """Hash of data list and overlay."""

    def load(self) -> Cohort:
        """
        Read the data list.

        Raises:
            DataListError: with its faults.
        """
        return load_cohort(self.data_list, self.dataset_dir, self.proposed.get("inside"))


class CohortFacts(BaseModel):
    """Facts of a cohort that decide its plan."""

    model_config = ConfigDict(frozen=True)

    scans: int
    subjects: int
    structures: tuple[str, ...]
    with_volume: int
    """Number of scans with a size of the whole scan."""
    with_slice_sizes: int
    with_mask: int
    with_scribble: int
    scribbles_of_folds: dict[int, int] = {}
    """Number of these in each fold: there they validate, and do not teach."""
    folds: tuple[int, ...] = ()
    """Folds to validate on; none if the data list has a section for validation."""
    training_scans: int
    """Number of scans to train on, in the fold that has the fewest of them."""
    dimensions: int
    """Dimensions of the bundle that fits."""
    why_dimensions: str
    window: tuple[int, ...]
    """Voxels of the region that the network is fed, along each axis of the bundle."""
    slices: int
    """Number of slices of a scan, in the middle of all."""
    are_pictures: bool = False
    """True if each scan has one slice."""
    why_fitted: str = ""
    """Reason why each picture is resized to fit the window; empty if none is."""
    spacing: tuple[float, ...] = ()
    """Mm of its voxels."""
    shares: dict[str, float] = {}
    """Share of the scan's view that each structure fills, in the middle of all scans that have it. Empty where they lie
    in known organs, so that nothing need be located."""
    with_roi: int = 0
    """Number of scans whose region of interest is a box; a point has no extent."""

    @property
    def is_3d(self) -> bool:
        """True if the bundle's networks are 3D."""
        return len(self.window) == 3

    @property
    def voxels_of_a_scan(self) -> int:
        """Voxels of the region in all slices of a scan."""
        return math.prod(self.window) * (1 if self.is_3d else self.slices)


def find_source(path: Path, dataset_dir: Path | None = None) -> CohortSource:
    """
    Find the files of a cohort.

    Args:
        path: the folder that ``medsize init`` wrote, its cohort.yaml, or a data list.
        dataset_dir: folder that the paths of a data list start from. Default: the data list's.

    Raises:
        ValueError: when there is no such cohort, or the overlay cannot be read or states another folder.
    """
    path = path.absolute()
    if path.is_dir():
        found = [path / name for name in (OVERLAY, DATA_LIST) if (path / name).is_file()]
        if not found:
            raise ValueError(
                f"{path}: found neither {OVERLAY} nor {DATA_LIST}, expected the folder that medsize init wrote. "
                "Prepare the scans by medsize init first, or name a data list."
            )
        path = found[0]
    if not path.is_file():
        raise ValueError(f"{path}: there is no such cohort.{did_you_mean_path(path)}")
    if path.suffix not in (".yaml", ".yml"):
        folder = path.parent if dataset_dir is None else dataset_dir.absolute()
        return CohortSource(data_list=path, dataset_dir=folder, sha256=_hash(path))
    try:
        proposed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as e:
        raise ValueError(
            f"{path}: it cannot be read: {' '.join(str(e).split())}. Write it again by medsize init."
        ) from e
    if not isinstance(proposed, dict) or "dataset_dir" not in proposed:
        raise ValueError(f"{path}: found no dataset_dir in it, expected an overlay that medsize init wrote. Name that.")
    folder = Path(proposed["dataset_dir"])
    if dataset_dir is not None and dataset_dir.absolute() != folder:
        raise ValueError(
            f"{path}: found the dataset_dir {folder}, expected {dataset_dir.absolute()} as in --dataset-dir. Correct "
            "one of them, or name the data list in place of the overlay."
        )
    data_list = Path(proposed.get("data_list", folder / DATA_LIST))
    hashed = _hash(path, data_list) if data_list.is_file() else ""
    return CohortSource(data_list=data_list, dataset_dir=folder, overlay=path, proposed=proposed, sha256=hashed)


def cohort_facts(source: CohortSource, cohort: Cohort, dimensions: int | None = None) -> CohortFacts:
    """
    Read the facts of a cohort.

    Args:
        source: its files.
        cohort: their content.
        dimensions: dimensions of the bundle, 2 or 3. Default: those of the overlay, else those that fit.

    Raises:
        ValueError: when a scan cannot be read.
    """
    try:
        depths = [image_facts(item["image"]).shape[-1] for item in cohort.items]
        fitting, reason = propose_dimensions(cohort)
        stated = len(source.proposed.get("spacing") or ())
        if dimensions is not None and stated not in (0, dimensions):
            raise ValueError(
                f"{source.overlay}: found a spacing for {stated}D, expected one for the {dimensions}D of --bundle. "
                f"Write it by medsize init --bundle size_seg_{dimensions}d, or leave --bundle out."
            )
        if stated in (2, 3) and stated != fitting:
            fitting, reason = stated, f"{OVERLAY} has a spacing for it"
        window, spacing = _window(cohort, source, dimensions or fitting)
        why_fitted = _why_fitted(cohort, source, len(window))
        shares = {} if cohort.organs else _shares(cohort)
    except UNREADABLE as e:
        raise ValueError(f"{source.data_list}: a scan cannot be read: {e}. See medsize check.") from e
    folds = () if cohort.has_validation_section else tuple(sorted({i["fold"] for i in cohort.items if "fold" in i}))
    training_scans = min((_training_scans(cohort, fold) for fold in folds), default=_training_scans(cohort, None))
    if not folds and not cohort.has_validation_section:
        raise ValueError(
            f"{source.data_list}: found no folds, expected scans to validate on. Give the items folds, or add a "
            "section 'validation'."
        )
    if not training_scans:
        where = "the section 'validation'" if cohort.has_validation_section else f"the fold {folds[0]}"
        raise ValueError(
            f"{source.data_list}: found all scans in {where}, expected some to train on. Add scans of other subjects."
        )
    scribbled = [item for item in cohort.items if "scribble" in item or "clicks" in item]
    return CohortFacts(
        scans=len(cohort.items),
        subjects=len({item["subject"] for item in cohort.items}),
        structures=cohort.class_names[1:],
        with_volume=sum(_states(item, "volume_mm3") for item in cohort.items),
        with_slice_sizes=sum(_states(item, "slice_area_mm2") for item in cohort.items),
        with_mask=sum("label" in item for item in cohort.items),
        with_scribble=len(scribbled),
        scribbles_of_folds={fold: sum(item.get("fold") == fold for item in scribbled) for fold in folds},
        folds=folds,
        training_scans=training_scans,
        dimensions=fitting,
        why_dimensions=reason,
        window=tuple(window),
        slices=int(np.median(depths)),
        are_pictures=set(depths) == {1},
        why_fitted=why_fitted,
        spacing=tuple(spacing),
        shares=shares,
        with_roi=sum("box_mm" in item.get("roi", {}) for item in cohort.items),
    )


def _states(item: CohortItem, key: Literal["volume_mm3", "slice_area_mm2"]) -> bool:
    """Return whether a scan states the size of any structure: an unknown one has no upper end."""
    return key in item and bool(torch.isfinite(item[key]).all(dim=0).any())


def _window(cohort: Cohort, source: CohortSource, dimensions: int) -> tuple[list[int], list[float]]:
    """Return the voxels of the window and their spacing: those of the overlay, else those that fit."""
    window, spacing = (source.proposed.get(key) or [] for key in ("roi_size", "spacing"))
    if len(window) != dimensions or len(spacing) != dimensions:
        proposed = {s.key: s.value for s in propose_settings(cohort, dimensions, [])}
        window, spacing = window if len(window) == dimensions else proposed["roi_size"], proposed["spacing"]
    return window, spacing


def _why_fitted(cohort: Cohort, source: CohortSource, dimensions: int) -> str:
    proposal = Proposal(cohort, dimensions)
    is_fitted = source.proposed.get("fit_to_window", True) and not source.proposed.get("tile_pictures")
    return proposal.reasons["fit_to_window"] if is_fitted and proposal.fit_to_window() else ""


def _shares(cohort: Cohort) -> dict[str, float]:
    """Return the share of the view that each structure fills, in the middle of the scans that have it."""
    found: dict[str, list[float]] = {name: [] for name in cohort.class_names[1:]}
    for item in cohort.items:
        if "volume_mm3" not in item:
            continue
        view = image_place(item["image"]).view_mm3
        for name, size in zip(found, item["volume_mm3"].reshape(2, -1).mean(dim=0).tolist(), strict=True):
            if math.isfinite(size) and size > 0:  # an unknown size has no upper end
                found[name].append(size / view)
    return {name: float(np.median(values)) for name, values in found.items() if values}


def _training_scans(cohort: Cohort, fold: int | None) -> int:
    return len(cohort.items) - len(cohort.validation_items(fold))


def _hash(*files: Path) -> str:
    parts: Sequence[bytes] = [file.read_bytes() for file in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
