"""Writing of predicted volumes as DICOM SR, TID 1500. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import highdicom
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from medsize import __version__
from medsize.files import atomic_write
from medsize.scans.dicom.header import PYDICOM_ERRORS, read_header
from medsize.scans.dicom.seg_writer import MAX_LABEL, source_headers
from medsize.scans.scan import FoundScan

__all__ = ["PredictedVolume", "write_dicom_sr"]

OWN_CODES = "99MEDSIZE"
"""Coding scheme of structures, which have names and no codes, and of flags: private, as its 99 says."""
MILLILITRE = sr.CodedConcept("mL", "UCUM", "milliliter")
IMAGING = sr.CodedConcept("363679005", "SCT", "Imaging procedure")
FLAG = sr.CodedConcept("FLAG", OWN_CODES, "Plausibility of the prediction")


class PredictedVolume(NamedTuple):
    """Predicted volume of a structure."""

    structure: str
    volume_ml: float
    flag: str
    """Of the scan: ``ok``, ``look`` or ``reject``."""
    comment: str
    """Its interval, and doubts about it."""


def write_dicom_sr(
    volumes: Sequence[PredictedVolume], scan: FoundScan, seg: Path | None, file: Path, model: str, digest: str
) -> None:
    """
    Write the volumes of a scan's structures as a Comprehensive SR, an Imaging Measurement Report (TID 1500).

    Each structure is a group: its name as finding, *Volume* (SNOMED CT 118565006) in mL, the flag as a qualitative
    evaluation, the interval and doubts as a comment. Observer is a device; the report is not verified.

    Args:
        volumes: of the structures 1, 2, ….
        scan: the DICOM series or multi-frame file that was segmented.
        seg: DICOM SEG of the masks, whose segments the groups refer to. Default: none.
        file: the file to write, whole or not at all.
        model: name of the model.
        digest: identifies the model, such as a hash of its weights.

    Raises:
        ValueError: naming the scan, when its headers do not suffice.
    """
    name = f"medsize {model}"[:MAX_LABEL]
    try:
        headers = source_headers(scan)
        segmentation = None if seg is None else read_header(seg)
        observer = sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[digest]), name=name, manufacturer_name="medsize", serial_number=digest
        )
        report = sr.MeasurementReport(
            observation_context=sr.ObservationContext(
                observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
            ),
            procedure_reported=IMAGING,
            imaging_measurements=[
                _group(volume, number, segmentation, sr.AlgorithmIdentification(name, __version__, [digest]))
                for number, volume in enumerate(volumes, start=1)
            ],
        )
        document = sr.ComprehensiveSR(
            evidence=[*headers, *([] if segmentation is None else [segmentation])],
            content=report,
            series_instance_uid=highdicom.UID(),
            series_number=2000 + int(headers[0].get("SeriesNumber") or 0),
            series_description=name,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medsize",
            is_complete=True,
            specific_character_set="ISO_IR 192",
        )
        with atomic_write(file) as partial:
            document.save_as(partial)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{scan.source}: no DICOM SR can be written for it: {e}") from e


def _group(
    volume: PredictedVolume, number: int, segmentation: Dataset | None, algorithm: sr.AlgorithmIdentification
) -> Any:
    """Return the group of a structure; an empty segment has no frame that could be referred to."""
    code = hashlib.sha256(volume.structure.encode()).hexdigest()[:16].upper()
    group_of: Callable[..., Any] = sr.MeasurementsAndQualitativeEvaluations
    if segmentation is not None and volume.volume_ml > 0:
        segment = sr.ReferencedSegment.from_segmentation(segmentation, number)
        group_of = partial(sr.VolumetricROIMeasurementsAndQualitativeEvaluations, referenced_segment=segment)
    flag = sr.CodedConcept(volume.flag.upper(), OWN_CODES, volume.flag)
    group = group_of(
        tracking_identifier=sr.TrackingIdentifier(highdicom.UID(), volume.structure),
        finding_type=sr.CodedConcept(code, OWN_CODES, volume.structure),
        algorithm_id=algorithm,
        measurements=[sr.Measurement(codes.SCT.Volume, float(f"{volume.volume_ml:.6g}"), MILLILITRE)],
        qualitative_evaluations=[sr.QualitativeEvaluation(FLAG, flag)],
    )
    if volume.comment:  # TID 1411 and 1501 are extensible
        group[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, volume.comment, sr.RelationshipTypeValues.CONTAINS)
        )
    return group
