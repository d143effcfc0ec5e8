"""Data list of a cohort, with folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medsize.cohort.conversion.pictures import IGNORED
from medsize.data.cohort import Cohort
from medsize.data.data_list import write_data_list
from medsize.data.folds import folds_of_subjects
from medsize.data.load_cohort import load_cohort
from medsize.scans.scan_facts import mask_facts

__all__ = ["write_cohort"]


def write_cohort(
    output_dir: Path,
    structures: Sequence[str],
    items: Sequence[Mapping[str, Any]],
    num_folds: int,
    inside: Mapping[str, str] | None = None,
    length_unit: Literal["mm", "px"] = "mm",
    modalities: Iterable[str] = (),
    size_source: str = "",
) -> Cohort:
    """
    Divide the scans into folds, write ``datalist.json``, and read it like a training run.

    Args:
        output_dir: folder of the cohort.
        structures: names of the classes 1, 2, ….
        items: items of a data list, without folds.
        num_folds: number of folds.
        inside: organ of each structure.
        length_unit: ``px`` if the size of the pictures' pixels is unknown.
        modalities: modality of each scan. One that all share is written.
        size_source: from :func:`medsize.cohort.sizes.source.size_source`.
    """
    folds = folds_of_subjects(items, structures, output_dir, num_folds)
    data_list = output_dir / "datalist.json"
    folded = [{**item, "fold": folds[item["subject"]]} for item in items]
    top_level: dict[str, Any] = {"inside": dict(inside)} if inside else {}
    top_level |= {"length_unit": length_unit} if length_unit != "mm" else {}
    top_level |= {"size_source": size_source} if size_source else {}
    if len(kinds := set(modalities)) == 1 and kinds != {""}:
        top_level["modality"] = {"0": kinds.pop()}  # as in the Decathlon
    labels = [output_dir / item["label"] for item in items if "label" in item]
    if len(structures) < IGNORED and any(IGNORED in mask_facts(label).values for label in labels):
        top_level["mask_ignored"] = IGNORED
    write_data_list(data_list, ["background", *structures], folded, size_unit="mm3", **top_level)
    return load_cohort(data_list, output_dir)
