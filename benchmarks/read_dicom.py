"""
Throughput of reading a DICOM series, over that of SimpleITK's series reader.

    python -m benchmarks.read_dicom [FOLDER]

FOLDER holds one series; by default, a phantom CT of 512 × 512 × 100 is written to a temporary folder. Both read it in
turn, in one process: from the folder (finding the files, checking their headers, and reading), and only the voxels of
ordered files. Needs pydicom (``pip install 'medsize[dicom]'``).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks.result import Result, machine, paired_ratios
from medsize.scans.find_scans import find_scans, read_scan

REPEATS = 15
SIDE, SLICES = 512, 100


def main() -> None:
    """Print the results."""
    print(f"{machine()}, SimpleITK {version('SimpleITK')}, pydicom {version('pydicom')}")
    for result in results(*map(Path, sys.argv[1:])):
        print(result)


def results(series: Path | None = None) -> list[Result]:
    """
    Measure the number of scans that medsize reads while SimpleITK reads one.

    Args:
        series: folder of one series. Default: a phantom.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = series or Path(temporary)
        if series is None:
            write_phantom_series(folder)
        (scan,) = find_scans(folder)
        files = list(map(str, scan.files))
        size = f"{len(files)} files, {sum(file.stat().st_size for file in scan.files) / 2**20:.0f} MiB"
        return [
            Result(
                "DICOM found and read, throughput over SimpleITK's",
                throughput(lambda: read_scan(find_scans(folder)[0]), lambda: read_by_simpleitk(folder)),
                "≥ 0.7",
                size,
            ),
            Result("DICOM, voxels alone", throughput(lambda: read_scan(scan), lambda: read_files(files)), "", size),
        ]


def throughput(ours: Callable[[], object], theirs: Callable[[], object]) -> list[float]:
    """Return the ratio of seconds, theirs over ours, pair by pair."""
    return paired_ratios(lambda: seconds(theirs), lambda: seconds(ours), REPEATS)


def seconds(read: Callable[[], object]) -> float:
    """Return the seconds that a reading takes."""
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def read_by_simpleitk(folder: Path) -> SimpleITK.Image:
    """Read the only series of a folder."""
    (series,) = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    return read_files(list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)))


def read_files(files: list[str]) -> SimpleITK.Image:
    """Read files in their order."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files)
    return reader.Execute()


def write_phantom_series(folder: Path) -> None:
    """Write a CT of noise."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    rng = np.random.default_rng(0)
    for index in range(SLICES):
        header = pydicom.Dataset()
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, series, frame
        header.Modality, header.PatientID, header.InstanceNumber = "CT", "phantom", index
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.8]
        header.ImagePositionPatient, header.SliceThickness = [-200, -200, 2.5 * index], 2.5
        header.Rows, header.Columns = SIDE, SIDE
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.PixelData = rng.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16).tobytes()
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.save_as(folder / f"{index:04d}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    main()
