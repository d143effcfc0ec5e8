"""``medsize measure``: from a cohort's folder to the address of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medsize.cohort.find import find_cohort
from medsize.cohort.structures import choose_structures, with_label_maps
from medsize.errors import ProblemsError
from medsize.measure.server import MeasureServer
from medsize.measure.session import MeasureSession
from medsize.scans.image_file import MAX_BYTES

__all__ = ["measure_cohort", "measurements_dir"]


def measurements_dir(folder: Path) -> Path:
    """Return the folder of the readings of a cohort: beside its own."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}_measurements")


def measure_cohort(
    folder: Path,
    structures: Sequence[str] = (),
    output_dir: Path | None = None,
    modalities: Sequence[str] = (),
    port: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> MeasureServer:
    """
    Find the scans of a folder, and return the server of the page that measures them.

    Args:
        folder: folder with scans or pictures, in any form that ``medsize init`` reads.
        structures: names of the structures. Default: those of the masks, if there are any. Masks are not shown.
        output_dir: folder of the readings. Default: :func:`measurements_dir`.
        modalities: modalities of DICOM to measure. Default: all.
        port: see :class:`medsize.measure.server.MeasureServer`.
        max_bytes: memory that the voxels of a scan may take.

    Raises:
        ProblemsError: when there is no scan.
        ValueError: when the structures are not known, or the output lies within the cohort.
    """
    folder = folder.resolve()
    output_dir = measurements_dir(folder) if output_dir is None else output_dir.resolve()
    if output_dir.is_relative_to(folder):
        raise ValueError(f"{output_dir} is within {folder}, expected outside of it. Name another output folder.")
    found = find_cohort(folder, modalities)
    if not found.scans:
        raise ProblemsError(folder, ["found no scan, expected DICOM, NIfTI, NRRD, MetaImage or pictures."])
    names = [" ".join(name.split()) for name in structures]
    if not names and not any(scan.has_masks for scan in found.scans):
        raise ValueError(f"{folder}: found no mask that names structures. Name them: --structure NAME, once for each.")
    names = names or choose_structures(with_label_maps(found), (), None)
    if "" in names or len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"the structures are {', '.join(map(repr, names))}, expected different names. Correct them.")
    return MeasureServer(MeasureSession(found, names, output_dir, max_bytes), port)
