"""Small sound cohorts, one for each format: two scans of the phantom with masks or a size table, as bytes by path."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import openpyxl
import pydicom
import SimpleITK

from medsize.data.phantom import make_phantom
from tests.dicom import write_rtstruct, write_seg, write_series

SHAPE, SPACING, PIXEL_MM, SLICE_MM, FIRST_SLICE = (16, 16, 6), (4.0, 4.0, 3.0), 4.0, 3.0, -20.0
STRUCTURES = ("liver", "kidney", "lesion")
Files = dict[str, bytes]


def scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a scan and its mask, both of whole numbers."""
    image, mask = make_phantom(SHAPE, np.random.default_rng([7, number]))
    return np.round(1000 * (image - image.min())).astype(np.int16), mask.astype(np.uint8)


def sizes_ml(number: int) -> list[float]:
    mask = scan(number)[1]
    return [round(float((mask == k).sum() * np.prod(SPACING) / 1000), 3) for k in (1, 2, 3)]


def _nifti(folder: Path, ending: str) -> None:
    for number in range(2):
        for name, voxels in zip(("ct", "seg"), scan(number), strict=True):
            image = nibabel.Nifti1Image(voxels, np.diag([*SPACING, 1.0]))
            image.header.set_xyzt_units("mm")
            (folder / f"p{number}").mkdir(exist_ok=True)
            nibabel.save(image, folder / f"p{number}" / f"{name}{ending}")


def _itk(folder: Path, ending: str) -> None:
    for number in range(2):
        for name, voxels in zip(("ct", "seg"), scan(number), strict=True):
            image = SimpleITK.GetImageFromArray(voxels.transpose())
            image.SetSpacing(SPACING)
            (folder / f"p{number}").mkdir(exist_ok=True)
            SimpleITK.WriteImage(image, folder / f"p{number}" / f"{name}{ending}")


def _series(folder: Path, number: int) -> tuple[Path, np.ndarray]:
    """Write the scan as DICOM; return the series' folder, and the mask as slices, rows, columns."""
    image, mask = scan(number)

    def fill(header: pydicom.Dataset, index: int) -> None:
        header.PatientID, header.PatientName = f"PAT-{number}", f"Doe^{number}"
        header.Rows, header.Columns = SHAPE[1], SHAPE[0]
        header.PixelData = image[..., index].transpose().astype(np.uint16).tobytes()

    write_series(folder / f"p{number}" / "series", fill, SHAPE[2])
    return folder / f"p{number}" / "series", mask.transpose(2, 1, 0)


def _dicom(folder: Path) -> None:
    for number in range(2):
        _series(folder, number)
    _table(folder.parent / "sizes.csv", ",", ["PAT-0", "PAT-1"])


def _seg(folder: Path) -> None:
    for number in range(2):
        series, mask = _series(folder, number)
        write_seg(
            series.parent / "seg.dcm", series, {name: mask == k for k, name in enumerate(STRUCTURES[:2], start=1)}
        )


def _rtstruct(folder: Path) -> None:
    for number in range(2):
        series, _ = _series(folder, number)
        header = pydicom.dcmread(series / "0.dcm", stop_before_pixels=True)
        regions = {
            name: [_square(low, low + 5, z) for z in range(1, 5)]
            for name, low in (("liver", 2 + number), ("kidney", 9))
        }
        write_rtstruct(series.parent / "rs.dcm", header.FrameOfReferenceUID, regions, header.SeriesInstanceUID)


def _square(low: float, high: float, index: int) -> list[float]:
    corners = ((low, low), (high, low), (high, high), (low, high))
    return [c for x, y in corners for c in (x * PIXEL_MM, y * PIXEL_MM, FIRST_SLICE + index * SLICE_MM)]


def _images(folder: Path) -> None:
    _nifti(folder, ".nii")
    for mask in folder.rglob("seg.nii"):
        mask.unlink()


def _rows(names: list[str]) -> list[list[object]]:
    columns = [f"{structure} volume_ml" for structure in STRUCTURES]
    return [["image", *columns], *([name, *sizes_ml(number)] for number, name in enumerate(names))]


def _table(file: Path, delimiter: str, names: list[str]) -> None:
    file.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in _rows(names)))


def _text_table(ending: str, delimiter: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        _images(folder)
        _table(folder.parent / f"sizes{ending}", delimiter, ["p0/ct.nii", "p1/ct.nii"])

    return write


def _xlsx(folder: Path) -> None:
    _images(folder)
    book = openpyxl.Workbook()
    for row in _rows(["p0/ct.nii", "p1/ct.nii"]):
        book.active.append(row)
    book.save(folder.parent / "sizes.xlsx")


WRITERS: dict[str, Callable[[Path], None]] = {
    "nifti": lambda folder: _nifti(folder, ".nii"),
    "nifti_gz": lambda folder: _nifti(folder, ".nii.gz"),
    "nrrd": lambda folder: _itk(folder, ".nrrd"),
    "mha": lambda folder: _itk(folder, ".mha"),
    "dicom": _dicom,
    "seg": _seg,
    "rtstruct": _rtstruct,
    "csv": _text_table(".csv", ","),
    "tsv": _text_table(".tsv", "\t"),
    "xlsx": _xlsx,
}


def cohort(kind: str) -> Files:
    """Return the files of a sound cohort: those of its folder under ``in/``, a size table beside it."""
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "in"
        folder.mkdir()
        WRITERS[kind](folder)
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(folder.parent.rglob("*")) if f.is_file()}


__all__ = ["STRUCTURES", "WRITERS", "Files", "cohort"]
