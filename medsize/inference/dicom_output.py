"""DICOM SEG and SR of predictions, for the PACS."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medsize.bundle.run.folder import WEIGHTS
from medsize.inference.output_folder import mask_file
from medsize.inference.segmentation import Segmentation
from medsize.metrics.conformal import whole_percent
from medsize.scans.image_file import read_image_file
from medsize.scans.scan import FoundScan, ScanKind
from medsize.units import size_text

__all__ = ["check_dicom_output", "write_dicom_segs", "write_dicom_srs"]


def check_dicom_output(kind: str, scans: Iterable[FoundScan], structures: list[str]) -> None:
    """
    Refuse scans without a possible DICOM SEG or SR, before anything is segmented.

    Args:
        kind: ``SEG`` or ``SR``.
        scans: the scans.
        structures: names of the classes 1, 2, ….

    Raises:
        ValueError: when a package is missing, a name does not fit, or a scan is not DICOM.
    """
    try:
        from medsize.scans.dicom.seg_writer import check_segment_labels
    except ImportError as e:
        raise ValueError(f"DICOM {kind} needs {e.name}: pip install 'medsize[dicom]'") from e
    check_segment_labels(structures)
    files = [scan.source for scan in scans if scan.kind in (ScanKind.FILE, ScanKind.PICTURE)]
    if files:
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise ValueError(
            f"{files[0]}{others}: found other files, expected DICOM series alone: a DICOM {kind} names the images that "
            f"it was made from. Leave --dicom-{kind.lower()} out, or give the DICOM series."
        )


def write_dicom_segs(segmentation: Segmentation, segmented: Mapping[str, FoundScan]) -> list[str]:
    """
    Write the masks of scans as ``dicom_seg/NAME.dcm``; return the problems of those that cannot be written.

    Args:
        segmentation: the network, and the folder of its masks.
        segmented: the scans, by name.
    """
    from medsize.scans.dicom.seg_writer import write_dicom_seg

    run, digest, problems = segmentation.run, _digest(segmentation), []
    for name, scan in segmented.items():
        file = _seg_file(segmentation, name)
        if file.is_file():  # a second one, with other UIDs, would be filed beside it
            continue
        try:
            labels = read_image_file(mask_file(segmentation.output.folder, name))
            write_dicom_seg(labels, scan, segmentation.structures, file, run.resolve().name, digest)
        except ValueError as e:
            problems.append(str(e))
    return problems


def write_dicom_srs(
    segmentation: Segmentation, segmented: Mapping[str, FoundScan], paths: Mapping[str, str], table: pd.DataFrame
) -> list[str]:
    """
    Write the volumes of scans as ``dicom_sr/NAME.dcm``; return the problems of those that cannot be written.

    A report that states the same already stays as it is.

    Args:
        segmentation: the network, and the folder of its masks. Reports refer to the SEG that are there.
        segmented: the scans, by name.
        paths: their paths.
        table: volumes with their intervals and flags.
    """
    from medsize.scans.dicom.header import read_header
    from medsize.scans.dicom.sr_writer import PredictedVolume, write_dicom_sr

    run, output, digest, problems = segmentation.run, segmentation.output, _digest(segmentation), []
    of_image = dict(list(table.groupby("image", sort=False)))
    for name, scan in segmented.items():
        file = output.folder / "dicom_sr" / f"{name}.dcm"
        seg = _seg_file(segmentation, name)
        rows = of_image[paths[name]].to_dict("records")
        volumes = [PredictedVolume(r["structure"], r["volume_ml"], r["flag"], _comment(r)) for r in rows]
        uid = str(read_header(seg).SOPInstanceUID) if seg.is_file() else None
        states = hashlib.sha256(json.dumps([volumes, uid]).encode()).hexdigest()
        if file.is_file() and output.scans[name].get("sr") == states:
            continue
        try:
            write_dicom_sr(volumes, scan, None if uid is None else seg, file, run.resolve().name, digest)
            output.scans[name]["sr"] = states
        except ValueError as e:
            problems.append(str(e))
    output.write_record()
    return problems


def _comment(row: Mapping[str, Any]) -> str:
    """Return what a report says about a volume, in words: DICOM has no code for an interval with its probability."""
    said = ["Predicted by a network for research use; not checked by a reader."]
    if not math.isnan(row["interval_level"]):
        percent = whole_percent(row["interval_level"])
        ends = f"{size_text(row['interval_low_ml'])} to {size_text(row['interval_high_ml'])} mL"
        said.append(f"{percent} % prediction interval: {ends}, if the scan is like those of the validation.")
    if row["lower_bound"]:
        said.append("The structure reaches the edge of the scan: the volume is a lower bound.")
    if row["reasons"]:
        said.append(f"Doubts: {row['reasons']}.")
    return " ".join(said)


def _seg_file(segmentation: Segmentation, name: str) -> Path:
    return segmentation.output.folder / "dicom_seg" / f"{name}.dcm"


def _digest(segmentation: Segmentation) -> str:
    """Return what identifies the weights in DICOM."""
    return hashlib.sha256((segmentation.run / WEIGHTS).read_bytes()).hexdigest()[:16]
