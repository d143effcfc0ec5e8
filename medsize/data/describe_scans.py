"""Write data lists: sizes, folds and regions of interest from scans that have masks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from rich.progress import track

from medsize.data.data_list import write_data_list
from medsize.files import atomic_write, is_newer
from medsize.sizes.mask_sizes import describe_mask, read_mask
from medsize.transforms.click_from_mask import ClickFromMask

__all__ = ["describe_scans", "write_clicks"]


def write_clicks(mask_file: Path, click_file: Path) -> None:
    """Write one simulated click per class and slice as a scribble file; keep a file that is newer than the mask."""
    if is_newer(click_file, mask_file):
        return
    labels = read_mask(mask_file)
    clicks = np.asarray(ClickFromMask(per_slice=True)(labels)[0]).astype(np.uint8)
    with atomic_write(click_file) as file:
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

    A later call measures only the masks that have changed.

    Args:
        data_list: file to write.
        dataset_dir: folder that the paths in ``scans`` start from.
        scans: items with ``image``, ``label``, ``subject``, ``fold`` and any other keys of the data list.
        class_names: all classes, the background first.
        roi_shift_mm: see :func:`describe_mask`.
        click_dir: folder to write simulated clicks to, which become the scans' ``scribble``. Default: none.
        seed: seed of the shifts.
        top_level: further entries of the data list.
    """
    settings: dict[str, Any] = {"roi_shift_mm": roi_shift_mm, "seed": seed, "class_names": list(class_names)}
    hashes: dict[str, str] = {}
    measured: dict[tuple[str, str], dict[str, Any]] = {}
    if data_list.is_file():
        previous = json.loads(data_list.read_text())
        earlier = previous.get("measured_with", {})
        known = earlier.get("sha256", {})
        if earlier == {**settings, "sha256": known}:
            measured = {
                (item["label"], known[item["label"]]): {
                    key: item[key] for key in ("size", "slice_size", "roi") if key in item
                }
                for item in previous["training"]
            }
    items = []
    for number, scan in enumerate(track(scans, description="measuring masks")):
        label = scan["label"]
        mask_file = dataset_dir / label
        # The same path may lead to another mask: times do not tell, as copies keep theirs.
        hashes[label] = hashlib.sha256(mask_file.read_bytes()).hexdigest()
        entry = measured.get((label, hashes[label]))
        is_known = entry is not None
        if entry is None:
            entry = describe_mask(mask_file, class_names, roi_shift_mm, np.random.default_rng([seed, number]))
        item = {**scan, **entry}
        if click_dir is not None:
            click_file = click_dir / mask_file.name
            if not is_known:
                click_file.unlink(missing_ok=True)
            write_clicks(mask_file, click_file)
            item["scribble"] = os.path.relpath(click_file, dataset_dir)
        items.append(item)
    settings["sha256"] = hashes
    write_data_list(data_list, class_names, items, size_unit="mm3", measured_with=settings, **top_level)
