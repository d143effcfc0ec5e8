"""Location of the regions of interest of a cohort by a network that was trained on whole scans."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from medsize.bundle.bundle_choice import bundle_dimensions, bundle_name
from medsize.bundle.overlay import Setting, write_overlay
from medsize.bundle.run.summary import inference_bundle
from medsize.bundle.segment_images import read_segmentation, segment_images
from medsize.checks.weights import check_weights
from medsize.data.load_cohort import load_cohort
from medsize.files import atomic_write, keep_inputs
from medsize.inference.located_window import window_settings

__all__ = ["LOCATED_BY", "Region", "find_region", "find_regions", "locate", "middle_of"]

LOCATED_BY = "located_by"
"""Key of a data list: the run whose network found its regions, and finds those of new scans."""
LEAST_PIECE = 0.25
"""Size of a connected piece, relative to the largest one, from which it counts: two kidneys, not a speck."""


class Region(NamedTuple):
    """Place of a scan's structures, all together."""

    center_mm: list[float]
    """Centre of mass in scanner mm (RAS+)."""
    extent_mm: list[float]
    """Mm along each axis of the image that a window around the centre needs to hold them."""


def locate(
    run: Path,
    data_list: Path,
    dataset_dir: Path,
    output: Path,
    bundle: Path | None = None,
    report: Callable[[str], None] = print,
    overlay: Path | None = None,
    middle_if_missed: bool = False,
) -> list[str]:
    """
    Write a copy of a data list with a ``roi`` for every scan, around the structures that a run's network finds.

    A second network, trained and applied on these regions (``use_roi``), sees them at a finer spacing, and less that
    may confuse it. No mask is used.

    Args:
        run: output folder of a run on whole scans, with any labels.
        data_list: data list of the cohort. A roi that it states is replaced.
        dataset_dir: folder that its paths and those of the new one start from.
        output: data list to write.
        bundle: bundle of the run. Default: the path that the run recorded.
        report: function that gets the command of MONAI that is run.
        overlay: overlay of train.yaml to write, for a training of the same bundle on the regions: the new data list,
            and a window as of :func:`medsize.inference.located_window.window_settings`. Default: none.
        middle_if_missed: take the middle of a scan in which the network finds nothing. If that is so in all of them,
            the window holds the whole scans.

    Returns:
        the images in which the network found nothing. They have no roi in the new data list, or their middle.

    Raises:
        ValueError: when the run is not finished or was cropped to regions of interest, or the data list is faulty, or
            an overlay is asked for and nothing was found.
        subprocess.CalledProcessError: when the inference fails.
    """
    bundle = inference_bundle(run, bundle, on_regions=": take a run on whole scans to find them.")
    for file in (output, overlay):
        if file is not None:
            keep_inputs(file, [data_list])
    cohort = load_cohort(data_list, dataset_dir)
    content = json.loads(data_list.read_text())
    items = content.get("training", []) + content.get("validation", [])
    images = [os.path.normpath(dataset_dir.resolve() / item["image"]) for item in items]
    regions = find_regions(run, bundle, images, report)
    missed = []
    for item, image, region in zip(items, images, regions, strict=True):
        item.pop("roi", None)
        if region is None:
            missed.append(item["image"])
        if region is not None or middle_if_missed:
            item["roi"] = {"center_mm": middle_of(image) if region is None else region.center_mm}
    content[LOCATED_BY] = str(run.absolute())
    with atomic_write(output) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
    if overlay is not None:
        if not any(regions) and not middle_if_missed:
            raise ValueError(
                f"{run}: its network found no structure in any of {len(images)} scans, expected some. Train it longer, "
                "or state the regions by hand."
            )
        extents = [None if region is None else region.extent_mm for region in regions]
        settings = window_settings(cohort, images, extents, bundle_dimensions(bundle))
        stated = Setting(
            "data_list",
            str(output.absolute()),
            f"a roi was found in {len(images) - len(missed)} of {len(images)} scans",
        )
        write_overlay(
            overlay,
            [stated, Setting("use_roi", True, "to look closer"), *settings],
            bundle_name(bundle),
            f"medsize locate {run}",
        )
    return missed


def find_region(mask_file: Path) -> Region | None:
    """
    Return the region of a mask's foreground, all structures together; ``None`` if there is none.

    Specks count for nothing: pieces of less than a quarter of the largest connected one.
    """
    labels, affine = read_segmentation(mask_file)
    pieces, count = ndimage.label(labels > 0)
    if count == 0:
        return None
    sizes = np.bincount(pieces.ravel())
    counts = sizes >= LEAST_PIECE * sizes[1:].max()
    counts[0] = False
    kept = counts[pieces]
    center = np.array(ndimage.center_of_mass(kept))
    ends = np.array([[s.start - 0.5, s.stop - 0.5] for s in ndimage.find_objects(kept.astype(np.uint8))[0]])
    extent = 2 * np.abs(ends - center[:, None]).max(axis=1) * voxel_sizes(affine)
    return Region(_rounded(apply_affine(affine, center)), _rounded(extent))


def middle_of(image_file: str | Path) -> list[float]:
    """Return the middle of a scan in scanner mm (RAS+)."""
    image = nibabel.load(image_file)
    return _rounded(apply_affine(image.affine, (np.array(image.shape[:3]) - 1) / 2))


def find_regions(
    run: Path, bundle: Path, images: Sequence[str], report: Callable[[str], None] = print
) -> list[Region | None]:
    """
    Return the regions that a run's network finds in images; ``None`` where it finds nothing.

    Args:
        run: output folder of a run on whole scans.
        bundle: its bundle.
        images: absolute paths of NIfTI files.
        report: function that gets the command of MONAI that is run.

    Raises:
        ValueError: when its weights are those of another network.
        subprocess.CalledProcessError: when the inference fails.
    """
    check_weights(run, bundle)
    with tempfile.TemporaryDirectory() as folder:
        return [find_region(mask) for mask in segment_images(run, bundle, images, Path(folder), report)]


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 2) for value in values]
