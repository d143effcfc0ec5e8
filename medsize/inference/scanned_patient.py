"""Patient and date of a DICOM file, for a comparison of two dates: kept as hashes, not in clear text."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["scanned_patient"]


def scanned_patient(file: Path) -> dict[str, str]:
    """
    Return what tells the patient and the date of a DICOM file.

    Args:
        file: one of its files.

    Returns:
        ``id``, a hash of PatientID; ``born``, one of PatientID and PatientBirthDate; and ``study_date``, as it is
        stated; each only if the header has it. A hash tells patients apart and is no secret: whoever guesses the number
        can compute it.
    """
    from medsize.scans.dicom.header import read_header

    header = read_header(file)
    number, born, day = (
        str(header.get(keyword) or "").strip() for keyword in ("PatientID", "PatientBirthDate", "StudyDate")
    )
    found = {"id": number and _hash(number), "born": born and _hash(f"{number} {born}"), "study_date": day}
    return {key: text for key, text in found.items() if text}


def _hash(text: str) -> str:
    return hashlib.sha256(f"medsize {text}".encode()).hexdigest()[:32]
