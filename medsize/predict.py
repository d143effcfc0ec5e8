"""Segment scans with the network of a run: MONAI's inference, from any format to masks, volumes and a picture."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import torch

from medsize.bundle import run_command
from medsize.data.found_scan import FoundScan, ScanKind
from medsize.data.image_file import write_nifti
from medsize.data.scans import find_scans, read_scan
from medsize.data.size_table import SizeTable
from medsize.data.whole_file import written_whole
from medsize.finished_run import check_finished

__all__ = ["predict"]

IMAGES = (ScanKind.FILE, ScanKind.SERIES, ScanKind.MULTIFRAME)
MAX_SHOWN = 24


def predict(
    run: Path,
    scans: Path,
    output_dir: Path,
    size_table: SizeTable | None = None,
    bundle: Path | None = None,
    report: Callable[[str], None] = print,
) -> list[str]:
    """
    Segment scans with the network that a run has trained.

    ``output_dir`` gets ``images/``, the scans as NIfTI; ``masks/``, in the space of the scans, with their volumes;
    ``predictions.csv``, the volume of each structure in each scan and, with a size table, how far it is from the size
    stated (as :class:`medsize.metrics.RelativeSizeError` has it); and ``montage.png``.

    Args:
        run: output folder of a run, which was not cropped to regions of interest.
        scans: an image file, or a folder with image files or DICOM series, at any depth.
        output_dir: folder to write to; new or empty.
        size_table: sizes to compare with; its images are paths from the folder ``scans``.
        bundle: the bundle that the run is one of. Default: where the run found it.
        report: told of the command of MONAI that is run.

    Returns:
        what is wrong with scans that could not be read, and were left out.

    Raises:
        ValueError: when nothing can be segmented, naming what is missing.
        subprocess.CalledProcessError: when the inference fails.
    """
    summary = _summary(run)
    bundle = Path(summary["bundle"]) if bundle is None else bundle
    if not (bundle / "configs" / "inference.yaml").is_file():
        raise ValueError(
            f"{bundle} is no bundle with configs/inference.yaml. Name the bundle of the run: --bundle FOLDER"
        )
    if output_dir.exists() and any(output_dir.iterdir()):
        raise ValueError(f"{output_dir} is not empty: name a new folder.")
    folder = scans.parent if scans.is_file() else scans
    found = [scan for scan in find_scans(folder) if scans.is_dir() or scan.files == (scans,)]
    sources, problems = _convert(found, folder, output_dir / "images")
    if not sources:
        raise ValueError("\n".join([f"{scans}: there is no scan to segment.", *problems]))

    options = [
        "--dataset_dir",
        str((output_dir / "images").resolve()),
        "--output_dir",
        str(output_dir.resolve() / "masks"),
    ]
    command = run_command(bundle, ["inference.yaml", run / "inference.json"], options)
    report(" ".join(["python", *command[1:]]))
    subprocess.run(command, check=True)

    structures = json.loads((run / "inference.json").read_text())["structures"]
    volumes = pd.read_csv(output_dir / "masks" / "volumes.csv")
    with written_whole(output_dir / "predictions.csv") as file:
        pd.DataFrame(_rows(volumes, sources, folder, size_table)).to_csv(file, index=False, float_format="%.6g")
    _draw(output_dir, list(sources)[:MAX_SHOWN], num_classes=len(structures) + 1)
    return problems


def _summary(run: Path) -> dict[str, Any]:
    check_finished(run, ["model.pt", "inference.json", "summary.json"])
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    if summary["roi"]:
        raise ValueError(
            f"{run} was cropped to regions of interest (use_roi), which new scans come without: put them into a data "
            "list with a roi each, and use the bundle's inference_roi.yaml."
        )
    return summary


def _convert(found: list[FoundScan], folder: Path, images: Path) -> tuple[dict[str, Path], list[str]]:
    """Write the scans as NIfTI; returns by name where each comes from, and what is wrong with the others."""
    sources: dict[str, Path] = {}
    problems = [scan.fault for scan in found if scan.kind is ScanKind.UNREADABLE]
    for scan in found:
        if scan.kind not in IMAGES:
            continue
        source = scan.files[0] if scan.kind is ScanKind.FILE else scan.files[0].parent
        base = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", "_".join(source.relative_to(folder).parts)) or "scan"
        name, count = base, 1
        while name in sources:
            count += 1
            name = f"{base}_{count}"
        try:
            image = read_scan(scan)
        except ValueError as e:
            problems.append(str(e))
            continue
        write_nifti(image, images / f"{name}.nii.gz")
        sources[name] = source
    return sources, problems


def _rows(
    volumes: pd.DataFrame, sources: dict[str, Path], folder: Path, table: SizeTable | None
) -> Iterator[dict[str, Any]]:
    for _, row in volumes.iterrows():
        name = Path(row["image"]).name.removesuffix(".nii.gz")
        source = sources[name].relative_to(folder).as_posix()
        given: dict[str, Any] = {}
        if table is not None and source in table.rows_by_image:
            given = table.sizes_of(source, folder).get("size") or {}
        for column in volumes.columns[1:]:
            structure = column.removesuffix(" (mL)")
            entry = {"image": source, "structure": structure, "volume_ml": row[column]}
            if table is not None:
                low, high = _ends(given.get(structure))
                middle = (low + high) / 2
                miss = max(low - row[column], row[column] - high, 0.0)
                entry |= {"low_ml": low, "high_ml": high}
                entry["relative_size_error"] = miss / middle if middle > 0 else math.nan
            yield entry


def _ends(size: float | list[float] | None) -> tuple[float, float]:
    """mL, of a size in mm³."""
    low, high = (math.nan, math.nan) if size is None else size if isinstance(size, list) else (size, size)
    return low / 1000, high / 1000


def _draw(output_dir: Path, names: list[str], num_classes: int) -> None:
    """Of every scan the slice along the last axis that shows most of the prediction."""
    from matplotlib.figure import Figure

    from medsize.handlers.overlay import overlay

    columns = min(len(names), 6)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.axis("off")
    for axes, name in zip(figure.axes, names, strict=False):
        image = np.asarray(nibabel.load(output_dir / "images" / f"{name}.nii.gz").dataobj, dtype=np.float32)
        mask = np.asarray(nibabel.load(output_dir / "masks" / f"{name}_seg.nii.gz").dataobj).astype(np.int64)
        low, high = np.percentile(image, [0.5, 99.5])
        shown = torch.from_numpy(np.clip((image - low) / max(high - low, 1e-6), 0, 1))[None]
        onehot = torch.nn.functional.one_hot(torch.from_numpy(mask), num_classes).movedim(-1, 0)
        axes.imshow(overlay(shown, onehot).permute(2, 1, 0).numpy(), origin="lower")
        axes.set_title(name, fontsize=7)
    with written_whole(output_dir / "montage.png") as file:
        figure.savefig(file, format="png", dpi=120)
