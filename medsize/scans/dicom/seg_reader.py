"""Masks from DICOM SEG. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK
from pydicom.dataelem import RawDataElement

from medsize.scans.dicom.header import PYDICOM_ERRORS, open_dicom, read_header
from medsize.scans.image_file import MAX_BYTES, check_memory
from medsize.scans.structure_name import choose_structure

__all__ = ["held_segments", "read_segment"]


def held_segments(file: Path) -> tuple[list[str], list[str]]:
    """Return the labels of a SEG's segments, in the order of their numbers, and a note on those without one."""
    labels = [label for _, label in _numbered(file, _open(file))]
    unnamed = labels.count("")
    notes = [f"{unnamed} segments without a name (SegmentLabel) were left out"] if unnamed else []
    return [label for label in labels if label], notes


def read_segment(
    file: Path, name: str, frame_of_reference: str | None = None, max_bytes: int = MAX_BYTES
) -> SimpleITK.Image:
    """
    Read the mask of one segment on the grid of the SEG. Slices that the SEG leaves out are empty.

    Of a FRACTIONAL segment, the voxels from 0.5 are inside.

    Args:
        file: the SEG.
        name: label of the segment, or the beginning of its label if no other label begins alike.
        frame_of_reference: UID of the image's frame of reference, which the SEG must be in. Default: any.
        max_bytes: memory that its voxels may take.

    Returns:
        1 inside, 0 elsewhere, uint8.

    Raises:
        ValueError: naming the file, when it is not a SEG, or does not hold the segment exactly once.
    """
    segments = _open(file)
    found_frame = segments.get("FrameOfReferenceUID")
    if frame_of_reference and found_frame and found_frame != frame_of_reference:
        raise ValueError(
            f"{file}: it was drawn in the frame of reference {found_frame}, but the image is in {frame_of_reference}. "
            "Use the SEG of this image, or register the two."
        )
    labels = [(label, number) for number, label in _numbered(file, segments) if label]
    if unknown := _undescribed(segments):
        raise ValueError(
            f"{file}: it has frames of the segments {unknown[:5]}, expected only those of its SegmentSequence. Export "
            "it again."
        )
    _, number = labels[choose_structure(file, name, [label for label, _ in labels])]
    check_memory(file, (segments.Columns, segments.Rows, segments.number_of_frames), 1, max_bytes)
    _check_length(file, segments)
    try:
        kind = np.float32 if segments.SegmentationType == "FRACTIONAL" else np.uint8
        volume = segments.get_volume(segment_numbers=[number], dtype=kind).squeeze_channel()
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: '{name}' cannot be read: {e}. Is the file complete?") from e
    return volume.with_array((volume.array >= 0.5).astype(np.uint8)).to_simpleitk()


def _check_length(file: Path, segments: highdicom.seg.Segmentation) -> None:
    """
    Refuse a SEG whose pixel data are not as long as its header says: its frames would be read from wrong places.

    Raises:
        ValueError: naming the file.
    """
    with open_dicom(file) as opened:
        dataset = pydicom.dcmread(opened, defer_size=1024)
        if dataset.file_meta.TransferSyntaxUID.is_compressed or "PixelData" not in dataset:
            return
        pixels = dataset.get_item("PixelData")
    found = pixels.length if isinstance(pixels, RawDataElement) else len(pixels.value)
    bits = segments.Rows * segments.Columns * segments.number_of_frames * int(segments.BitsAllocated)
    expected = -(-bits // 8)
    if found not in (expected, expected + 1):  # padded to an even number
        raise ValueError(
            f"{file}: found {found} bytes of pixel data, expected {expected} for {segments.number_of_frames} frames of "
            f"{segments.Columns} × {segments.Rows}. Export it again."
        )


def _numbered(file: Path, segments: highdicom.seg.Segmentation) -> list[tuple[int, str]]:
    """Return the numbers of the segments, without that of a label map's background, and their labels or ""."""
    try:
        labels = {int(item.SegmentNumber): item.get("SegmentLabel") or "" for item in segments.SegmentSequence}
        return [(number, str(labels.get(number, "")).strip()) for number in segments.segment_numbers if number != 0]
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: its segments cannot be read: {e}") from e


def _undescribed(segments: highdicom.seg.Segmentation) -> list[int]:
    """Return the numbers of segments that frames name, and the header does not describe."""
    groups = [
        *segments.get("SharedFunctionalGroupsSequence", ()),
        *segments.get("PerFrameFunctionalGroupsSequence", ()),
    ]
    named = {
        int(item.ReferencedSegmentNumber)
        for group in groups
        for item in group.get("SegmentIdentificationSequence") or ()
        if item.get("ReferencedSegmentNumber") is not None
    }
    return sorted(named - {int(item.SegmentNumber) for item in segments.SegmentSequence})


def _open(file: Path) -> highdicom.seg.Segmentation:
    try:
        header = read_header(file)
        if all("SegmentLabel" in segment for segment in header.get("SegmentSequence") or ()):
            packed = file.suffix.lower() == ".gz"
            return highdicom.seg.segread(open_dicom(file) if packed else file, lazy_frame_retrieval=True)
        with open_dicom(file) as opened:
            dataset = pydicom.dcmread(opened)
        for segment in dataset.SegmentSequence:  # highdicom requires a label
            segment.SegmentLabel = segment.get("SegmentLabel") or ""
        return highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: it cannot be read as DICOM SEG: {e}") from e
