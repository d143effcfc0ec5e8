"""Table of metrics, a row for each case and structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.metrics import compute_dice, compute_hausdorff_distance

from medsize.bundle.run.folder import METRICS
from medsize.bundle.run.summary import RunResults
from medsize.files import atomic_write
from medsize.handlers.run_record import RunRecord
from medsize.losses.composite import IGNORE_INDEX
from medsize.metrics.conformal import LEVEL, SizeCalibration, calibrate
from medsize.metrics.reliability import IMAGE_FACTS, cohort_facts, structure_facts
from medsize.metrics.size_error import relative_size_error, volume_error, volumes_of
from medsize.scans.file_facts import file_facts
from medsize.sizes.fitted_ellipse import fitted_circumference
from medsize.units import MM3_PER_ML

__all__ = ["CaseTable", "calibrate_volumes"]


class CaseTable:
    """
    Handler that writes ``metrics.csv``, a row for each case and structure, and the run's ``summary.json``.

    Columns: ``image``, ``subject``, ``structure``, ``dice``, ``hd95_mm``, ``volume_ml``, ``true_volume_ml``,
    ``true_low_ml`` and ``true_high_ml`` (both ends of it), ``volume_error_ml`` (absolute) and ``relative_size_error``,
    both by :mod:`medsize.metrics.size_error`; ``false_finding`` and ``false_fraction``; ``circumference_mm``,
    ``true_circumference_mm`` and ``circumference_error_mm`` (absolute); then ``at_edge``, ``outside_largest``,
    ``confidence`` and the values of the image, see :mod:`medsize.metrics.reliability`. Without a mask, Dice and HD95
    stay empty, and the true volume is the given size, or the middle of its interval. Dice stays empty if a structure is
    neither predicted nor present, HD95 if it is missing on one side. The relative size error stays empty if the
    structure is absent or its size unknown. An absent structure is a false finding (1, else 0) if at least
    ``least_voxels`` are predicted;
    ``false_fraction`` is the part of the scan that they take. Both stay empty if the structure is present or unknown.
    Circumferences, by :func:`medsize.sizes.fitted_ellipse.fitted_circumference`, stay empty unless one is stated. The
    first of several processes writes all rows.

    The summary also gets the calibration of the volumes, see :func:`calibrate_volumes`, and ``inference.json`` gets it
    with the values of the scans, see :func:`medsize.metrics.reliability.cohort_facts`.

    Args:
        output_dir: folder to write to.
        structures: names of the foreground classes.
        batch_transform: takes the items from ``engine.state.batch``: dictionaries with ``subject``, a decollated
            ``image``, ``true_volume_mm3`` if known, ``(2, K − 1)``, ``true_circumference_mm`` if stated, ``(K − 1,)``,
            and ``true_label`` if there is a mask, ``(1, *spatial)``, 255 in voxels that do not count.
        output_transform: takes the one-hot predictions ``(K, *spatial)`` from ``engine.state.output``, in the space of
            the labels. Where the outputs are dictionaries, ``confidence`` in them is that of each structure,
            ``(K − 1,)``, see :class:`medsize.transforms.SoftDiceConfidence`.
        record: record that writes the summary. Default: none.
        level: probability with which the interval of a volume shall hold the true one. Defaults to 0.9.
        least_voxels: least number of voxels that are a finding. Defaults to 10.
    """

    def __init__(
        self,
        output_dir: str,
        structures: Sequence[str],
        output_transform: Callable,
        batch_transform: Callable = lambda batch: batch,
        record: RunRecord | None = None,
        level: float = LEVEL,
        least_voxels: int = 10,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.structures = list(structures)
        self.batch_transform = batch_transform
        self.output_transform = output_transform
        self.record = record
        self.level = level
        self.least_voxels = least_voxels
        self._cases: list[list[dict[str, Any]]] = []

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: an evaluator.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_cases)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        self._cases = []
        if self.record is not None:
            self.record.write_config()

    def _add_cases(self, engine: Engine) -> None:
        items = self.batch_transform(engine.state.batch)
        outputs = engine.state.output
        for item, prediction, output in zip(items, self.output_transform(outputs), outputs, strict=True):
            confidence = output.get("confidence") if isinstance(output, dict) else None
            self._cases.append(self._rows_of(item, prediction, confidence))

    def _rows_of(
        self, item: dict[str, Any], prediction: MetaTensor, confidence: torch.Tensor | None
    ) -> list[dict[str, Any]]:
        if "true_label" in item:
            prediction = _without_ignored(prediction, item["true_label"].as_tensor())
        volumes = volumes_of(prediction.unsqueeze(0))[0].cpu()
        onehot = prediction.as_tensor().unsqueeze(0)
        spacing = prediction.affine[:3, :3].norm(dim=0).tolist()
        count = len(self.structures)
        dice, distance = [math.nan] * count, [math.nan] * count
        low = high = torch.full_like(volumes, torch.nan)
        if "true_label" in item:
            label = item["true_label"].as_tensor().long()
            label = label.masked_fill(label == IGNORE_INDEX, 0)
            true_onehot = torch.zeros_like(onehot).scatter_(1, label.unsqueeze(0).to(onehot.device), 1)
            found = compute_dice(onehot, true_onehot, include_background=False, ignore_empty=False)[0]
            dice = found.tolist()
            distance = _hausdorff_95(onehot[0, 1:], true_onehot[0, 1:], spacing)
            low = high = volumes_of(MetaTensor(true_onehot, affine=prediction.affine))[0].cpu()
            dice = [math.nan if volumes[k] == low[k] == 0 else dice[k] for k in range(count)]
        elif "true_volume_mm3" in item:
            low, high = item["true_volume_mm3"].cpu()
        voxels = onehot[0, 1:].flatten(1).sum(dim=1).cpu().double()
        is_absent = high == 0
        circumferences = torch.full_like(volumes, torch.nan)
        stated = item.get("true_circumference_mm", circumferences).cpu()
        for k in stated.isfinite().nonzero().flatten().tolist():
            circumferences[k] = _circumference(onehot[0, 1 + k], spacing)
        columns = {
            "volume_ml": volumes / MM3_PER_ML,
            "true_volume_ml": torch.where(high.isfinite(), (low + high) / 2, torch.nan) / MM3_PER_ML,
            "true_low_ml": torch.where(high.isfinite(), low, torch.nan) / MM3_PER_ML,
            "true_high_ml": torch.where(high.isfinite(), high, torch.nan) / MM3_PER_ML,
            "volume_error_ml": volume_error(volumes, low, high).abs() / MM3_PER_ML,
            "relative_size_error": relative_size_error(volumes, low, high),
            "false_finding": torch.where(is_absent, (voxels >= self.least_voxels).double(), torch.nan),
            "false_fraction": torch.where(is_absent, voxels / onehot[0, 0].numel(), torch.nan),
            "circumference_mm": circumferences,
            "true_circumference_mm": stated,
            "circumference_error_mm": (circumferences - stated).abs(),
        }
        confidences = [math.nan] * count if confidence is None else confidence.tolist()
        voxel_ml = float(prediction.affine[:3, :3].double().det().abs()) / MM3_PER_ML
        shapes = [structure_facts(mask.cpu().numpy() > 0, voxel_ml) for mask in onehot[0, 1:]]
        file = str(item["image"].meta["filename_or_obj"])
        seen = () if self.record is None else (self.record.intensity_window, self.record.orientation)
        image = file_facts(file, *seen)
        return [
            {
                "image": file,
                "subject": item.get("subject"),
                "structure": name,
                "dice": dice[k],
                "hd95_mm": distance[k],
                **{column: float(values[k]) for column, values in columns.items()},
                "at_edge": int(shapes[k].at_edge),
                "outside_largest": shapes[k].outside_largest,
                "confidence": confidences[k],
                **{key: image.get(key, math.nan) for key in IMAGE_FACTS},
            }
            for k, name in enumerate(self.structures)
        ]

    def _write(self, _: Engine) -> None:
        in_turn = zip_longest(*idist.all_gather(self._cases), fillvalue=())
        if idist.get_rank() > 0:
            return
        table = pd.DataFrame(chain.from_iterable(chain.from_iterable(in_turn)))
        with atomic_write(self.output_dir / METRICS) as file:
            table.to_csv(file, index=False, float_format="%.6g")
        if self.record is not None:
            self.record.write_summary(
                calibration=calibrate_volumes(table, self.level),
                cohort=cohort_facts(table),
                cases=int(table["image"].nunique()),
                results=summarise(table),
            )


def _circumference(mask: torch.Tensor, spacing: Sequence[float]) -> float:
    """Return the circumference of a structure in a picture: 0 if it is not found, NaN if the scan has slices."""
    if mask.ndim != 3 or mask.shape[2] != 1:
        return math.nan
    return fitted_circumference(mask[..., 0].cpu().numpy() > 0, spacing[:2]) if bool(mask.any()) else 0.0


def _without_ignored(prediction: MetaTensor, label: torch.Tensor) -> MetaTensor:
    """Return the one-hot prediction with background at the voxels that the mask gives no class."""
    ignored = (label == IGNORE_INDEX).to(prediction.device)
    if not bool(ignored.any()):
        return prediction
    background = prediction.as_tensor().new_zeros(len(prediction))
    background[0] = 1
    plain = torch.where(ignored, background.view(-1, *(1,) * (prediction.ndim - 1)), prediction.as_tensor())
    return MetaTensor(plain, meta=prediction.meta)


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """
    Compute each structure's mean and standard deviation over the cases, and the means over the structures.

    Args:
        table: rows as :class:`CaseTable` writes them.

    Returns:
        by metric: ``mean`` over the structures and, by structure, ``mean``, ``std`` and the number of ``cases`` in
        which it is defined; ``None`` if it is defined in none.
    """
    metrics = {}
    for metric in (name for name in RunResults.model_fields if name in table):  # older tables lack the newer ones
        by_structure = {}
        for name, values in table.groupby("structure", sort=False)[metric]:
            defined = values.dropna()
            by_structure[str(name)] = {
                "mean": round(float(defined.mean()), 4) if len(defined) else None,
                "std": round(float(defined.std(ddof=0)), 4) if len(defined) else None,
                "cases": len(defined),
            }
        means = [entry["mean"] for entry in by_structure.values() if entry["mean"] is not None]
        metrics[metric] = {
            "mean": round(float(np.mean(means)), 4) if means else None,
            "structures": by_structure,
        }
    return metrics


def calibrate_volumes(table: pd.DataFrame, level: float = LEVEL) -> dict[str, SizeCalibration]:
    """
    Calibrate each structure's predicted volumes by the true ones.

    Args:
        table: rows as :class:`CaseTable` writes them; those of older runs lack the ends of the true volumes.
        level: probability with which the interval of a volume shall hold the true one.

    Returns:
        by structure; a scan without a subject counts as one of its own.
    """
    low, high = (
        table[name].fillna(table["true_volume_ml"]) if name in table else table["true_volume_ml"]
        for name in ("true_low_ml", "true_high_ml")
    )
    subject = table["subject"].fillna(table["image"])
    return {
        str(name): calibrate(rows["volume_ml"], low[rows.index], high[rows.index], list(subject[rows.index]), level)
        for name, rows in table.groupby("structure", sort=False)
    }


def _hausdorff_95(prediction: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float]) -> list[float]:
    """Return the 95th percentile of each class's Hausdorff distance, mm; NaN if it is missing on one side."""
    distances = []
    for p, t in zip(prediction, truth, strict=True):
        if not bool(p.any()) or not bool(t.any()):
            distances.append(math.nan)
            continue
        # The box around both suffices, and makes the distance transforms much cheaper.
        occupied = ((p > 0) | (t > 0)).nonzero()
        box = tuple(
            slice(max(int(a) - 1, 0), int(b) + 2)
            for a, b in zip(occupied.amin(dim=0), occupied.amax(dim=0), strict=True)
        )
        pair = (x[box][None, None] for x in (p, t))
        distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing))
        distances.append(float(distance))
    return distances
