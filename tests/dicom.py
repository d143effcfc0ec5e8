"""Small DICOM files for the tests: a series, contours and segments on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

COLUMNS, ROWS, SLICES, PIXEL_MM, SLICE_MM = 12, 10, 6, 4.0, 3.0
FIRST_SLICE = -20.0
CT_CLASS, RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3"
PATIENT_ID, PATIENT_NAME = "MRN-4711", "Doe^Jane"


def save(dataset: Dataset, file: Path, sop_class: str) -> None:
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)


def write_series(
    folder: Path,
    change: Callable[[Dataset, int], object] = lambda header, index: None,
    slices: int = SLICES,
    sop_class: str = CT_CLASS,
) -> str:
    """
    An axial CT whose voxels hold 100 times the number of their slice, in files whose names are in another order.

    Args:
        folder: where its files go.
        change: gets each slice's dataset and index before it is saved.
        slices: how many.
        sop_class: SOP class of the files.

    Returns:
        UID of its frame of reference.
    """
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(slices):
        header = Dataset()
        header.PatientID, header.PatientName, header.PatientBirthDate, header.PatientSex = (
            PATIENT_ID,
            PATIENT_NAME,
            "19500102",
            "O",
        )
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, series, frame
        header.StudyDate, header.StudyTime, header.StudyID, header.AccessionNumber = "20200101", "120000", "1", "815"
        header.ReferringPhysicianName, header.Manufacturer = "", "nobody"
        header.Modality, header.SeriesDescription = "CT", "Abdomen portal venous Doe 20200101"
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [PIXEL_MM, PIXEL_MM]
        header.ImagePositionPatient, header.SliceThickness = [0, 0, FIRST_SLICE + index * SLICE_MM], SLICE_MM
        header.Rows, header.Columns, header.InstanceNumber = ROWS, COLUMNS, slices - index
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
        header.PixelData = np.full((ROWS, COLUMNS), 100 * index, dtype=np.uint16).tobytes()
        change(header, index)
        save(header, folder / f"{(index * 5) % slices}.dcm", sop_class)
    return frame


def write_enhanced(folder: Path, positions: list[float]) -> None:
    """An enhanced CT: all slices in one file."""
    dataset = Dataset()
    dataset.Modality, dataset.PatientID, dataset.SeriesInstanceUID = "CT", PATIENT_ID, generate_uid()
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = generate_uid(), generate_uid()
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = ROWS, COLUMNS, len(positions)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1
    shared, plane, measures, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1.5, 0.75], SLICE_MM
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 0.5, -1000, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    shared.PixelValueTransformationSequence = [rescale]
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], []
    organisation, pointer = Dataset(), Dataset()
    organisation.DimensionOrganizationUID = generate_uid()
    pointer.DimensionOrganizationUID = organisation.DimensionOrganizationUID
    pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer = 0x00200032, 0x00209113
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organisation], [pointer]
    for number, z in enumerate(positions, start=1):
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, content.DimensionIndexValues = [0, 0, z], [number]
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    stored = [np.full((ROWS, COLUMNS), 100 * number, dtype=np.uint16) for number in range(len(positions))]
    stored[-1][0, 1] = 7
    dataset.PixelData = np.stack(stored).tobytes()
    save(dataset, folder / "enhanced.dcm", "1.2.840.10008.5.1.4.1.1.2.1")


def square(low: float, high: float, index: float) -> list[float]:
    """A contour in voxels of a slice, as patient coordinates."""
    corners = ((low, low), (high, low), (high, high), (low, high))
    return [c for x, y in corners for c in (x * PIXEL_MM, y * PIXEL_MM, FIRST_SLICE + index * SLICE_MM)]


def write_rtstruct(
    file: Path, frame: str, regions: dict[str, list[list[float]]], drawn_on: str = "", kind: str = "CLOSED_PLANAR"
) -> None:
    """Contours of named regions; with the UID of the series that they were drawn on, if given."""
    dataset = Dataset()
    dataset.Modality, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "RTSTRUCT", generate_uid(), generate_uid()
    dataset.PatientID, dataset.FrameOfReferenceUID = PATIENT_ID, frame
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=3):
        region, drawn = Dataset(), Dataset()
        region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = number, name, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points) // 3
            contour.ContourData = points
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(drawn)
    if drawn_on:
        series, study, reference = Dataset(), Dataset(), Dataset()
        series.SeriesInstanceUID, study.RTReferencedSeriesSequence = drawn_on, [series]
        reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = frame, [study]
        dataset.ReferencedFrameOfReferenceSequence = [reference]
    save(dataset, file, RTSTRUCT_CLASS)


def write_seg(file: Path, series: Path, segments: dict[str, np.ndarray], kind: str = "BINARY") -> None:
    """Segments on a series: boolean arrays of shape (slices, rows, columns), in the order of space."""
    highdicom = pytest.importorskip("highdicom", reason="SEG needs highdicom: pip install 'medsize[dicom]'")
    sources = sorted(map(pydicom.dcmread, series.glob("*.dcm")), key=lambda header: header.ImagePositionPatient[2])
    tissue = pydicom.sr.codedict.codes.SCT.Tissue
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, tissue, tissue, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, name in enumerate(segments, start=1)
    ]
    stored = np.stack(list(segments.values()), axis=-1).astype(float if kind == "FRACTIONAL" else np.uint8)
    if kind == "LABELMAP":
        stored = (stored * np.arange(1, len(segments) + 1, dtype=np.uint8)).max(axis=-1)
    dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=stored,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file)


def files_in_order(folder: Path) -> Sequence[Path]:
    """The files of a series in the order of space."""
    return sorted(folder.glob("*.dcm"), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])
