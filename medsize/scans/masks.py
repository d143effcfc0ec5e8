"""Masks of all kinds: label maps, one file per structure, DICOM SEG, RTSTRUCT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from pydantic import BaseModel

from medsize.scans.dicom.rtstruct import held_regions, read_contour_mask, region_names
from medsize.scans.fact_cache import cached_facts
from medsize.scans.image_file import MAX_BYTES, is_image_file, read_image_file
from medsize.scans.label_names import segment_values
from medsize.scans.pictures.file import PICTURE_ENDINGS, num_pictures
from medsize.scans.pictures.mask import SOFT_EDGES, read_picture_mask
from medsize.scans.resampled_mask import check_place, resampled
from medsize.scans.space.grid import Grid, is_on_voxels, on_grid
from medsize.scans.structure_name import choose_structure, matching_structures
from medsize.suggest import did_you_mean, first_few

__all__ = ["PlacedMasks", "as_classes", "class_values", "label_values", "names_held", "place_masks", "structures_held"]


class _Values(BaseModel):
    values: tuple[int, ...]


class PlacedMasks(NamedTuple):
    """Masks of an image's structures."""

    labels: SimpleITK.Image
    """Class indices on the image's voxels, uint8; 0 is background."""
    own_mm3: dict[str, float]
    """Volume in the mask's own voxels of each structure that was resampled to the image's."""
    note: str = ""
    """Remark if the masks have as many voxels as the image, but lie beside it."""


def place_masks(
    source: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    image: SimpleITK.Image,
    structures: Sequence[str],
    frame_of_reference: str | None = None,
    later_wins: bool = False,
    max_bytes: int = MAX_BYTES,
    values: Sequence[int] = (),
) -> PlacedMasks:
    """
    Read the masks of an image's structures as one label map.

    A mask on other voxels than the image's is resampled, see :func:`medsize.scans.resampled_mask.resampled`.

    Args:
        source: one of

            - a label map: an image file of class indices, or of segments with names (``.seg.nrrd``);
            - an image file for each structure, by its name, in which every voxel other than 0 is inside; of
              probabilities, those from 0.5;
            - one or several DICOM files, SEG or RTSTRUCT, of which exactly one holds each structure.

        image: the image that they were drawn on.
        structures: names of the classes 1, 2, …. Other structures of SEG and RTSTRUCT are left out. The beginning of a
            name suffices if no other name begins alike.
        frame_of_reference: UID of the image's frame of reference, which SEG and RTSTRUCT must be in, see
            :attr:`medsize.scans.scan.FoundScan.frame_of_reference`. Default: any.
        later_wins: give a voxel of several structures to the last of them, as for a lesion within an organ. Default:
            structures that overlap are refused.
        max_bytes: memory that the voxels of a file may take.
        values: value of each structure in a label map without names. Default: 1, 2, …

    Returns:
        the masks, and the volumes of those that were resampled.

    Raises:
        ValueError: naming the file, when it cannot be read, does not lie on the image, does not hold each structure
            exactly once, holds values other than classes, or structures overlap.
    """
    if not structures or len(structures) > 255 or len(set(structures)) < len(structures):
        raise ValueError(f"structures are {list(structures)}: expected 1 to 255 different names.")
    grid = Grid.of(image)
    parts = {grid: np.zeros(grid.size[::-1], dtype=np.uint8)}
    """Class indices, for each grid that masks are on."""
    notes: list[str] = []
    if isinstance(source, (str, Path)) and is_image_file(Path(source)):
        file = Path(source)
        mask = _read_label_map(file, structures, max_bytes, values)
        own, classes = _placed(str(file), mask, parts)
        notes.append(_shift(mask, grid))
        parts[own] = classes
    else:
        for index, name in enumerate(structures, start=1):
            if isinstance(source, Mapping):
                file, mask = _read_own_file(source, name, max_bytes)
                where = str(file)
            else:
                files = [Path(source)] if isinstance(source, (str, Path)) else [Path(file) for file in source]
                file, mask = _read_from_dicom(files, name, image, frame_of_reference, max_bytes)
                where = f"{file}: '{name}'"
            own, inside = _placed(where, mask, parts)
            notes.append(_shift(mask, grid))
            labels = parts.setdefault(own, np.zeros(own.size[::-1], dtype=np.uint8))
            if not later_wins:
                _refuse_overlap(file, name, labels[inside > 0], structures)
            labels[inside > 0] = index
    labels, *others = (part if own == grid else _resampled(part, own, grid) for own, part in parts.items())
    for part in others:
        for index in np.unique(part[part > 0]) if not later_wins else ():
            _refuse_overlap(file, structures[index - 1], labels[part == index], structures)
        labels = np.maximum(labels, part)
    own_mm3 = {}
    for (own, drawn), part in zip(list(parts.items())[1:], others, strict=True):
        for index in np.unique(drawn[drawn > 0]):
            lost = np.count_nonzero((part == index) & (labels != index))  # to a later structure on another grid
            mm3 = np.count_nonzero(drawn == index) * own.voxel_mm3 - lost * grid.voxel_mm3
            own_mm3[structures[index - 1]] = max(mm3, 0.0)
    result = SimpleITK.GetImageFromArray(labels)
    grid.place(result)
    return PlacedMasks(result, own_mm3, "; ".join(dict.fromkeys(filter(None, notes))))


def _placed(where: str, mask: SimpleITK.Image, grids: Iterable[Grid]) -> tuple[Grid, np.ndarray]:
    """Return the voxels of a mask on the first of these grids, the image's, if it lies on that; else on its own."""
    grid, *others = grids
    own = Grid.of(mask)
    try:
        check_place(mask, grid)
        if is_on_voxels(own, grid):
            return grid, on_grid(mask, grid)
    except ValueError as e:
        raise ValueError(f"{where}: {e}") from e
    alike = (other for other in others if other.size == own.size and np.allclose(other.affine, own.affine, atol=1e-3))
    return next(alike, own), SimpleITK.GetArrayFromImage(mask)


def _shift(mask: SimpleITK.Image, grid: Grid) -> str:
    """Return a remark if a mask has the voxels of an image, but lies some whole ones beside them."""
    own = Grid.of(mask)
    if own.size != grid.size or not is_on_voxels(own, grid):
        return ""
    middle = np.array([*(0.5 * (np.array(grid.size) - 1)), 1])
    apart = float(np.linalg.norm((own.affine - grid.affine) @ middle))
    if apart < min(grid.spacing) / 2:
        return ""
    return f"its grid lies {apart:.3g} mm beside that of its scan; it was put where it says, by whole voxels"


def _resampled(labels: np.ndarray, own: Grid, grid: Grid) -> np.ndarray:
    mask = SimpleITK.GetImageFromArray(labels)
    own.place(mask)
    return resampled(mask, grid)


def _refuse_overlap(file: Path, name: str, labels: np.ndarray, structures: Sequence[str]) -> None:
    """Refuse a structure whose voxels have labels already."""
    others = [value for value in np.unique(labels) if value]
    if others:
        overlapping = first_few([f"'{structures[other - 1]}'" for other in others])
        raise ValueError(
            f"{file}: '{name}' overlaps {overlapping} in {np.count_nonzero(labels)} voxels, expected "
            "each voxel in one structure. Leave one out, or let the later one win."
        )


def label_values(file: Path) -> tuple[int, ...]:
    """
    Return the values of a label map other than 0, from the cache if it was read before.

    Raises:
        ValueError: naming the file, when it cannot be read, or holds neither classes nor probabilities.
    """

    def find() -> _Values:
        if file.name.lower().endswith(PICTURE_ENDINGS):
            pages = (np.unique(read_picture_mask(file, frame=page)) for page in range(num_pictures(file)))
            return _Values(values=tuple(sorted({int(value) for values in pages for value in values if value})))
        mask = as_classes(file, read_image_file(file))  # kept, for a view does not keep it
        values = np.unique(SimpleITK.GetArrayViewFromImage(mask))
        return _Values(values=tuple(int(value) for value in values if value))

    return cached_facts(file, "label values", _Values, find).values


def _read_label_map(file: Path, structures: Sequence[str], max_bytes: int, values: Sequence[int]) -> SimpleITK.Image:
    segments = segment_values(file)
    mask = as_classes(file, read_image_file(file, max_bytes))
    labels = SimpleITK.GetArrayViewFromImage(mask)
    held = [value for value in np.unique(labels).tolist() if value]
    if segments:
        names = list(segments)
        values = [segments[names[choose_structure(file, name, names)]] for name in structures]
        held = [value for value in held if value not in segments.values()]
    elif held == [255] and len(structures) == 1:  # as pictures store a mask
        values = held
    values = values or range(1, len(structures) + 1)
    if wrong := sorted(set(held) - set(values)):
        named = ", ".join(
            f"{value} {name}" for value, name in ((0, "background"), *zip(values, structures, strict=True))
        )
        raise ValueError(
            f"{file}: it holds the values {wrong[:5]}, expected the classes {named}. Name a structure for each "
            "value, in their order: --structure NAME, once for each."
        )
    classes = np.zeros(labels.shape, dtype=np.uint8)
    for index, value in enumerate(values, start=1):
        classes[labels == value] = index
    return _like(mask, classes)


def _read_own_file(files: Mapping[str, str | Path], name: str, max_bytes: int) -> tuple[Path, SimpleITK.Image]:
    if name not in files:
        raise ValueError(f"no mask is given for '{name}', only for {first_few(list(files)) or 'none'}. Name its file.")
    file = Path(files[name])
    mask = as_classes(file, read_image_file(file, max_bytes))
    values = SimpleITK.GetArrayViewFromImage(mask)
    soft = values.max(initial=0) == 255 and len(np.unique(values)) > SOFT_EDGES
    return file, _like(mask, values >= 128 if soft else values != 0)


def _like(mask: SimpleITK.Image, values: np.ndarray) -> SimpleITK.Image:
    """Return a mask of other values, uint8, in the same place."""
    result = SimpleITK.GetImageFromArray(values.astype(np.uint8))
    result.CopyInformation(mask)
    return result


MAX_CLASS = 2**31 - 1


def as_classes(file: Path, mask: SimpleITK.Image) -> SimpleITK.Image:
    """
    Return a mask of whole numbers; probabilities become 1 from 0.5.

    Raises:
        ValueError: naming the file, when it holds neither classes nor probabilities.
    """
    values = SimpleITK.GetArrayViewFromImage(mask)
    classes = class_values(file, values)
    if classes is values:
        return mask
    result = SimpleITK.GetImageFromArray(classes)
    result.CopyInformation(mask)
    return result


def class_values(file: Path, values: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask as :func:`as_classes` does."""
    if not np.isfinite(values).all():
        raise ValueError(f"{file}: the mask holds values that are NaN or infinite, expected class indices. Correct it.")
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0:
        raise ValueError(f"{file}: the mask holds values down to {low:g}, expected class indices from 0. Correct it.")
    if values.dtype.kind != "f":
        return values
    if high > MAX_CLASS:
        raise ValueError(f"{file}: the mask holds values up to {high:g}, expected class indices. Correct it.")
    whole = values == np.round(values)
    if whole.all():
        return values.astype(np.int32)
    if high <= 1:
        return (values >= 0.5).astype(np.uint8)
    raise ValueError(
        f"{file}: the mask holds the values {values[~whole][0]:g} and {high:g}, expected class indices, or "
        "probabilities from 0 to 1. Correct it."
    )


def _read_from_dicom(
    files: Sequence[Path], name: str, image: SimpleITK.Image, frame_of_reference: str | None, max_bytes: int
) -> tuple[Path, SimpleITK.Image]:
    held = {file: names_held(file) for file in files}
    holding = [file for file, names in held.items() if matching_structures(name, names)]
    if not holding:  # let its reader say what is drawn in place of an area
        named = [f for f in files if not _is_seg(f) and matching_structures(name, region_names(f, undrawn=True))]
        holding = named[:1]
    if len(holding) != 1:
        listed = "; ".join(f"{file}: {first_few(names) or 'none'}" for file, names in held.items())
        close = "" if holding else did_you_mean(name, [name for names in held.values() for name in names])
        raise ValueError(
            f"'{name}' is in {len(holding)} of the {len(files)} files, expected in one. They hold: {listed}.{close} "
            + ("Choose a file by its name: --rtstruct NAME." if holding else "Give a name that one of them holds.")
        )
    (file,) = holding
    if _is_seg(file):
        from medsize.scans.dicom.seg_reader import read_segment

        return file, read_segment(file, name, frame_of_reference, max_bytes)
    return file, _like(image, read_contour_mask(file, name, image, frame_of_reference))


def names_held(file: Path) -> list[str]:
    """
    Return the names of the structures in a SEG or RTSTRUCT.

    Raises:
        ValueError: naming the file, when it is not a SEG or RTSTRUCT.
    """
    return structures_held(file)[0]


def structures_held(file: Path, grid: Grid | None = None) -> tuple[list[str], list[str]]:
    """
    Return the names of the structures in a SEG or RTSTRUCT, and what there is to say about what was left out.

    Args:
        file: the file.
        grid: grid of the image, to tell slices without a contour between others.

    Raises:
        ValueError: naming the file, when it is not a SEG or RTSTRUCT.
    """
    if _is_seg(file):
        from medsize.scans.dicom.seg_reader import held_segments

        return held_segments(file)
    return held_regions(file, grid)


def _is_seg(file: Path) -> bool:
    from pydicom.uid import RTStructureSetStorage

    from medsize.scans.dicom.header import SEGMENTATIONS, read_dicom_file

    header = read_dicom_file(file)
    if header is None or header.sop_class not in (*SEGMENTATIONS, RTStructureSetStorage):
        modality = "DICOMDIR" if header is None else header.series.modality
        raise ValueError(f"{file}: its modality is {modality}, expected a mask: SEG or RTSTRUCT.")
    return header.sop_class in SEGMENTATIONS
