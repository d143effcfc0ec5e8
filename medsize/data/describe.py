"""Write data lists: sizes, folds and regions of interest from scans that have masks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.data import MetaTensor
from rich.progress import track

from medsize.data.whole_file import written_whole
from medsize.transforms.click_from_mask import ClickFromMask
from medsize.transforms.compute_size_target import ComputeSizeTarget

__all__ = ["assign_folds", "describe_mask", "describe_scans", "write_clicks", "write_data_list"]


def describe_mask(
    mask_file: Path,
    class_names: Sequence[str],
    roi_shift_mm: float | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Any]:
    """
    What a mask says of a scan, as entries of a data list.

    Args:
        mask_file: mask of class indices, NIfTI.
        class_names: all classes, the background first.
        roi_shift_mm: also state a ``roi`` around the foreground's centre, shifted at random by up to so many mm along
            each scanner axis, as a single click would give it.
        rng: source of the shift.

    Returns:
        ``size`` (mm³ per structure), ``slice_size`` (mm² per structure and slice along the last axis), and ``roi``.
    """
    labels = _read_mask(mask_file)
    volumes = ComputeSizeTarget(len(class_names))(labels)
    areas = ComputeSizeTarget(len(class_names), per_slice=True)(labels)
    structures = class_names[1:]
    entry: dict[str, Any] = {
        "size": {name: round(float(v), 3) for name, v in zip(structures, volumes, strict=True)},
        "slice_size": {
            name: [round(float(a), 3) for a in by_slice] for name, by_slice in zip(structures, areas, strict=True)
        },
    }
    if roi_shift_mm is not None:
        foreground = np.argwhere(np.asarray(labels[0]) > 0)
        middle = (
            (foreground.min(axis=0) + foreground.max(axis=0)) / 2 if len(foreground) else np.array(labels.shape[1:]) / 2
        )
        shift = (rng or np.random.default_rng(0)).uniform(-roi_shift_mm, roi_shift_mm, size=3)
        # The shift stays in the plane of the slices, where the crop is made, and a click stays on the image.
        affine = labels.affine.numpy()
        shifted = middle + (np.linalg.inv(affine[:3, :3]) @ shift) * [1, 1, 0]
        clicked = np.clip(shifted, 0, np.array(labels.shape[1:]) - 1)
        center = affine[:3, :3] @ clicked + affine[:3, 3]
        entry["roi"] = {"center_mm": [round(float(c), 2) for c in center]}
    return entry


def _read_mask(mask_file: Path) -> MetaTensor:
    """Class indices ``(1, *spatial)``, int64."""
    mask = nibabel.load(mask_file)
    return MetaTensor(
        np.asarray(mask.dataobj)[None].astype(np.int64),
        affine=mask.affine,
        meta={"filename_or_obj": str(mask_file)},
    )


def write_clicks(mask_file: Path, click_file: Path) -> None:
    """Write one simulated click per class and slice as a scribble file; a file that is there already is kept."""
    if click_file.is_file():
        return
    labels = _read_mask(mask_file)
    clicks = np.asarray(ClickFromMask(per_slice=True)(labels)[0]).astype(np.uint8)
    with written_whole(click_file) as file:
        nibabel.save(nibabel.Nifti1Image(clicks, labels.affine.numpy()), file)


def describe_scans(
    data_list: Path,
    dataset_dir: Path,
    scans: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    roi_shift_mm: float | None = None,
    click_dir: Path | None = None,
    seed: int = 0,
    **top_level: Any,
) -> None:
    """
    Measure the masks of scans and write their data list.

    Run again, it measures only masks that changed since.

    Args:
        data_list: file to write.
        dataset_dir: folder that the paths in ``scans`` start from.
        scans: items with ``image``, ``label``, ``subject``, ``fold`` and whatever else the data list shall hold.
        class_names: all classes, the background first.
        roi_shift_mm: see :func:`describe_mask`.
        click_dir: folder to write simulated clicks to, which become the scans' ``scribble``. Default: none.
        seed: seed of the shifts.
        top_level: further entries of the data list.
    """
    settings = {"roi_shift_mm": roi_shift_mm, "seed": seed, "class_names": list(class_names)}
    measured: dict[str, dict[str, Any]] = {}
    if data_list.is_file():
        previous = json.loads(data_list.read_text())
        if previous.get("measured_with") == settings:
            written = data_list.stat().st_mtime
            measured = {
                item["label"]: {key: item[key] for key in ("size", "slice_size", "roi") if key in item}
                for item in previous["training"]
                if (dataset_dir / item["label"]).stat().st_mtime < written
            }
    items = []
    for number, scan in enumerate(track(scans, description="measuring masks")):
        mask_file = dataset_dir / scan["label"]
        entry = measured.get(scan["label"]) or describe_mask(
            mask_file, class_names, roi_shift_mm, np.random.default_rng([seed, number])
        )
        item = {**scan, **entry}
        if click_dir is not None:
            click_file = click_dir / mask_file.name
            write_clicks(mask_file, click_file)
            item["scribble"] = os.path.relpath(click_file, dataset_dir)
        items.append(item)
    write_data_list(data_list, class_names, items, size_unit="mm3", measured_with=settings, **top_level)


def assign_folds(subjects: Sequence[str], num_folds: int) -> dict[str, int]:
    """Fold of each subject: the subjects in sorted order are dealt out in turn."""
    return {subject: i % num_folds for i, subject in enumerate(sorted(set(subjects)))}


def write_data_list(
    path: Path, class_names: Sequence[str], items: Sequence[Mapping[str, Any]], **top_level: Any
) -> None:
    """Write a data list under its final name only when it is complete."""
    content = {
        "labels": {str(k): name for k, name in enumerate(class_names)},
        **top_level,
        "numTraining": len(items),
        "training": list(items),
    }
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
