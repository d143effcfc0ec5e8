"""Writing of predicted masks as DICOM SEG. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import SimpleITK
from matplotlib import colormaps
from pydicom import Dataset
from pydicom.sr.codedict import codes

from medsize import __version__
from medsize.files import atomic_write
from medsize.scans.dicom.header import PYDICOM_ERRORS, read_header
from medsize.scans.dicom.multiframe import open_multiframe
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.scan import FoundScan, ScanKind
from medsize.scans.space.grid import Grid, on_grid

__all__ = ["MAX_LABEL", "check_segment_labels", "source_headers", "write_dicom_seg"]

MAX_LABEL = 64
"""Largest number of characters that DICOM allows in the label of a segment."""
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes of patient and study that DICOM requires, even if empty; some exports leave them out."""


def check_segment_labels(structures: Sequence[str]) -> None:
    """
    Check that the structures' names can be labels of segments.

    Raises:
        ValueError: when DICOM does not allow a structure's name as the label of a segment.
    """
    wrong = [name for name in structures if not 0 < len(name) <= MAX_LABEL or "\\" in name or not name.isprintable()]
    if wrong:
        raise ValueError(
            f"DICOM SEG cannot hold the structure '{wrong[0]}': a label has 1 to {MAX_LABEL} characters, and neither "
            "backslash nor line break. Rename it in the run's inference.json."
        )


def write_dicom_seg(
    labels: SimpleITK.Image, scan: FoundScan, structures: Sequence[str], file: str | Path, model: str, digest: str
) -> None:
    """
    Write a label map as a binary DICOM SEG on the voxels of its scan, without resampling.

    A segment has the structure's name as its label. Its category and type are *Tissue* (SNOMED CT 85756007), since a
    name alone does not give a code. Each frame names the instance that it was made from. Patient, study and frame of
    reference are those of the scan, so that a PACS files the SEG with it.

    Args:
        labels: class indices. Their axes may differ from the scan's in order and direction.
        scan: a DICOM series or multi-frame file, see :func:`medsize.scans.find_scans.find_scans`.
        structures: names of the classes 1, 2, …; each becomes a segment, without a frame if it is absent.
        file: the file to write, whole or not at all.
        model: name of the model, written as that of the algorithm, with the version of medsize.
        digest: identifies the model, such as a hash of its weights; written as the serial number of the device.

    Raises:
        ValueError: naming the scan, when the labels lie on other voxels, or its headers do not suffice.
    """
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"medsize {model}"[:MAX_LABEL],
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        parameters={"weights_sha256": digest},
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            display_color=_color(number - 1),
        )
        for number, name in enumerate(structures, start=1)
    ]
    try:
        headers = source_headers(scan)
        voxels = _voxels(labels, scan)
        seg = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=voxels,
            omit_empty_frames=bool((voxels if isinstance(voxels, np.ndarray) else voxels.array).any()),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=highdicom.UID(),
            series_number=1000 + int(headers[0].get("SeriesNumber") or 0),
            series_description=f"medsize {model}"[:MAX_LABEL],
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medsize",
            manufacturer_model_name=f"medsize {model}"[:MAX_LABEL],
            software_versions=__version__,
            device_serial_number=digest[:MAX_LABEL],
            content_label="PREDICTION",
            content_description="Predicted by a network; not checked by a reader"[:MAX_LABEL],
            specific_character_set="ISO_IR 192",
        )
        with atomic_write(Path(file)) as partial:
            seg.save_as(partial)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{scan.source}: no DICOM SEG can be written for it: {e}") from e


def source_headers(scan: FoundScan) -> list[Dataset]:
    """Return the headers of a scan's files, with what DICOM requires of derived objects."""
    headers = [read_header(source) for source in scan.files]
    for header in headers:
        for keyword in MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, None)
    return headers


def _voxels(labels: SimpleITK.Image, scan: FoundScan) -> np.ndarray | highdicom.Volume:
    """Return the labels in the slices of the scan's files, or as a volume if one file holds all slices."""
    if scan.kind is ScanKind.SERIES:
        assert scan.grid is not None
        return on_grid(labels, scan.grid)
    frames = open_multiframe(scan.files[0], MAX_BYTES)[0].get_volume_geometry()
    if frames is None:
        raise ValueError("its frames make no volume")
    axes = frames.affine[:3, 2::-1]  # columns, rows, slices
    spacing = np.linalg.norm(axes, axis=0)
    grid = Grid(
        frames.spatial_shape[::-1], tuple(spacing), tuple(frames.affine[:3, 3]), tuple((axes / spacing).ravel())
    )
    return highdicom.Volume(
        on_grid(labels, grid),
        frames.affine,
        coordinate_system=frames.coordinate_system,
        frame_of_reference_uid=frames.frame_of_reference_uid,
    )


def _color(index: int) -> highdicom.color.CIELabColor:
    """Return the colour that viewers show first."""
    return highdicom.color.CIELabColor.from_rgb(*(int(c) for c in colormaps["tab10"](index % 10, bytes=True)[:3]))
