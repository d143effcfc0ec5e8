"""
Against the field: nnU-Net from masks of a few patients, where ``peers.yaml`` trains medsize from these masks and sizes.

    medsize ladder benchmarks/peers.yaml --data DATA --work-dir WORK
    python -m benchmarks.peers WORK/acdc_192_mm_around_the_heart --data DATA/ACDC [--masks 1 3 5 10 45]

nnU-Net gets its own environment, the masks of the same first patients, and the same region of each scan, at the scans'
own spacing. It plans, trains and predicts with its own commands and default settings, apart from the length of the
training and the memory that the plan may use: both are sized for a CPU. Its finished trainings are kept.

The table is docs/peers.csv, with the rows of medsize from its ladder; docs/peers.png shows the curve. Reference:
Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature Methods
18, 2021.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from monai.transforms import LoadImage, SaveImage

from medsize.data import load_cohort
from medsize.items import CohortItem
from medsize.transforms import CropToRoi

__all__ = ["NnUNet", "dice", "draw", "medsize_rows", "write_cases"]

PROJECT = Path(__file__).parent.parent
PEER = ("torch==2.13.0", "nnunetv2==2.8.1")
EXTENT_MM = (192.0, 192.0, -1.0)
"""Region around the heart: that of ``peers.yaml``, in all slices."""
SHORT = PROJECT / "benchmarks" / "short_nnunet.py"
PATIENTS = 45
"""All that are trained on."""


@dataclass(frozen=True)
class NnUNet:
    """
    nnU-Net in a folder of its own.

    Args:
        folder: for its environment, scans and results.
        epochs: number of epochs.
        iterations: steps of each.
        memory_gb: GB that its plan may use; decides on the patch and the batch.
    """

    folder: Path
    epochs: int = 20
    iterations: int = 25
    memory_gb: float = 1.0

    def install(self) -> None:
        """Make its environment, unless it is there."""
        ready = self.folder / "environment" / "ready.txt"
        if not ready.is_file():
            subprocess.run([sys.executable, "-m", "venv", ready.parent], check=True)
            subprocess.run([ready.parent / "bin" / "pip", "install", "--quiet", *PEER], check=True)
            ready.write_text("\n".join(PEER))

    def train(self, number: int) -> float:
        """
        Plan and train on one of its data sets; return the seconds of processor time.

        Args:
            number: of the data set.
        """
        done = self.folder / "results" / f"{self._name(number)}.json"
        if not done.is_file():
            before = _processor_time()
            self._run("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "2d", "-gpu_memory_target", self.memory_gb)
            self._run("python", SHORT, self._name(number), self.epochs, self.iterations)
            done.write_text(json.dumps({"seconds": _processor_time() - before}))
        return float(json.loads(done.read_text())["seconds"])

    def predict(self, number: int, images: Path, output: Path) -> None:
        """
        Predict scans.

        Args:
            number: of the data set that it was trained on.
            images: folder of the scans.
            output: folder for the masks.
        """
        which = ("-d", number, "-c", "2d", "-f", "all", "-device", "cpu")
        self._run("nnUNetv2_predict", "-i", images, "-o", output, *which)

    def data_set(self, number: int) -> Path:
        """Return the folder of a data set."""
        return self.folder / "raw" / self._name(number)

    @staticmethod
    def _name(number: int) -> str:
        return f"Dataset{number:03d}_{number}Masks"

    def _run(self, command: str, *arguments: object) -> None:
        folders = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        one_process = {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
        with (self.folder / "log.txt").open("a") as log:
            subprocess.run(
                [self.folder / "environment" / "bin" / command, *map(str, arguments)],
                env={**os.environ, **folders, **one_process, "PYTHONPATH": ""},
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def write_cases(
    items: Sequence[CohortItem], images: Path, labels: Path, extent_mm: Sequence[float] = EXTENT_MM
) -> None:
    """
    Write the regions of interest of scans and masks, as nnU-Net names them.

    Args:
        items: with ``roi`` and ``label``.
        images: folder for the scans.
        labels: folder for the masks.
        extent_mm: of a region, see :class:`medsize.transforms.CropToRoi`.
    """
    crop = CropToRoi(extent_mm)
    load = LoadImage(ensure_channel_first=True)
    for item in items:
        name = Path(item["image"]).name.removesuffix(".nii.gz")
        for file, folder, suffix in ((item["image"], images, "_0000"), (item["label"], labels, "")):
            folder.mkdir(parents=True, exist_ok=True)
            save = SaveImage(folder, output_postfix="", separate_folder=False, resample=False, print_log=False)
            save(crop(load(file), item["roi"]), filename=str(folder / f"{name}{suffix}"))


def dice(predicted: Path, labels: Path, structures: Sequence[str]) -> pd.DataFrame:
    """
    Return the Dice of each mask and structure.

    Args:
        predicted: folder of masks.
        labels: folder of the true ones, of the same names.
        structures: of the classes from 1 on.
    """
    load = LoadImage(ensure_channel_first=True)
    rows = []
    for file in sorted(labels.glob("*.nii.gz")):
        found, true = (_onehot(load(folder / file.name), len(structures)) for folder in (predicted, labels))
        values = compute_dice(found, true, include_background=False)[0]
        rows += [{"scan": file.name, "structure": s, "dice": float(v)} for s, v in zip(structures, values, strict=True)]
    return pd.DataFrame(rows)


def medsize_rows(ladder: Path) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of medsize from the table of its ladder.

    Args:
        ladder: CSV of ``peers.yaml``.
    """
    table = pd.read_csv(ladder)
    for rung, rows in table.groupby("rung", sort=False):
        masks = int("".join(filter(str.isdigit, str(rung))) or 0)
        with_sizes = str(rung).endswith("sizes")
        method = "medsize, masks and sizes of the rest" if with_sizes else "medsize, masks alone"
        yield {"method": method, "masks": masks, "Dice": rows["Dice"].mean(), "seconds": rows["seconds"].mean()}


def draw(table: pd.DataFrame, file: Path) -> None:
    """
    Draw Dice over the number of patients with masks.

    Args:
        table: rows with ``method``, ``masks`` and ``Dice``.
        file: PNG to write.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for method, rows in table.groupby("method", sort=False):
        rows = rows.sort_values("masks")
        axes.plot(np.log2(rows["masks"] + 1), rows["Dice"], marker="o", label=str(method))
    ticks = sorted(set(table["masks"]))
    axes.set_xticks(np.log2(np.array(ticks) + 1), [str(t) for t in ticks])
    axes.set_xlabel("patients with masks")
    axes.set_ylabel("Dice on unseen patients")
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=120)


def _onehot(mask: MetaTensor, num_structures: int) -> torch.Tensor:
    return one_hot(mask.as_tensor().unsqueeze(0), num_structures + 1)


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Train nnU-Net for each number of masks, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, help="folder of the ladder's cohort, with datalist.json")
    parser.add_argument("--data", type=Path, required=True, help="folder that the data list's paths start from")
    parser.add_argument("--masks", type=int, nargs="+", default=[1, 3, 5, 10, PATIENTS], help="patients with masks")
    parser.add_argument("--epochs", type=int, default=NnUNet.epochs)
    parser.add_argument("--iterations", type=int, default=NnUNet.iterations)
    parser.add_argument("--memory-gb", type=float, default=NnUNet.memory_gb)
    parser.add_argument("--ladder", type=Path, default=PROJECT / "bundles" / "size_seg_2d" / "docs" / "peers.csv")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "peers.csv")
    options = parser.parse_args()

    peer = NnUNet(options.cohort / "nnunet", options.epochs, options.iterations, options.memory_gb)
    peer.install()
    cohort = load_cohort(options.cohort / "datalist.json", options.data)
    training, tested = ([i for i in cohort.items if (i["fold"] == 0) is is_tested] for is_tested in (False, True))
    images, labels = peer.folder / "tested" / "images", peer.folder / "tested" / "labels"
    write_cases(tested, images, labels)
    rows = list(medsize_rows(options.ladder)) if options.ladder.is_file() else []
    for masks in options.masks:
        subjects = list(dict.fromkeys(item["subject"] for item in training))[:masks]
        chosen = [item for item in training if item["subject"] in subjects]
        folder = peer.data_set(masks)
        write_cases(chosen, folder / "imagesTr", folder / "labelsTr")
        description = {
            "channel_names": {"0": "MRI"},
            "labels": {name: number for number, name in enumerate(cohort.class_names)},
            "numTraining": len(chosen),
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(description, indent=2))
        seconds = peer.train(masks)
        predicted = peer.folder / "predicted" / str(masks)
        peer.predict(masks, images, predicted)
        mean = dice(predicted, labels, cohort.class_names[1:])["dice"].mean()
        rows.append({"method": "nnU-Net, masks alone", "masks": masks, "Dice": mean, "seconds": seconds})
        table = pd.DataFrame(rows)
        table.round(3).to_csv(options.output, index=False)
        draw(table, options.output.with_suffix(".png"))
        print(table.round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
