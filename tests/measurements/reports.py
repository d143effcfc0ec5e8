"""DICOM SR of measurements (TID 1500), made by highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
highdicom = pytest.importorskip("highdicom", reason="SR needs highdicom: pip install 'medsize[dicom]'")

from highdicom import sr  # noqa: E402
from pydicom.sr.codedict import codes  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

MM, MM3, ML = codes.UCUM.Millimeter, codes.UCUM.CubicMillimeter, sr.CodedConcept("mL", "UCUM", "milliliter")
CM = codes.UCUM.Centimeter


def finding(name: str) -> Any:
    """A finding that a viewer stores as free text."""
    return sr.CodedConcept(f"T-{len(name)}", "99TEST", name)


def source(image: Any) -> Any:
    return sr.SourceImageForMeasurement.from_source_image(image)


def size(concept: Any, value: float, unit: Any, coordinates: Sequence[Any] = ()) -> Any:
    return sr.Measurement(name=concept, value=value, unit=unit, referenced_coordinates=list(coordinates) or None)


def line_in_image(image: Any, ends: Sequence[Sequence[float]]) -> Any:
    """A line in columns and rows of an image."""
    region = sr.CoordinatesForMeasurement(
        graphic_type=sr.GraphicTypeValues.POLYLINE, graphic_data=_array(ends), source_image=_selected(image)
    )
    return region


def line_in_space(frame: str, ends: Sequence[Sequence[float]]) -> Any:
    """A line in mm, LPS."""
    return sr.CoordinatesForMeasurement3D(
        graphic_type=sr.GraphicTypeValues3D.POLYLINE, graphic_data=_array(ends), frame_of_reference_uid=frame
    )


def group(name: str, measurements: Sequence[Any], identifier: str = "1", site: Any = None) -> Any:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=identifier),
        finding_type=finding(name),
        finding_sites=None if site is None else [sr.FindingSite(anatomic_location=site)],
        measurements=list(measurements),
    )


def outline_group(name: str, image: Any, outline: Sequence[Sequence[float]], measurements: Sequence[Any] = ()) -> Any:
    """A planar region in columns and rows of an image."""
    region = sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.POLYLINE, graphic_data=_array(outline), source_image=_selected_region(image)
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier="outline"),
        referenced_region=region,
        finding_type=finding(name),
        measurements=list(measurements) or None,
    )


def write_report(file: Path, evidence: Sequence[Any], groups: Sequence[Any]) -> Path:
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name="Reader^A"),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=list(groups),
        title=codes.DCM.ImagingMeasurementReport,
    )
    dataset = sr.Comprehensive3DSR(
        evidence=list(evidence),
        content=report,
        series_number=9,
        series_instance_uid=generate_uid(),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="nobody",
        institution_name="none",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file)
    return file


def _array(points: Sequence[Sequence[float]]) -> Any:
    import numpy as np

    return np.array(points, dtype=float)


def _selected(image: Any) -> Any:
    return sr.SourceImageForMeasurement.from_source_image(image)


def _selected_region(image: Any) -> Any:
    return sr.SourceImageForRegion.from_source_image(image)
