"""Standardised uptake values of PET. Needs pydicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from collections.abc import Sequence

import pydicom
import SimpleITK

from medsize.scans.dicom.header import read_header
from medsize.scans.scan import FoundScan

__all__ = ["suv_factor", "to_suv"]

DAY = 24 * 60 * 60


def to_suv(image: SimpleITK.Image, scan: FoundScan) -> SimpleITK.Image:
    """
    Convert a PET to standardised uptake values by body weight, SUV, in g/mL.

    Args:
        image: the scan as :func:`medsize.scans.find_scans.read_scan` reads it.
        scan: the DICOM series.

    Raises:
        ValueError: naming the series; see :func:`suv_factor`.
    """
    try:
        return image * suv_factor([read_header(file) for file in scan.files])
    except ValueError as e:
        raise ValueError(f"{scan.source}: {e}") from e


def suv_factor(slices: Sequence[pydicom.Dataset]) -> float:
    """
    Return the factor from the voxels of a PET to the standardised uptake value by body weight, SUV, in g/mL.

        SUV = activity [Bq/mL] · weight [g] / (dose [Bq] · 2^(−t/T½))

    where t is the time from injection to the start of the scan if the activity is corrected for decay to that start
    (DecayCorrection START). If it is corrected to the injection (ADMIN), t is 0. Voxels that are SUV already (Units
    GML) have the factor 1. Only times of day are compared, within 24 hours, since de-identification shifts
    dates unequally. Source: vendor-neutral SUV calculation of the Quantitative Imaging Biomarkers Alliance.

    Args:
        slices: the headers of the series.

    Raises:
        ValueError: naming the tags that are missing or do not permit the conversion.
    """
    header = slices[0]
    units, kind = header.get("Units"), header.get("SUVType", "BW")
    if units == "GML" and kind == "BW":
        return 1.0
    if units != "BQML":
        raise ValueError(
            f"Units is {units} and SUVType {kind}, expected BQML, or GML of type BW. Export the PET in one of these."
        )
    correction = header.get("DecayCorrection")
    if correction not in ("START", "ADMIN") or "ATTN" not in header.get("CorrectedImage", ""):
        raise ValueError(
            f"DecayCorrection is {correction} and CorrectedImage {header.get('CorrectedImage')}: SUV needs an activity "
            "corrected for decay to START or ADMIN and for attenuation (ATTN)."
        )
    tracer = (header.get("RadiopharmaceuticalInformationSequence") or [pydicom.Dataset()])[0]
    tags = {
        "PatientWeight": header.get("PatientWeight"),
        "RadionuclideTotalDose": tracer.get("RadionuclideTotalDose"),
        "RadionuclideHalfLife": tracer.get("RadionuclideHalfLife"),
    }
    if correction == "START":
        tags["RadiopharmaceuticalStartTime"] = tracer.get("RadiopharmaceuticalStartTime")
        tags["SeriesTime"] = header.get("SeriesTime")
    missing = [name for name, value in tags.items() if not value]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing or 0: SUV needs them. Take them from the scan's records.")
    weight, dose, half_life = (float(value) for value in list(tags.values())[:3])
    elapsed = 0.0
    if correction == "START":
        injection = _seconds(tags["RadiopharmaceuticalStartTime"])
        # Reprocessing puts the series' time after that of the acquisition.
        starts = [header.SeriesTime, *(s.AcquisitionTime for s in slices if s.get("AcquisitionTime"))]
        elapsed = min((_seconds(start) - injection) % DAY for start in starts)
        if elapsed > 5 * half_life:
            raise ValueError(
                f"the scan starts {elapsed / 60:.0f} minutes after RadiopharmaceuticalStartTime, more than five "
                "half-lives: one of the times is wrong. Correct it."
            )
    return 1000 * weight / (dose * 2 ** (-elapsed / half_life))


def _seconds(time: str) -> float:
    """Return the seconds since midnight of a DICOM time, HHMMSS.FFF."""
    return int(time[:2]) * 3600 + int(time[2:4] or 0) * 60 + float(time[4:] or 0)
