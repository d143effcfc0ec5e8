"""Flags of predictions, *ok*, *look* or *reject*, by the values of the scans that a run was validated on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from medsize.bundle.run_folder import MASKS, VOLUMES
from medsize.files import atomic_write
from medsize.inference.segmentation import Segmentation, image_name, mask_file
from medsize.metrics.reliability import CohortFacts, Reliability, reliability, structure_facts
from medsize.scans.file_facts import file_facts
from medsize.scans.scan_header import scan_header
from medsize.units import MM3_PER_ML

__all__ = ["flag_scans", "told_flags", "write_flags"]


def flag_scans(segmentation: Segmentation, names: Sequence[str]) -> dict[str, Reliability]:
    """
    Return the flag of each segmented scan, by name.

    Args:
        segmentation: the network, and the folder of its masks.
        names: of the scans.
    """
    settings = segmentation.settings
    cohort = CohortFacts.read(settings.get("cohort_facts", {}))
    flags = {}
    for name in names:
        file = segmentation.images / f"{name}.nii.gz"
        image = file_facts(file, settings.get("intensity_window"))
        labels = np.asarray(nibabel.load(mask_file(segmentation.output_dir, name)).dataobj)
        voxel_ml = math.prod(scan_header(file)[0]) / MM3_PER_ML  # of the scan: a mask of one slice has two axes
        found = {
            structure: structure_facts(labels == k, voxel_ml)
            for k, structure in enumerate(segmentation.structures, start=1)
        }
        flags[name] = reliability(found, image, cohort)
    return flags


def write_flags(output_dir: Path, flags: Mapping[str, Reliability]) -> None:
    """
    Add ``flag``, ``reasons`` and ``not_checked`` of each scan to ``masks/volumes.json``, but for the last to ``.csv``.

    Args:
        output_dir: folder of the predictions.
        flags: by name of the scan.
    """
    file = output_dir / MASKS / VOLUMES
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    of_rows = [flags[image_name(Path(image))] for image in table["image"]]
    table = table.assign(flag=[f.flag for f in of_rows], reasons=["; ".join(f.reasons) for f in of_rows])
    with atomic_write(file) as partial:
        table.to_csv(partial, index=False)
    file = file.with_suffix(".json")
    if not file.exists():  # bundles of earlier versions write none
        return
    volumes = json.loads(file.read_text())
    for scan in volumes["scans"]:
        of_scan = flags[image_name(Path(scan["image"]))]
        scan |= {"flag": of_scan.flag, "reasons": of_scan.reasons, "not_checked": of_scan.not_checked}
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(volumes, indent=1))


def told_flags(flags: Mapping[str, Reliability]) -> list[str]:
    """Return the lines of a summary: the number of scans with each flag, the reasons, and the checks not made."""
    counts = Counter(of_scan.flag for of_scan in flags.values())
    lines = ["scans: " + ", ".join(f"{counts[flag]} {flag}" for flag in ("ok", "look", "reject") if counts[flag])]
    lines += [
        f"{name}: {of_scan.flag}: {'; '.join(of_scan.reasons)}" for name, of_scan in flags.items() if of_scan.reasons
    ]
    checks = Counter(check for of_scan in flags.values() for check in of_scan.not_checked)
    if checks:
        lines.append("could not be checked: " + "; ".join(checks) + ": the run has recorded no such values")
    return lines
