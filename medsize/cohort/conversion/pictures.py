"""Pictures of a cohort: their channels and the size of their pixels, decided for all of them; and their masks."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from medsize.cohort.find import CohortScan
from medsize.errors import ProblemsError
from medsize.progress_bar import with_progress
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.pictures.facts import PictureFacts, picture_facts
from medsize.scans.pictures.file import num_pictures
from medsize.scans.pictures.mask import Colour, parse_colour, read_picture_mask, turned
from medsize.scans.pictures.picture import Picture
from medsize.scans.scan import FoundScan, ScanKind, said_once
from medsize.sizes.table.match_rows import MatchedRows
from medsize.sizes.table.size_table import SizeTable
from medsize.suggest import closest_or_all, first_few

__all__ = [
    "IGNORED",
    "DrawnMask",
    "MaskOptions",
    "PicturePlan",
    "colour_faults",
    "mask_colours",
    "picture_masks",
    "plan_pictures",
]

IGNORED = 255
"""Value of pixels to be ignored, such as the rims of objects in PASCAL VOC."""
WIDE_MM = 1000.0
"""Width of a picture, mm, above which the size of its pixels is doubtful."""
FAR = 8.0
"""Factor between the sizes of pixels of one cohort above which one of them is doubtful."""


@dataclass(frozen=True)
class MaskOptions:
    """Options for masks that are pictures."""

    colours: Mapping[str, tuple[Colour, ...]] = field(default_factory=dict)
    """Colours of each structure."""
    threshold: int | None = None
    """Grey value from which a pixel is inside. Default: masks with soft edges are refused."""


@dataclass(frozen=True)
class PicturePlan:
    """Decisions for all pictures of a cohort."""

    channels: int
    """1 for grey, 3 for colour."""
    length_unit: Literal["mm", "px"]
    """{``"mm"``, ``"px"``}: ``px`` if the size of the pixels is not known throughout."""
    spacing_mm: Mapping[str, tuple[float, float] | None]
    """Width and height of a pixel, by the :attr:`medsize.scans.scan.FoundScan.source` of the picture."""
    summary: tuple[str, ...]
    """Lines with the decisions."""
    notes: tuple[str, ...]
    """Remarks on how pictures were read, and doubts about the size of their pixels."""
    faults: Mapping[str, str]
    """Reasons why pictures cannot be used, by their source."""


class DrawnMask(NamedTuple):
    """Mask of a picture."""

    classes: np.ndarray
    """Class indices, ``(H, W)``, uint8; 255 in pixels of no class."""
    note: str
    """Remark on how it was read where its file leaves a choice."""


def mask_colours(texts: Sequence[str]) -> dict[str, tuple[Colour, ...]]:
    """
    Return the colours of each structure, from texts such as ``lesion=#ff0000``; a structure may have several.

    Raises:
        ValueError: when a text has another form, or a colour is of two structures.
    """
    colours: dict[str, tuple[Colour, ...]] = {}
    seen: dict[Colour, str] = {}
    for text in texts:
        structure, equals, colour = (part.strip() for part in text.rpartition("="))
        if not equals or not structure:
            raise ValueError(f"--mask-colour is '{text}', expected STRUCTURE=COLOUR. Write lesion=#ff0000.")
        parsed = parse_colour(colour)
        if seen.setdefault(parsed, structure) != structure:
            raise ValueError(f"--mask-colour: {colour} is of {seen[parsed]} and {structure}, expected one. Correct it.")
        colours[structure] = (*colours.get(structure, ()), parsed)
    return colours


def plan_pictures(
    scans: Sequence[CohortScan],
    table: SizeTable | None,
    rows: MatchedRows,
    pixel_mm: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> PicturePlan | None:
    """
    Decide on the channels and the size of the pixels for all pictures of a cohort; ``None`` if it has none.

    A pixel's size is that of the table's column ``pixel_mm``, else that of the option, else that of the file. Lengths
    are in mm if all are known, or if the table states some in mm: then pictures of unknown size are refused.

    Args:
        scans: the cohort.
        table: sizes.
        rows: scans of its rows.
        pixel_mm: side of the pixels of all pictures, mm.
        max_bytes: memory that the pixels of one may take.

    Raises:
        ProblemsError: when the table states sizes in mm, and no size of a pixel is known.
    """
    pictures = [scan for scan in scans if scan.scan.kind is ScanKind.PICTURE and not scan.scan.fault]
    if not pictures:
        return None
    facts: dict[str, PictureFacts] = {}
    for scan in with_progress(pictures, "looking at pictures"):
        with suppress(OSError, ValueError):  # the conversion names it
            facts[scan.name] = picture_facts(scan.scan.files[0], scan.scan.frame or 0, max_bytes)
    stated: dict[str, float] = {}
    units: dict[str, set[str]] = {}
    for key, name in rows.scans.items():
        for row in table.rows_by_image[key] if table is not None else ():
            units.setdefault(name, set()).update(size.unit for size in row.sizes.values() if size.high > 0)
            if row.pixel_mm is not None:
                stated[name] = row.pixel_mm

    def spacing(name: str) -> tuple[float, float] | None:
        side = stated.get(name, pixel_mm)
        return (side, side) if side is not None else facts[name].spacing_mm

    known = {name: spacing(name) for name in facts}
    lacking = [scan for scan in pictures if scan.name in facts and known[scan.name] is None]
    in_px = any("px" in of_scan for of_scan in units.values())
    in_mm = {name for name, of_scan in units.items() if of_scan & {"mm2", "mm3"}}
    is_mm = not in_px and len(lacking) < len(facts) and (not lacking or bool(in_mm))
    lack = (
        "found no size of its pixels, expected one, as the table has sizes in mm. Add a column pixel_mm to the table, "
    )
    lack += "or give --pixel-mm."
    refused = [scan.scan.source for scan in lacking if is_mm or scan.name in in_mm]
    if refused and len(refused) == len(pictures):
        raise ProblemsError("the pictures", [f"{first_few(refused)}: {lack}"])
    colour = sum(of_one.channels == 3 for of_one in facts.values())
    decided = f"{len(facts)} pictures: "
    decided += "in grey, 1 channel" if not colour else f"{colour} in colour, 3 channels for all"
    lengths = "the size of a pixel is not known: lengths and areas are in pixels (px)"
    if is_mm:
        sides = [math.sqrt(math.prod(mm)) for mm in known.values() if mm is not None]
        low, high = min(sides), max(sides)
        lengths = f"pixels of {low:.4g} mm" if high < 1.001 * low else f"pixels of {low:.4g} to {high:.4g} mm"
    elif 0 < len(lacking) < len(facts):
        lengths = (
            f"the size of a pixel is known of only {len(facts) - len(lacking)} of {len(facts)} pictures, and was not "
            "used: lengths and areas are in pixels (px)"
        )
    notes = [f"{line}." for line in said_once((name, of_one.note) for name, of_one in facts.items() if of_one.note)]
    notes += [*_depths(facts), *(_doubtful_pixels(known, facts, stated, pixel_mm) if is_mm else ())]
    return PicturePlan(
        channels=3 if colour else 1,
        length_unit="mm" if is_mm else "px",
        spacing_mm={scan.scan.source: known.get(scan.name) if is_mm else None for scan in pictures},
        summary=(f"{decided}; {lengths}",),
        notes=tuple(notes),
        faults={source: f"{source}: {lack}" for source in refused},
    )


def picture_masks(
    masks: Path | Mapping[str, Path],
    scan: FoundScan,
    picture: Picture,
    structures: Sequence[str],
    values: Sequence[int] = (),
    options: MaskOptions | None = None,
    later_wins: bool = False,
) -> DrawnMask:
    """
    Read the masks of a picture as class indices.

    A mask that was drawn on the pixels as they are stored, without the turn that the picture's EXIF states, is turned,
    too: it is told by its shape.

    Args:
        masks: a label map, or a file for each structure.
        scan: the picture's entry.
        picture: the picture.
        structures: names of the classes 1, 2, ….
        values: value of each structure in a label map. Default: 1, 2, …
        options: see :class:`MaskOptions`.
        later_wins: give a pixel of several structures to the last of them. Default: they are refused.

    Raises:
        ValueError: naming the file, when it cannot be read, is of another shape, or holds other values.
    """
    options = options or MaskOptions()
    notes: list[str] = []
    result = np.zeros(picture.pixels.shape[:2], dtype=np.uint8)
    if isinstance(masks, Path):
        indices = {colour: _index(name, structures) for name, of_one in options.colours.items() for colour in of_one}
        drawn = _read(masks, scan, indices, options.threshold, notes)
        if not options.colours:
            drawn = _classes(masks, drawn, structures, values, notes)
        result = _fitted(masks, drawn, picture, notes)
    else:
        for index, name in enumerate(structures, start=1):
            if name not in masks:
                listed = first_few(list(masks)) or "none"
                raise ValueError(f"{scan.source}: found no mask of '{name}', only of {listed}. Name its file.")
            colours = dict.fromkeys(options.colours.get(name, ()), 1)
            drawn = _read(masks[name], scan, colours, options.threshold, notes)
            inside = _fitted(masks[name], drawn, picture, notes) > 0
            if not later_wins and (others := [k for k in np.unique(result[inside]) if k]):
                raise ValueError(
                    f"{masks[name]}: '{name}' overlaps '{structures[others[0] - 1]}' in "
                    f"{np.count_nonzero(result[inside])} pixels, expected each pixel in one structure. Leave one out, "
                    "or let the later one win: --later-wins."
                )
            result[inside] = index
    return DrawnMask(result, "; ".join(dict.fromkeys(notes)))


def _read(
    file: Path, scan: FoundScan, colours: Mapping[Colour, int], threshold: int | None, notes: list[str]
) -> np.ndarray:
    expected = 1 if scan.frame is None else num_pictures(scan.files[0])
    if (pages := num_pictures(file)) != expected:
        raise ValueError(
            f"{file}: found {pages} page{'s' if pages > 1 else ''}, expected the {expected} of {scan.files[0].name}, a "
            "mask for each. Save them in the order of the picture's."
        )
    return read_picture_mask(file, colours, threshold, scan.frame or 0, notes=notes)


def _index(name: str, structures: Sequence[str]) -> int:
    """Return the class index of a structure; 0 for another, such as background."""
    return structures.index(name) + 1 if name in structures else 0


def _classes(
    file: Path, drawn: np.ndarray, structures: Sequence[str], values: Sequence[int], notes: list[str]
) -> np.ndarray:
    """Return the class indices of a label map's values."""
    held = [value for value in np.unique(drawn).tolist() if value]
    if held == [IGNORED] and len(structures) == 1:
        return (drawn > 0).astype(np.uint8)
    values = values or range(1, len(structures) + 1)
    if IGNORED in held and IGNORED not in values:
        notes.append("its value 255 counts as of no class, as in PASCAL VOC: it is left out of sizes and evaluation")
        held.remove(IGNORED)
        values = (*values, IGNORED)
        structures = (*structures, "ignored")
    if wrong := sorted(set(held) - set(values)):
        named = ", ".join(f"{value} {name}" for value, name in zip(values, structures, strict=True))
        raise ValueError(
            f"{file}: found the values {', '.join(map(str, wrong[:5]))}, expected the classes 0 background, {named}. "
            "Correct the mask, or name all structures in the order of their values: --structure NAME."
        )
    classes = np.zeros(drawn.shape, dtype=np.uint8)
    for index, value in enumerate(values, start=1):
        classes[drawn == value] = IGNORED if value == IGNORED else index
    return classes


def _fitted(file: Path, drawn: np.ndarray, picture: Picture, notes: list[str]) -> np.ndarray:
    """Return a mask in its picture's shape, turned as its EXIF says where only that fits."""
    shape = picture.pixels.shape[:2]
    if drawn.shape == shape:
        if picture.orientation > 1 and (picture.orientation < 5 or shape[0] == shape[1]):
            notes.append(
                f"its picture was turned by EXIF (orientation {picture.orientation}), and its shape does not tell "
                "whether it was drawn before or after that: after was assumed"
            )
        return drawn
    if picture.orientation >= 5 and drawn.shape == shape[::-1]:
        notes.append(
            f"it was drawn on the picture as stored, and turned by the EXIF orientation {picture.orientation} of it"
        )
        return turned(drawn, picture.orientation)
    raise ValueError(
        f"{file}: found {drawn.shape[1]} × {drawn.shape[0]} pixels, expected the {shape[1]} × {shape[0]} of its "
        "picture. Save the mask in the size of the picture, without smoothing."
    )


def _depths(facts: Mapping[str, PictureFacts]) -> Iterator[str]:
    """Yield a remark on values of 16 bits that use fewer of them, and a doubt if pictures differ in that."""
    used = {name: of_one.highest.bit_length() for name, of_one in facts.items() if of_one.bits == 16}
    if used and max(used.values()) < 16:
        yield (
            f"{len(used)} pictures have 16 bits a value and use {max(used.values())} of them. Nothing is lost: "
            "intensities are scaled by each picture's own percentiles."
        )
    counts = Counter(of_one.bits for of_one in facts.values())
    if len(counts) > 1:
        yield f"pictures have {counts[8]} times 8 and {counts[16]} times 16 bits a value. Do all show the same?"


def _doubtful_pixels(
    known: Mapping[str, tuple[float, float] | None],
    facts: Mapping[str, PictureFacts],
    stated: Mapping[str, float],
    pixel_mm: float | None,
) -> Iterator[str]:
    """Yield a doubt for pixels that make a picture very wide, or differ much from those of the others."""
    sides = {name: math.sqrt(math.prod(mm)) for name, mm in known.items() if mm is not None}
    wide = [name for name, mm in known.items() if mm is not None and facts[name].size[0] * mm[0] > WIDE_MM]
    if wide:
        name = wide[0]
        width = facts[name].size[0] * (known[name] or (0.0,))[0]
        source = "pixel_mm of the table" if name in stated else "--pixel-mm" if pixel_mm is not None else "its file"
        yield (
            f"{name}{f' and {len(wide) - 1} more' if len(wide) > 1 else ''}: a pixel of {sides[name]:.4g} mm, by "
            f"{source}, makes the picture {width / 1000:.3g} m wide. Is it in µm, or the resolution of print?"
        )
    middle = statistics.median(sides.values())
    far = [name for name, side in sides.items() if not 1 / FAR < side / middle < FAR]
    if far and len(sides) > 2:
        yield (
            f"{first_few([f'{name} ({sides[name]:.4g} mm)' for name in far])}: its pixels are far from the median of "
            f"{middle:.4g} mm. Is the unit the same?"
        )


def colour_faults(colours: Mapping[str, object], structures: Sequence[str]) -> Iterator[str]:
    """Yield a problem for each name of a colour that is not a structure."""
    for name in colours:
        if name not in (*structures, "background"):
            hint = closest_or_all(name, structures, "The structures are")
            yield f"--mask-colour names '{name}', expected a structure, or background.{hint}"
