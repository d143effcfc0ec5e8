"""Regions of training items: the organs that structures lie in, found by a run's network where no mask is known."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import torch
from scipy import ndimage

from medsize.bundle.run.folder import WEIGHTS
from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import inference_bundle
from medsize.bundle.segment_images import read_segmentation, segment_images
from medsize.checks.findings import Finding, RunRefused
from medsize.checks.scans import region_faults
from medsize.checks.weights import check_weights
from medsize.data.cohort import Cohort
from medsize.data.content_hash import content_hash, file_states
from medsize.files import atomic_write, bare_name
from medsize.items import TrainingItem
from medsize.scans.scan_facts import image_facts
from medsize.suggest import did_you_mean

__all__ = ["open_regions", "organ_run_problems"]

FOLDER = "organs"


def open_regions(
    items: Sequence[TrainingItem],
    cohort: Cohort,
    output_dir: str | Path,
    organ_run: str | Path | None = None,
    rank: int = 0,
) -> list[TrainingItem]:
    """
    Complete training items in a config: each gets a ``region`` if the cohort's structures lie in organs.

    Organs without a mask are found by the network of a run. Holes in their slices are filled, as a network may take
    lesions for something else. The masks are kept below ``output_dir``, and found there again.

    Args:
        items: training items of the cohort.
        cohort: the cohort.
        output_dir: folder of the training.
        organ_run: output folder of a run that segments the organs. Default: the cohort has all masks.
        rank: number of this process; the first one finds the organs. Defaults to 0.

    Raises:
        RunRefused: with one message, when organs cannot be found, or are too small for what lies in them.
    """
    lacking = [item for item in items if "region" not in item]
    if not cohort.organs or organ_run is None or not lacking:
        return list(items)
    run = Path(organ_run)
    organs = list(dict.fromkeys(cohort.organs))
    folder = Path(output_dir, FOLDER, content_hash([str(run), file_states({"weights": str(run / WEIGHTS)})])[:12])
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    try:
        if rank == 0:
            _find_organs(run, [item["image"] for item in lacking], organs, folder)
    except (ValueError, OSError, subprocess.CalledProcessError) as e:
        raise RunRefused([Finding("organ_run", str(e))]) from e
    finally:
        if distributed:
            torch.distributed.barrier()
    found: list[TrainingItem] = []
    problems = []
    for item in items:
        if "region" not in item:
            item = cast("TrainingItem", {**item, "region": [_file(folder, o, item["image"]) for o in cohort.organs]})
            problems += list(_problems(item, run))
        found.append(item)
    if problems:
        raise RunRefused([Finding("organ_run", problem) for problem in problems])
    return found


def organ_run_problems(run: Path, organs: Sequence[str]) -> list[str]:
    """Return why the organs cannot be found by a run."""
    try:
        _, structures = _organ_finder(run)
    except (ValueError, OSError, KeyError) as e:
        return [f"organ_run: {e}"]
    return [
        f"organ_run {run} segments {', '.join(structures)}, expected '{organ}', as inside says."
        f"{did_you_mean(organ, structures)} Name a run that segments it."
        for organ in dict.fromkeys(organs)
        if organ not in structures
    ]


def _organ_finder(run: Path) -> tuple[Path, list[str]]:
    """Return the bundle that applies a run to whole scans, and the structures that the run segments."""
    bundle = inference_bundle(run, None, ": take a run on whole scans to find organs.")
    check_weights(run, bundle)
    return bundle, inference_settings(run)["structures"]


def _file(folder: Path, organ: str, image: str) -> str:
    """Return the mask of an organ that was found in an image."""
    return str(folder / organ / f"{bare_name(image)}_{content_hash(os.path.abspath(image))[:8]}.nii.gz")


def _find_organs(run: Path, images: Sequence[str], organs: Sequence[str], folder: Path) -> None:
    """Write the masks of the organs in images, unless they exist already."""
    new = [os.path.abspath(i) for i in images if not all(os.path.isfile(_file(folder, o, i)) for o in organs)]
    if not new:
        return
    bundle, structures = _organ_finder(run)
    with tempfile.TemporaryDirectory() as temporary:
        for image, mask in zip(new, segment_images(run, bundle, new, Path(temporary)), strict=True):
            classes, affine = read_segmentation(mask)
            for organ in organs:
                inside = classes == 1 + structures.index(organ)
                filled = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(inside, -1, 0)], axis=-1)
                with atomic_write(Path(_file(folder, organ, image))) as partial:
                    nibabel.save(nibabel.Nifti1Image(filled.astype(np.uint8), affine), partial)


def _problems(item: TrainingItem, run: Path) -> Iterator[str]:
    for problem in region_faults(item, image_facts(item["image"])):
        yield f"{problem} It was found by {run}; a mask in 'organs' goes before it."
