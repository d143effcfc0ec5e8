"""DICOM SEG of predictions, for the PACS."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from medsize.bundle.run_folder import WEIGHTS
from medsize.inference.output_folder import mask_file
from medsize.inference.segmentation import Segmentation
from medsize.scans.image_file import read_image_file
from medsize.scans.scan import FoundScan, ScanKind

__all__ = ["check_dicom_seg", "write_dicom_segs"]


def check_dicom_seg(scans: Iterable[FoundScan], structures: list[str]) -> None:
    """
    Refuse scans without a possible DICOM SEG, before anything is segmented.

    Args:
        scans: the scans.
        structures: names of the classes 1, 2, ….

    Raises:
        ValueError: when a package is missing, a name does not fit, or a scan is not DICOM.
    """
    try:
        from medsize.scans.dicom.seg_writer import check_segment_labels
    except ImportError as e:
        raise ValueError(f"DICOM SEG needs {e.name}: pip install 'medsize[dicom]'") from e
    check_segment_labels(structures)
    files = [scan.source for scan in scans if scan.kind in (ScanKind.FILE, ScanKind.PICTURE)]
    if files:
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise ValueError(
            f"{files[0]}{others}: found other files, expected DICOM series alone: a DICOM SEG names the images that it "
            "was made from. Leave --dicom-seg out, or give the DICOM series."
        )


def write_dicom_segs(segmentation: Segmentation, segmented: Mapping[str, FoundScan]) -> list[str]:
    """
    Write the masks of scans as ``dicom_seg/NAME.dcm``; return the problems of those that cannot be written.

    Args:
        segmentation: the network, and the folder of its masks.
        segmented: the scans, by name.
    """
    from medsize.scans.dicom.seg_writer import write_dicom_seg

    run, output_dir = segmentation.run, segmentation.output.folder
    digest = hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()[:16]
    problems = []
    for name, scan in segmented.items():
        file = output_dir / "dicom_seg" / f"{name}.dcm"
        if file.is_file():  # a second one, with other UIDs, would be filed beside it
            continue
        try:
            labels = read_image_file(mask_file(output_dir, name))
            write_dicom_seg(labels, scan, segmentation.structures, file, run.resolve().name, digest)
        except ValueError as e:
            problems.append(str(e))
    return problems
