"""What nibabel, SimpleITK and pydicom read in a cohort, against what ``medsize init`` prepared of it."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pydicom
import SimpleITK

Facts = tuple[list[int], list[float], float]
"""Voxels along each axis and mm of them, both sorted, since axes may be stored in any order; and the mean intensity."""


def disagreements(root: Path, kind: str) -> Iterator[str]:
    """
    Yield what differs between the prepared cohort in ``root/out`` and the reference readers on ``root/in``.

    Args:
        root: folder of the run.
        kind: format of the cohort.
    """
    output = root / "out"
    items = json.loads((output / "datalist.json").read_text())["training"]
    with (root / "out_identifiers.csv").open(newline="", encoding="utf-8", errors="backslashreplace") as table:
        sources = {row["image"]: row["source"] for row in csv.DictReader(table)}
    numbers = stated_numbers(root) if (root / "out").is_dir() and not list(root.glob("in/**/seg.*")) else None
    for item in items:
        source = sources[item["image"]]
        prepared = nibabel.load(output / item["image"])
        expected = image_facts(source, root / "in")
        if expected is not None:
            yield from _compared(expected, _facts(prepared), source)
        if "label" in item:
            yield from _sizes_of_masks(item, Path(source.partition(" (")[0]), root / "in", kind)
        elif numbers is not None:
            for structure, size in item["size"].items():
                for end in size if isinstance(size, list) else [size]:
                    if end and not any(np.isclose(end / 1000, n, rtol=1e-3) for n in numbers):
                        yield f"{source}: {structure} has {end / 1000} mL, which the table does not state"


def _facts(image: Any) -> Facts:
    zooms = np.linalg.norm(image.affine[:3, :3], axis=0)
    voxels = np.asarray(image.dataobj, dtype=float)
    return sorted(image.shape), sorted(float(z) for z in zooms), float(voxels.mean())


def _compared(expected: Facts, found: Facts, source: str) -> Iterator[str]:
    if sorted(n for n in expected[0] if n > 1) != sorted(n for n in found[0] if n > 1):
        yield f"{source}: {found[0]} voxels, the reference reads {expected[0]}"
    elif len(expected[1]) == len(found[1]) and not np.allclose(expected[1], found[1], rtol=0.02):
        yield f"{source}: voxels of {found[1]} mm, the reference reads {expected[1]}"
    elif np.isfinite(expected[2]) and not np.isclose(expected[2], found[2], rtol=1e-3, atol=0.51):
        yield f"{source}: a mean of {found[2]}, the reference reads {expected[2]}"


def image_facts(source: str, root: Path) -> Facts | None:
    """Return what the reference reads of a scan; ``None`` if it cannot."""
    folder = re.fullmatch(r"(.*) \(\d+ files from (.*)\)", source, flags=re.DOTALL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if folder:
                return _series_facts(root, Path(folder[1], folder[2]))
            if re.search(r"\.nii(\.gz)?$", source, flags=re.IGNORECASE):
                return _facts(nibabel.load(source))
            if re.search(r"\.(nrrd|mha)$", source):
                image = SimpleITK.ReadImage(source)
                voxels = SimpleITK.GetArrayViewFromImage(image)
                return sorted(image.GetSize()), sorted(image.GetSpacing()), float(voxels.astype(float).mean())
    except Exception:  # noqa: BLE001  # then there is nothing to compare with
        return None
    return None


def _series_facts(root: Path, first: Path) -> Facts:
    """Return the facts of all slices that share the series' UID with its first file."""
    named = _dataset(first).SeriesInstanceUID or next(
        uid for file in _files(first.parent) if (uid := _dataset(file).get("SeriesInstanceUID"))
    )
    headers = {}
    for file in _files(root):
        with contextlib.suppress(Exception):  # an unreadable slice is not of the series
            header = _dataset(file)
            # A slice without the UID belongs to the others of its folder.
            if header.get("SeriesInstanceUID") == named or (
                not header.get("SeriesInstanceUID") and file.parent == first.parent and "PixelData" in header
            ):
                headers[str(header.get("SOPInstanceUID")), str(header.ImagePositionPatient)] = header
    slices = [(header, header.pixel_array) for header in headers.values()]
    header = slices[0][0]
    normal = np.cross(header.ImageOrientationPatient[:3], header.ImageOrientationPatient[3:])
    places = sorted(float(np.dot(s.ImagePositionPatient, normal)) for s, _ in slices)
    means = [
        float(np.mean(voxels)) * float(s.get("RescaleSlope") or 1) + float(s.get("RescaleIntercept") or 0)
        for s, voxels in slices
    ]
    spacing = [*map(float, header.PixelSpacing), float(np.median(np.diff(places)))]
    return sorted([header.Rows, header.Columns, len(slices)]), sorted(spacing), float(np.mean(means))


def _files(folder: Path) -> list[Path]:
    """Return all files but hidden ones."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def _dataset(file: Path) -> pydicom.Dataset:
    content = file.read_bytes()
    return pydicom.dcmread(io.BytesIO(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content))


def _sizes_of_masks(item: dict[str, Any], scan: Path, root: Path, kind: str) -> Iterator[str]:
    """Compare the sizes of an item with those of some mask beside its scan, structure by structure."""
    found = sorted(round(size, 1) for size in item["size"].values() if size)
    read = [mask_volumes(file) for file in _files(root) if file != scan]
    if None in read:
        return
    candidates = [volumes for readings in read for volumes in readings or []]
    tolerance = 0.3 if kind == "rtstruct" else 0.02
    for volumes in candidates:
        if len(volumes) == len(found) and np.allclose(volumes, found, rtol=tolerance, atol=1):
            return
    if candidates:
        yield f"{scan}: sizes of {found} mm³, the reference reads {candidates}"


def mask_volumes(file: Path) -> list[list[float]] | None:
    """Return the mm³ of the structures in a mask, sorted, in each reading; ``None`` for one that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if re.search(r"\.nii(\.gz)?(\.bak)?$", file.name, flags=re.IGNORECASE):
                image = nibabel.load(file)
                voxel, labels = abs(np.linalg.det(image.affine[:3, :3])), np.asarray(image.dataobj)
            elif file.suffix.lower() in (".nrrd", ".mha"):
                read = SimpleITK.ReadImage(str(file))
                voxel, labels = float(np.prod(read.GetSpacing())), SimpleITK.GetArrayFromImage(read)
            else:
                dataset = _dataset(file)
                kinds = {"RTSTRUCT": _contour_volumes, "SEG": _segment_volumes}
                modality = dataset.get("Modality")
                try:
                    return [kinds[modality](dataset)] if modality in kinds else []
                except Exception:  # noqa: BLE001  # then there is nothing to compare with
                    return None
    except Exception:  # noqa: BLE001  # not a mask
        return []
    values, counts = np.unique(labels, return_counts=True)
    if len(values) > 20:
        return []
    readings = [sorted(float(n * voxel) for v, n in zip(values, counts, strict=True) if v)]
    if not (values == np.round(values)).all():  # probabilities: from a half on
        readings.append([float((labels >= 0.5).sum() * voxel)])
    return readings


def _contour_volumes(dataset: pydicom.Dataset) -> list[float]:
    volumes = []
    for region in dataset.ROIContourSequence:
        area = 0.0
        for contour in region.ContourSequence:
            x, y = np.array(contour.ContourData, dtype=float).reshape(-1, 3)[:, :2].T
            area += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        volumes.append(area * 3.0)
    return sorted(v for v in volumes if v)


def _segment_volumes(dataset: pydicom.Dataset) -> list[float]:
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    voxel = float(np.prod([float(mm) for mm in measures.PixelSpacing])) * 3.0
    frames = np.atleast_3d(dataset.pixel_array)
    volumes: dict[int, float] = {}
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        volumes[number] = volumes.get(number, 0.0) + float((frame > 0).sum()) * voxel
    return sorted(v for v in volumes.values() if v)


def stated_numbers(root: Path) -> list[float] | None:
    """Return all numbers in the size table of a run, in every reading; ``None`` without a table that can be read."""
    table = next(iter(root.glob("sizes.*")), None)
    if table is None:
        return None
    try:
        if table.suffix == ".xlsx":
            book = openpyxl.load_workbook(table, data_only=True)
            text = "\n".join(str(c.value) for sheet in book for row in sheet.iter_rows() for c in row)
        else:
            raw = table.read_bytes()
            text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    except Exception:  # noqa: BLE001  # then there is nothing to compare with
        return None
    words = re.findall(r"[-+]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?", text)
    words += [part for word in words for part in word.split(",")]
    found = []
    for word in words:
        for reading in (word, word.replace(",", "."), word.replace(",", ""), word.replace(".", "")):
            try:
                found.append(float(reading.strip(",")))
            except ValueError:
                continue
    return found
