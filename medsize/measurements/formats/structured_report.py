"""
DICOM Structured Reports of measurements, TID 1500. Needs pydicom (``pip install 'medsize[dicom]'``).

Source: DICOM PS3.16, https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_A.html: TID 1500
"Measurement Report", TID 1501 "Measurement and Qualitative Evaluation Group", TID 1410 and 1411 (planar and volumetric
ROI), TID 300 "Measurement", TID 320 (coordinates of a measurement). Coordinates: PS3.3, C.18.6 (SCOORD: columns and
rows, 0 at the outer corner of the first pixel) and C.18.9 (SCOORD3D: mm, LPS).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medsize.measurements.measurement import Measurement, Place, Readings
from medsize.measurements.ucum import AREA, LENGTH, VOLUME, in_mm
from medsize.scans.dicom.header import PYDICOM_ERRORS, read_header
from medsize.units import lps_to_ras

__all__ = ["read_structured_report"]

MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER, TRACKING_UID = Code("112039", "DCM", ""), Code("112040", "DCM", "")
FINDING, FINDING_SITE = codes.DCM.Finding, codes.SCT.FindingSite
LATERALITY = Code("272741003", "SCT", "Laterality")
SOURCE_SERIES = Code("121232", "DCM", "Source series for segmentation")
GENERIC = (
    codes.SCT.Organ,
    Code("85756007", "SCT", "Tissue"),
    Code("91723000", "SCT", "Anatomical structure"),
    Code("123037004", "SCT", "Body structure"),
    Code("49755003", "SCT", "Morphologically abnormal structure"),
)
"""Findings that say less than their site."""
VOLUMES = (codes.SCT.Volume,)
AREAS = (codes.SCT.Area,)
AXES = (
    (codes.SCT.LongAxis, codes.SCT.ShortAxis),
    (codes.SCT.Length, codes.SCT.Width, codes.DCM.Height, codes.SCT.Depth),
    (codes.SCT.Diameter,),
)
"""Diameters that belong together. The first kind that a group states counts."""


TOOL = re.compile(r"@|cornerstone", re.IGNORECASE)
"""Tracking identifiers that name the viewer's tool, the same for all lesions: ``Cornerstone3DTools@^0.1.0:Length``."""


@dataclass
class _Group:
    """Contents of a measurement group."""

    finding: Any = None
    site: str = ""
    laterality: str = ""
    identifier: str = ""
    tracking_uid: str = ""
    numbers: list[tuple[Code | None, float, str]] = field(default_factory=list)
    """Concept, value and unit."""
    coordinates: list[Any] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    frames_of_reference: list[str] = field(default_factory=list)


def read_structured_report(file: Path) -> Readings:
    """
    Read the measurements of a DICOM SR.

    A group becomes a measurement: its volume, else its diameters; and its coordinates as places. The structure is the
    finding or, if that is missing or says little, such as "Organ", its site; a finding with a site is both, as in
    "Liver Neoplasm".

    Raises:
        ValueError: when the file cannot be read.
    """
    try:
        dataset = read_header(file)
        return _read(file, dataset)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: it cannot be read as DICOM SR: {e}. Export it again.") from e


def _read(file: Path, dataset: Any) -> Readings:
    readings = Readings()
    if "ContentSequence" not in dataset:
        kind = getattr(dataset.get("SOPClassUID"), "name", "DICOM of an unknown kind")
        readings.left_out.append(f"{file}: it is {kind}, expected a structured report of measurements, TID 1500.")
        return readings
    title = _code(dataset, "ConceptNameCodeSequence")
    templates = [str(item.get("TemplateIdentifier")) for item in dataset.get("ContentTemplateSequence") or ()]
    if title != MEASUREMENT_REPORT and "1500" not in templates:
        named = title.meaning if title is not None else "without a title"
        readings.left_out.append(
            f"{file}: it is a structured report ({named}), expected one of measurements, TID 1500."
        )
        return readings
    series_of = dict(_evidence(dataset))
    groups = list(_groups(dataset))
    for number, item in enumerate(groups, start=1):
        group = _Group()
        _collect(item, group)
        name = group.identifier or group.tracking_uid
        where = f"group {number}" + (f" '{name}'" if name else "")
        try:
            measurement = _measurement(file, where, group, series_of, str(dataset.get("PatientID") or "").strip())
        except ValueError as e:
            readings.problems.append(f"{file}, {where}: {e}. Correct the report, or leave it out.")
            continue
        if measurement is None:
            readings.left_out.append(f"{file}, {where}: it states no volume, no diameter and no place.")
        else:
            readings.measurements.append(measurement)
    if not groups:
        readings.left_out.append(f"{file}: the report holds no group of measurements.")
    return readings


def _groups(item: Any) -> Iterator[Any]:
    for child in item.get("ContentSequence") or ():
        if child.get("ValueType") == "CONTAINER":
            if _code(child, "ConceptNameCodeSequence") == GROUP:
                yield child
            else:
                yield from _groups(child)


def _collect(item: Any, group: _Group) -> None:
    """Add the contents of a group, and of what they are inferred from."""
    for child in item.get("ContentSequence") or ():
        kind, concept = child.get("ValueType"), _code(child, "ConceptNameCodeSequence")
        if kind == "TEXT" and concept == TRACKING_IDENTIFIER:
            group.identifier = str(child.TextValue).strip()
        elif kind == "UIDREF" and concept == TRACKING_UID:
            group.tracking_uid = str(child.UID)
        elif kind == "UIDREF" and concept == SOURCE_SERIES:
            group.series.append(str(child.UID))
        elif kind == "CODE" and concept == FINDING:
            group.finding = _code(child, "ConceptCodeSequence")
        elif kind == "CODE" and concept == FINDING_SITE:
            site = _code(child, "ConceptCodeSequence")
            group.site = group.site or (site.meaning if site is not None else "")
            sides = [c for c in child.get("ContentSequence") or () if _code(c, "ConceptNameCodeSequence") == LATERALITY]
            side = _code(sides[0], "ConceptCodeSequence") if sides else None
            group.laterality = group.laterality or (side.meaning if side is not None else "")
        elif kind == "NUM":
            for value in (child.get("MeasuredValueSequence") or ())[:1]:
                unit = _code(value, "MeasurementUnitsCodeSequence")
                group.numbers.append((concept, float(value.NumericValue), unit.value if unit is not None else ""))
        elif kind in ("SCOORD", "SCOORD3D"):
            group.coordinates.append(child)
            if named := child.get("ReferencedFrameOfReferenceUID"):
                group.frames_of_reference.append(str(named))
        elif kind == "IMAGE":
            group.instances += [str(i.ReferencedSOPInstanceUID) for i in child.get("ReferencedSOPSequence") or ()]
        if kind in ("NUM", "SCOORD", "SCOORD3D", "IMAGE", "CODE"):
            _collect(child, group)


def _measurement(file: Path, where: str, group: _Group, series_of: dict[str, str], subject: str) -> Measurement | None:
    volumes = [in_mm(value, unit, VOLUME) for concept, value, unit in group.numbers if concept in VOLUMES]
    diameters: list[float] = []
    for axes in AXES:
        found = [(axes.index(concept), value, unit) for concept, value, unit in group.numbers if concept in axes]
        if found and not diameters:
            diameters = [in_mm(value, unit, LENGTH) for _, value, unit in sorted(found, key=lambda f: f[0])]
    for concept, value, unit in group.numbers:
        if concept in AREAS:
            in_mm(value, unit, AREA)  # a wrong unit says that the report is not to be trusted
    places = [place for item in group.coordinates for place in _places(item)]
    if len(volumes) > 1 or len(diameters) > 3:
        raise ValueError(f"found {len(volumes)} volumes and {len(diameters)} diameters in one group, expected one size")
    if any(value <= 0 for value in diameters) or any(value < 0 for value in volumes):
        raise ValueError("found a size of 0 or below, expected more")
    if not (volumes or diameters or places):
        return None
    named = [series_of[i] for i in group.instances if i in series_of] + group.series
    return Measurement(
        file=file,
        where=where,
        structure=_structure(group),
        volume_mm3=volumes[0] if volumes else None,
        diameters_mm=() if volumes else tuple(diameters),
        places=tuple(places),
        lesion="" if TOOL.search(group.identifier) else group.identifier,
        series=tuple(dict.fromkeys(named or series_of.values())),
        frame_of_reference=group.frames_of_reference[0] if group.frames_of_reference else "",
        subject=subject,
    )


def _structure(group: _Group) -> str:
    site = " ".join(filter(None, (group.laterality, group.site)))
    if group.finding is None or group.finding in GENERIC:
        return site or (group.finding.meaning if group.finding is not None else group.identifier)
    return " ".join(filter(None, (site, group.finding.meaning)))


def _places(item: Any) -> list[Place]:
    """Return the places that coordinates state."""
    numbers = [float(number) for number in item.GraphicData]
    graphic = str(item.GraphicType)
    in_space = item.ValueType == "SCOORD3D"
    step = 3 if in_space else 2
    points = [tuple(numbers[i : i + step]) for i in range(0, len(numbers), step)]
    instance, frame = "", 1
    if in_space:
        points = [lps_to_ras(point) for point in points]
    else:
        sources = [c for c in item.get("ContentSequence") or () if c.get("ValueType") == "IMAGE"]
        if not sources:
            return []
        reference = sources[0].ReferencedSOPSequence[0]
        instance = str(reference.ReferencedSOPInstanceUID)
        frame = int(np.atleast_1d(reference.get("ReferencedFrameNumber") or 1)[0])
    if graphic == "CIRCLE":  # its centre and a point on it
        points = points[:1]
    elif graphic in ("ELLIPSE", "ELLIPSOID"):  # ends of its axes
        points = [tuple(np.mean(points, axis=0).tolist())]
    elif graphic in ("POINT", "MULTIPOINT"):
        return [Place((point,), instance, frame) for point in points]
    return [Place(tuple(points), instance, frame)]


def _evidence(dataset: Any) -> Iterator[tuple[str, str]]:
    """Yield the instances that the report is based on, each with its series."""
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(keyword) or ():
            for series in study.get("ReferencedSeriesSequence") or ():
                for instance in series.get("ReferencedSOPSequence") or ():
                    yield str(instance.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID)


def _code(item: Any, keyword: str) -> Code | None:
    sequence = item.get(keyword)
    if not sequence:
        return None
    code = sequence[0]
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue") or ""
    return Code(str(value), str(code.get("CodingSchemeDesignator") or ""), str(code.get("CodeMeaning") or ""))
