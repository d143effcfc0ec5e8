"""Subjects, as people name them in headers, paths and tables."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath

__all__ = ["bids_subject", "comparable_subject", "subject_folder"]

BIDS = re.compile(r"(?:^|/)(sub-[A-Za-z0-9]*\d[A-Za-z0-9]*)(?=[/_])|(?:^|/)(sub-[A-Za-z0-9]+)_[^/]*$")
"""Entity of the subject: a folder of its own with a number, or the beginning of the file's name."""
DATA_SET = "dataset_description.json"
"""File at the root of each BIDS data set."""
VISIT = re.compile(
    r"(ses|session|visit|time[-_ ]?point|tp|follow[-_ ]?up|fu|baseline|month|week|day)([-_ ]?\d[\w-]*|-\w+)?"
    r"|(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d|anat|func|dwi|fmap|perf|meg|eeg|pet|ct|mri?|t1w?|t2w?|flair",
    re.IGNORECASE,
)
"""Folder of a visit or of a kind of image: not of another subject."""


def comparable_subject(name: str) -> str:
    """
    Return a subject's name for comparison.

    People write ``P007``, ``p7``, ``P 7`` and ``P_007`` for one subject, and spreadsheets ``7.0`` for ``7``.
    """
    plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
    if re.fullmatch(r"\d+\.0+", plain):
        plain = plain.partition(".")[0]
    plain = re.sub(r"(?<=[^\W\d_])[-_](?=\d)", "", plain)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


def bids_subject(path: str, folder: Path) -> str | None:
    """
    Return the subject in a path of the Brain Imaging Data Structure, ``sub-01``; ``None`` in another path.

    The same label in two data sets below the folder names two people; derivatives belong to the data set above them.

    Args:
        path: path of a scan, from the folder.
        folder: the folder.
    """
    match = BIDS.search(path)
    if match is None:
        return None
    label = match[1] or match[2]
    above = PurePosixPath(path[: match.start()])
    for root in (above, *above.parents):
        if "derivatives" not in root.parts and (folder / root / DATA_SET).is_file():
            return (root / label).as_posix()
    return label


def subject_folder(folder: PurePosixPath) -> str:
    """Return a folder's path without its folders of visits and kinds of images; all of it if no other is left."""
    parts = [part for part in folder.parts if not VISIT.fullmatch(part)]
    return "/".join(parts) or folder.as_posix()
