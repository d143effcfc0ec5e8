"""
Doubts about a prediction, from what is known of the scans that a run was validated on.

Each check compares one value of a new scan with the same value of those scans. Its limit is a rule that was fixed
beforehand: none was tuned on masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from medsize.metrics.conformal import rounded
from medsize.units import MM3_PER_ML, size_text

__all__ = [
    "FLAGS",
    "IMAGE_FACTS",
    "LEAST_CUT",
    "LEAST_SCANS",
    "OF_PICTURES",
    "OF_SCANS",
    "CohortFacts",
    "JudgedKind",
    "Reliability",
    "StructureFacts",
    "StructureRange",
    "Usual",
    "cohort_facts",
    "geometry_doubts",
    "image_facts",
    "is_cut_off",
    "least_confidences",
    "reliability",
    "structure_facts",
]

FLAGS = ("ok", "unchecked", "look", "reject")
"""Flags of a scan, the worst last. Without any check it is ``unchecked``."""
LEAST_SCANS = 5
"""Least number of scans that a check compares with."""
BEYOND = 1.25
"""Factor beyond the range of sizes that gives a doubt."""
FAR_BEYOND = 2.0
"""Factor beyond the range of sizes that rejects."""
MORE_APART = 0.1
"""Share of a volume outside the largest component, beyond the largest share of the cohort, that gives a doubt."""
LEAST_SURE = 0.1
"""Share of scans like those of the cohort that have a doubt of the confidence, at most."""
LEAST_CUT = 0.05
"""Area of a structure in an outermost slice, relative to its largest one along that axis, above which it seems cut off.
Fewer voxels are strays of a network."""
LARGEST_Z = 5.0
"""Largest robust z-score of geometry and intensity without a doubt."""
LEAST_SPREAD = 0.05
"""Least spread, relative to the median: equal scans do not make small differences a doubt."""
MAD_TO_SD = 1.4826

IMAGE_FACTS = {
    "pixel_mm": "the pixels' size in mm",
    "slice_mm": "the slices' distance in mm",
    "view_mm": "the field of view in mm",
    "depth_mm": "the extent across the slices in mm",
    "mean_intensity": "the mean intensity, as the network sees it,",
    "intensity_spread": "the spread of intensities, as the network sees them,",
}
"""Names of an image's values, and their words."""
INTENSITIES = ("mean_intensity", "intensity_spread")


class JudgedKind(NamedTuple):
    """Scans or pictures: the word for one, and the values of an image that are compared."""

    noun: str
    image_facts: tuple[str, ...]


OF_SCANS = JudgedKind("scan", tuple(IMAGE_FACTS))
OF_PICTURES = JudgedKind("picture", INTENSITIES)
"""Pictures are often resized for the network, so that their geometry says little."""


class StructureFacts(NamedTuple):
    """Values of a predicted structure."""

    volume_ml: float
    """Of pictures, the area as of a slice of 1 mm."""
    at_edge: bool
    """True if the scan seems to cut it off, see :data:`LEAST_CUT`."""
    outside_largest: float
    """Share of its volume outside its largest component."""
    confidence: float | None = None
    """See :class:`medsize.transforms.SoftDiceConfidence`; ``None`` if it is unknown."""
    fraction: float | None = None
    """Fraction of a picture that it fills, which is compared in place of the volume; ``None`` in scans."""


class Usual(NamedTuple):
    """Usual value of an image, over the scans of a cohort."""

    median: float
    spread: float
    """Standard deviation, estimated by the median absolute deviation."""

    def z(self, value: float) -> float:
        """Return the robust z-score of a value."""
        spread = max(self.spread, LEAST_SPREAD * abs(self.median))
        return abs(value - self.median) / spread if spread > 0 else 0.0 if value == self.median else math.inf


class StructureRange(NamedTuple):
    """Values of a structure over the scans of a cohort; ``None`` where too few scans tell them."""

    low_ml: float | None = None
    """Smallest given volume."""
    high_ml: float | None = None
    """Largest given volume."""
    at_edge: int | None = None
    """Number of scans in which the prediction is cut off."""
    outside_largest: float | None = None
    """Largest share of a predicted volume outside its largest component."""
    confidence: float | None = None
    """Median confidence."""
    low_fraction: float | None = None
    """Smallest given fraction of the whole scan."""
    high_fraction: float | None = None
    """Largest given fraction of the whole scan."""


@dataclass(frozen=True)
class CohortFacts:
    """Values of the scans that a run was validated on, as ``inference.json`` holds them."""

    scans: int = 0
    structures: Mapping[str, StructureRange] = field(default_factory=dict)
    image: Mapping[str, Usual] = field(default_factory=dict)
    least_confidence: float | None = None
    """Confidence, relative to the structure's median, below which a structure is doubted."""

    def recorded(self) -> dict[str, Any]:
        """Return the values as JSON holds them."""
        return {
            "scans": self.scans,
            "structures": {name: of_structure._asdict() for name, of_structure in self.structures.items()},
            "image": {name: usual._asdict() for name, usual in self.image.items()},
            "least_confidence": self.least_confidence,
        }

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> CohortFacts:
        """Return the values that a run has recorded; older runs have none."""
        structures = {name: StructureRange(**values) for name, values in recorded.get("structures", {}).items()}
        image = {name: Usual(**values) for name, values in recorded.get("image", {}).items()}
        return cls(recorded.get("scans", 0), structures, image, recorded.get("least_confidence"))


@dataclass(frozen=True)
class Reliability:
    """Doubts about the prediction of a scan."""

    flag: str
    """One of :data:`FLAGS`."""
    reasons: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    """Checks that could not be made."""

    def as_row(self) -> dict[str, str]:
        """Return the flag and its reasons as cells of a table."""
        return {"flag": self.flag, "reasons": "; ".join(self.reasons)}


def structure_facts(mask: NDArray[np.bool_], voxel_ml: float) -> StructureFacts:
    """
    Return the values of a predicted structure.

    Args:
        mask: its voxels.
        voxel_ml: volume of a voxel.
    """
    count = int(mask.sum())
    if count == 0:
        return StructureFacts(0.0, False, 0.0)
    others = [tuple(other for other in range(mask.ndim) if other != axis) for axis, n in enumerate(mask.shape) if n > 1]
    at_edge = any(is_cut_off(mask.sum(axis=axes)) for axes in others)
    box = mask[ndimage.find_objects(mask.astype(np.uint8))[0]]
    components, _ = ndimage.label(box, np.ones((3,) * mask.ndim))
    largest = int(np.bincount(components.ravel())[1:].max())
    return StructureFacts(count * voxel_ml, at_edge, 1 - largest / count)


def is_cut_off(areas: NDArray[np.int_]) -> bool:
    """
    Return whether a structure reaches an end of an axis with more than stray voxels, see :data:`LEAST_CUT`.

    Args:
        areas: its area in each slice along the axis, in any unit.
    """
    return bool(max(areas[0], areas[-1]) > LEAST_CUT * areas.max())


def image_facts(
    intensities: NDArray[Any], spacing: Sequence[float], window: Sequence[float] | None = None
) -> dict[str, float]:
    """
    Return the values of an image, see :data:`IMAGE_FACTS`.

    Args:
        intensities: of the voxels, along three axes, that of the slices last. A fourth axis is that of the colours.
        spacing: mm along each axis.
        window: intensities that become 0 and 1. Default: percentiles 0.5 and 99.5.
    """
    values = np.asarray(intensities, dtype=np.float32)
    values = values[np.isfinite(values)]
    low, high = window if window is not None else np.percentile(values, (0.5, 99.5)) if values.size else (0, 0)
    seen = ((values - low) / (high - low)).clip(0, 1) if high > low else np.zeros(1)
    return {
        **_geometry(np.shape(intensities)[:3], spacing),
        "mean_intensity": float(seen.mean()),
        "intensity_spread": float(seen.std()),
    }


def cohort_facts(table: pd.DataFrame) -> CohortFacts:
    """
    Return the values of a cohort.

    Args:
        table: a row for each scan and structure, as :class:`medsize.handlers.CaseTable` writes them. Rows of older runs
            lack values, which are then unknown.
    """
    absent = pd.Series(math.nan, index=table.index)
    structures = {}
    for name, rows in table.groupby("structure", sort=False):
        ends = (rows.get("true_low_ml", rows["true_volume_ml"]), rows.get("true_high_ml", rows["true_volume_ml"]))
        low, high = (end.fillna(rows["true_volume_ml"]).dropna() for end in ends)
        keys = ("at_edge", "outside_largest", "confidence")
        edge, apart, sure = (rows.get(key, absent[rows.index]).dropna() for key in keys)
        view_ml = rows.get("view_mm", absent[rows.index]) ** 2 * rows.get("depth_mm", absent[rows.index]) / MM3_PER_ML
        sizes, fractions = _range(low, high), _range((low / view_ml).dropna(), (high / view_ml).dropna())
        shape: tuple[int | None, float | None] = (None, None)
        if len(apart) >= LEAST_SCANS:
            shape = (int(edge.sum()), rounded(apart.max()))
        usual = rounded(sure.median()) if len(sure) >= LEAST_SCANS else None
        structures[str(name)] = StructureRange(*sizes, *shape, usual, *fractions)
    scans = table.drop_duplicates("image")
    image = {}
    for key in IMAGE_FACTS:
        values = scans.get(key, absent[scans.index]).dropna()
        if len(values) >= LEAST_SCANS:
            median = float(values.median())
            deviation = float((values - median).abs().median())
            image[key] = Usual(rounded(median), rounded(MAD_TO_SD * deviation))
    return CohortFacts(len(scans), structures, image, _rare_confidence(table, structures))


def _range(low: pd.Series, high: pd.Series) -> tuple[float | None, float | None]:
    return (rounded(low.min()), rounded(high.max())) if len(low) >= LEAST_SCANS else (None, None)


def least_confidences(table: pd.DataFrame, structures: Mapping[str, StructureRange]) -> pd.Series:
    """
    Return the confidence of each scan's least sure structure, relative to the structure's median; NaN if unknown.

    Args:
        table: see :func:`cohort_facts`.
        structures: values of the structures over the scans of a cohort.
    """
    usual = table["structure"].astype(str).map({name: of.confidence for name, of in structures.items()}).astype(float)
    confidence = table.get("confidence", pd.Series(math.nan, index=table.index))
    return (confidence / usual).groupby(table["image"]).min()


def _rare_confidence(table: pd.DataFrame, structures: Mapping[str, StructureRange]) -> float | None:
    """
    Return the relative confidence below which a scan's least sure structure is rare.

    Of n scans like those of the cohort, one more is below the k-th smallest value with the probability k / (n + 1).
    """
    of_scans = least_confidences(table, structures).dropna().sort_values()
    if len(of_scans) < LEAST_SCANS:
        return None
    return rounded(of_scans.iloc[max(int(LEAST_SURE * (len(of_scans) + 1)), 1) - 1])


def reliability(
    structures: Mapping[str, StructureFacts],
    image: Mapping[str, float],
    cohort: CohortFacts,
    kind: JudgedKind = OF_SCANS,
) -> Reliability:
    """
    Judge the prediction of a scan.

    It is ``reject`` if a size is far beyond the range of sizes, doubts of two kinds come together or the scan has a
    single intensity, ``look`` if there is a doubt, ``unchecked`` if nothing could be checked, else ``ok``.

    Args:
        structures: values of the predicted structures, by name.
        image: values of the scan.
        cohort: values of the scans that the run was validated on.
        kind: scans or pictures. Defaults to scans.
    """
    doubts: list[_Doubt] = []
    not_checked: list[str] = []
    for name, found in structures.items():
        usual = cohort.structures.get(name, StructureRange())
        in_ml = (usual.low_ml, usual.high_ml)
        low, high = in_ml if found.fraction is None else (usual.low_fraction, usual.high_fraction)
        if low is None or high is None:
            not_checked.append(f"{name}: the size")
        else:
            doubts += _size_doubts(name, found, low, high)
        if usual.confidence is None or cohort.least_confidence is None:
            not_checked.append(f"{name}: the confidence")
        elif found.confidence is None:
            if found.volume_ml > 0:
                not_checked.append(f"{name}: the confidence")
        elif found.confidence < cohort.least_confidence * usual.confidence:
            sure = f"confidence {found.confidence:.2f}, in the validation {usual.confidence:.2f}"
            doubts.append(_Doubt("confidence", f"the network is unsure of {name}: {sure}"))
        if usual.at_edge is None or usual.outside_largest is None:
            not_checked.append(f"{name}: the edge of the {kind.noun}, the components")
            continue
        if found.at_edge and usual.at_edge == 0:
            edge = f"{name} reaches the edge of the {kind.noun}, as in no {kind.noun} of the validation"
            doubts.append(_Doubt("edge", edge))
        if found.outside_largest > usual.outside_largest + MORE_APART:
            share = f"{100 * found.outside_largest:.0f} % of {name} is outside its largest component"
            doubts.append(
                _Doubt("components", f"{share}, in the validation at most {100 * usual.outside_largest:.0f} %")
            )
    keys = kind.image_facts
    not_checked += [IMAGE_FACTS[key].rstrip(",") for key in keys if key not in cohort.image or key not in image]
    if image.get("intensity_spread") == 0:  # whatever the cohort: there is nothing to find
        single = f"the {kind.noun} has a single intensity, as the network sees it"
        doubts.append(_Doubt("intensity", single, rejects=True))
    doubts += _image_doubts({key: image[key] for key in keys if key in image}, cohort)
    together = len({doubt.kind for doubt in doubts}) > 1
    checked = len(not_checked) < 3 * len(structures) + len(keys)
    flag = "look" if doubts else "ok" if checked else "unchecked"
    if together or any(doubt.rejects for doubt in doubts):
        flag = "reject"
    return Reliability(flag, tuple(doubt.reason for doubt in doubts), tuple(not_checked))


class _Doubt(NamedTuple):
    kind: str
    reason: str
    rejects: bool = False


def geometry_doubts(shape: Sequence[int], spacing: Sequence[float], cohort: CohortFacts) -> list[str]:
    """
    Return the reasons why a scan's geometry is unlike that of a cohort; its voxels are not needed.

    Args:
        shape: voxels along each axis, that of the slices last.
        spacing: mm along each axis.
        cohort: values of the cohort's scans.
    """
    return [doubt.reason for doubt in _image_doubts(_geometry(shape, spacing), cohort)]


def _geometry(shape: Sequence[int], spacing: Sequence[float]) -> dict[str, float]:
    return {
        "pixel_mm": math.sqrt(spacing[0] * spacing[1]),
        "slice_mm": float(spacing[2]),
        "view_mm": math.sqrt(spacing[0] * shape[0] * spacing[1] * shape[1]),
        "depth_mm": float(spacing[2] * shape[2]),
    }


def _image_doubts(image: Mapping[str, float], cohort: CohortFacts) -> Iterator[_Doubt]:
    for key, words in IMAGE_FACTS.items():
        if key in cohort.image and key in image and cohort.image[key].z(image[key]) > LARGEST_Z:
            kind = "intensity" if "intensity" in key else "geometry"
            yield _Doubt(kind, f"{words} is {image[key]:.3g}, in the validation {cohort.image[key].median:.3g}")


def _size_doubts(name: str, found: StructureFacts, low: float, high: float) -> Iterator[_Doubt]:
    size, unit, verb = found.volume_ml, "mL", "has"
    if found.fraction is not None:
        size, low, high, unit, verb = 100 * found.fraction, 100 * low, 100 * high, "% of the picture", "fills"
    known = f"those of the validation are {size_text(low, 3)} to {size_text(high, 3)} {unit.partition(' ')[0]}"
    if size == 0 and low > 0:
        yield _Doubt("size", f"{name} was not found; {known}", rejects=True)
    elif size > BEYOND * high or size < low / BEYOND:
        far = size > FAR_BEYOND * high or size < low / FAR_BEYOND
        yield _Doubt("size", f"{name} {verb} {size_text(size, 3)} {unit}; {known}", rejects=far)
