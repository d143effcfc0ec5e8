"""Agreement of readers: with masks, with each other, and with themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medsize.measure.readings import Reading
from medsize.sizes.error_model import ErrorModel

__all__ = ["Repeated", "agreement_rows", "error_model", "icc", "models_by_method", "repeated_readings"]

FEWEST_ERRORS = 3
FEWEST_FOR_TAILS = 20
"""Errors that the heaviness of the tails is fitted to."""
LIMIT = 1.96


def error_model(values: Sequence[float], truths: Sequence[float]) -> ErrorModel | None:
    """
    Fit the model of errors, by maximum likelihood; ``None`` for fewer than three readings.

    Tails are fitted to twenty readings or more, otherwise they are normal.

    Args:
        values: sizes that were read, above 0.
        truths: true sizes, above 0.
    """
    if len(values) < FEWEST_ERRORS:
        return None
    logs = np.log(np.array(values) / np.array(truths))
    if len(logs) < FEWEST_FOR_TAILS or np.ptp(logs) == 0:
        return ErrorModel(bias=math.exp(logs.mean()), spread=float(logs.std(ddof=1)))
    degrees, middle, spread = stats.t.fit(logs)
    return ErrorModel(bias=math.exp(middle), spread=float(spread), degrees=degrees if degrees <= 100 else math.inf)


def icc(values: np.ndarray) -> float:
    """
    Return the intraclass correlation ICC(2,1): two-way, random, absolute agreement, single readings.

    Source: Shrout, Fleiss. "Intraclass correlations: uses in assessing rater reliability". Psychological Bulletin 1979.

    Args:
        values: a row for each scan, a column for each reader (or round); two of each at least.

    Raises:
        ValueError: when there are fewer.
    """
    n, k = values.shape
    if n < 2 or k < 2:
        raise ValueError(f"found {n} scans of {k} readers, expected two of each at least. Measure more.")
    mean = values.mean()
    rows = k * ((values.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    columns = n * ((values.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    rest = ((values - mean) ** 2).sum() - rows * (n - 1) - columns * (k - 1)
    error = rest / ((n - 1) * (k - 1))
    whole = rows + (k - 1) * error + k * (columns - error) / n
    return float((rows - error) / whole) if whole > 0 else math.nan


@dataclass(frozen=True)
class Repeated:
    """Agreement of sizes that were read twice or more often."""

    scans: int
    icc: float
    cv: float
    """Within-scan coefficient of variation: root mean square of standard deviation over mean."""
    difference: float
    """Mean difference of the second from the first reading, over their mean (Bland and Altman, in parts)."""
    low: float
    high: float
    """Limits of agreement: 95 % of the differences."""


def repeated_readings(values: np.ndarray) -> Repeated | None:
    """
    Return the agreement of repeated readings; ``None`` for fewer than two scans or readings.

    Bland and Altman's differences are those of all pairs of columns.

    Source: Bland, Altman. "Statistical methods for assessing agreement". Lancet 1986.

    Args:
        values: a row for each scan, a column for each reader or round.
    """
    n, k = values.shape if values.ndim == 2 else (0, 0)
    if n < 2 or k < 2:
        return None
    means = values.mean(axis=1)
    cv = float(np.sqrt((values.var(axis=1, ddof=1) / means**2).mean()))
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    differences = np.concatenate([2 * (values[:, j] - values[:, i]) / (values[:, i] + values[:, j]) for i, j in pairs])
    middle, spread = float(differences.mean()), float(differences.std(ddof=1))
    return Repeated(n, icc(values), cv, middle, middle - LIMIT * spread, middle + LIMIT * spread)


def agreement_rows(
    readings: Iterable[Reading], truths: Mapping[tuple[str, str], float]
) -> list[dict[str, str | float | int | None]]:
    """
    Return a row for each structure and method.

    Readings of absent structures and clicks state no size to compare. Intra-reader values compare rounds of one reader,
    inter-reader values the first rounds of readers, in scans that all of them have measured by the method.

    Args:
        readings: the latest readings of each reader, round, scan and structure.
        truths: volumes in masks, mm³, by scan and structure.
    """
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.structure, reading.method), []).append(reading)
    rows: list[dict[str, str | float | int | None]] = []
    for (structure, method), read in sorted(groups.items()):
        sized = [r for r in read if r.kind != "none" and (r.value or 0) > 0]
        true = _with_truth(sized, truths)
        row: dict[str, str | float | int | None] = {
            "structure": structure,
            "method": method,
            "readings": len(read),
            "readers": len({r.reader for r in read}),
            "seconds": float(np.median([r.seconds for r in read])),
            "with_mask": len(true),
        }
        errors = [abs((r.value or 0) / truth - 1) for r, truth in true]
        row["mre"] = float(np.mean(errors)) if errors else None
        within = [(r.low or 0) <= truth <= (r.high or 0) for r, truth in true]
        row["in_interval"] = float(np.mean(within)) if within else None
        for third, part in zip(("small", "middle", "large"), _thirds(errors, [t for _, t in true]), strict=True):
            row[f"mre_{third}"] = part
        model = error_model([r.value or 0 for r, _ in true], [t for _, t in true])
        row |= {"bias": None, "spread": None, "degrees": None}
        if model is not None:
            row |= {"bias": model.bias, "spread": model.spread, "degrees": model.degrees}
        for name, values in (("intra", _rounds(sized)), ("inter", _readers(sized))):
            repeated = repeated_readings(values)
            for key in ("scans", "icc", "cv", "difference", "low", "high"):
                row[f"{name}_{key}"] = None if repeated is None else getattr(repeated, key)
        rows.append(row)
    return rows


def models_by_method(readings: Iterable[Reading], truths: Mapping[tuple[str, str], float]) -> dict[str, ErrorModel]:
    """
    Return the model of the errors of each method, of all structures together.

    Args:
        readings: see :func:`agreement_rows`.
        truths: see :func:`agreement_rows`.

    Returns:
        by method; those of fewer than three readings with a truth are left out.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    for reading, truth in _with_truth(readings, truths):
        groups.setdefault(reading.method, []).append((reading.value or 0, truth))
    found = {method: error_model(*zip(*pairs, strict=True)) for method, pairs in sorted(groups.items())}
    return {
        method: model.model_copy(update={"method": method, "readings": len(groups[method])})
        for method, model in found.items()
        if model is not None
    }


def _with_truth(readings: Iterable[Reading], truths: Mapping[tuple[str, str], float]) -> list[tuple[Reading, float]]:
    """Return the readings of volumes whose structures are in masks, with their volumes there."""
    return [
        (r, truths[r.task])
        for r in readings
        if r.kind == "volume_mm3" and (r.value or 0) > 0 and truths.get(r.task, 0) > 0
    ]


def _thirds(errors: Sequence[float], truths: Sequence[float]) -> list[float | None]:
    """Return the mean error of the small, the middle and the large structures; ``None`` for fewer than six."""
    if len(errors) < 2 * 3:
        return [None] * 3
    parts = np.array_split(np.array(errors)[np.argsort(truths)], 3)
    return [float(part.mean()) for part in parts]


def _rounds(readings: Sequence[Reading]) -> np.ndarray:
    """Return the sizes of the first two rounds, a row for each reader and scan that has both."""
    first, second = ({(r.reader, r.scan): r.value for r in readings if r.round == number} for number in (1, 2))
    return np.array([[first[key], second[key]] for key in first if key in second], dtype=float)


def _readers(readings: Sequence[Reading]) -> np.ndarray:
    """Return the first round's sizes, a row for each scan that all readers have measured."""
    values = {(r.scan, r.reader): r.value for r in readings if r.round == 1}
    readers = sorted({reader for _, reader in values})
    scans = [scan for scan in sorted({scan for scan, _ in values}) if all((scan, r) in values for r in readers)]
    return np.array([[values[scan, r] for r in readers] for scan in scans], dtype=float)
