"""Location of the regions of interest of a cohort by a network that was trained on whole scans."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from medsize.bundle.run_command import run_command
from medsize.bundle.run_folder import INFERENCE, MASKS
from medsize.bundle.run_summary import inference_bundle
from medsize.data.cohort import load_cohort
from medsize.files import atomic_write

__all__ = ["center_of_largest", "locate"]


def locate(
    run: Path,
    data_list: Path,
    dataset_dir: Path,
    output: Path,
    bundle: Path | None = None,
    report: Callable[[str], None] = print,
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

    Returns:
        the images in which the network found nothing. They have no roi in the new data list.

    Raises:
        ValueError: when the run is not finished or was cropped to regions of interest, or the data list is faulty.
        subprocess.CalledProcessError: when the inference fails.
    """
    bundle = inference_bundle(run, bundle, on_regions=": take a run on whole scans to find them.")
    load_cohort(data_list, dataset_dir)
    content = json.loads(data_list.read_text())
    items = content.get("training", []) + content.get("validation", [])
    images = [os.path.normpath(dataset_dir.resolve() / item["image"]) for item in items]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder, "images.json")
        overlay.write_text(json.dumps({"images": images}))
        masks = Path(folder, MASKS)
        configs: list[str | Path] = ["inference.yaml", run / INFERENCE, overlay]
        command = run_command(bundle, configs, ["--output_dir", str(masks)])
        report(" ".join(["python", *command[1:]]))
        subprocess.run(command, check=True)
        root = os.path.commonpath([os.path.dirname(image) for image in images])
        for item, image in zip(items, images, strict=True):
            item.pop("roi", None)
            name = Path(os.path.relpath(image, root))
            stem = name.name.removesuffix(".gz").removesuffix(".nii")
            center = center_of_largest(masks / name.parent / f"{stem}_seg.nii.gz")
            if center is None:
                missed.append(item["image"])
            else:
                item["roi"] = {"center_mm": center}
    with atomic_write(output) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
    return missed


def center_of_largest(mask_file: Path) -> list[float] | None:
    """
    Return the centre of mass of the largest connected part of a mask's foreground, all structures together.

    Returns:
        scanner mm (RAS+), or None if there is no foreground.
    """
    mask = nibabel.load(mask_file)
    pieces, count = ndimage.label(np.asarray(mask.dataobj) > 0)
    if count == 0:
        return None
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    center = apply_affine(mask.affine, ndimage.center_of_mass(pieces == largest))
    return [round(float(c), 2) for c in center]
