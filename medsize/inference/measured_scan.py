"""Measurement of a segmented scan: each structure's volume, the scan's flag, and a slice to show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import nibabel
import numpy as np

from medsize.bundle.segment_images import read_segmentation
from medsize.inference.output_folder import OutputFolder, mask_file
from medsize.inference.report.page import Panel
from medsize.metrics.reliability import CohortFacts, Reliability, StructureFacts, reliability, structure_facts
from medsize.pictures import fullest_slice
from medsize.units import MM3_PER_ML

__all__ = ["MeasuredScan", "measure_scan"]


class MeasuredScan(NamedTuple):
    """A segmented scan."""

    structures: Mapping[str, StructureFacts]
    scan_ml: float
    """Volume of the whole scan."""
    reliability: Reliability


def measure_scan(
    output: OutputFolder, name: str, structures: list[str], cohort: CohortFacts
) -> tuple[MeasuredScan, Panel]:
    """
    Measure a finished scan; return also the slice along the last axis that shows most of its mask.

    Args:
        output: folder of its image and mask.
        name: its name.
        structures: names of the classes 1, 2, ….
        cohort: values of the scans that the run was validated on.
    """
    image = nibabel.load(output.images / f"{name}.nii.gz")
    spacing = image.header.get_zooms()[:3]
    labels, _ = read_segmentation(mask_file(output.folder, name))
    voxel_ml = math.prod(map(float, spacing)) / MM3_PER_ML
    record = output.scans[name]
    confidences = record.get("confidence", {})
    found = {
        structure: structure_facts(labels == k, voxel_ml)._replace(confidence=confidences.get(structure))
        for k, structure in enumerate(structures, start=1)
    }
    z = fullest_slice(labels)
    plane = np.asarray(image.dataobj[..., z], dtype=np.float32)
    panel = Panel(name, plane, labels[..., z], spacing[:2])
    scan_ml = labels.size * voxel_ml
    return MeasuredScan(found, scan_ml, reliability(found, record.get("facts", {}), cohort)), panel
