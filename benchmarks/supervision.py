"""
Study: what each kind of supervision reaches with a plain UNet from random weights, on real scans.

    python -m benchmarks.supervision --data ../shared/data --work-dir runs/supervision

It prepares the cohorts, trains and evaluates the 2D bundle once for every cohort and supervision through
``python -m monai.bundle run``, two one-thread runs at a time, and writes ``supervision.csv`` and ``supervision.md`` to
the bundle's docs after every run. Finished runs are kept: stop it and start it again at will.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

PROJECT = Path(__file__).parent.parent
BUNDLE = PROJECT / "bundles" / "size_seg_2d"
DOCS = BUNDLE / "docs"
EPOCH_SCANS = 90
SEED = 0


@dataclass(frozen=True)
class Setting:
    """A cohort as the network sees it."""

    name: str
    folder: str
    preparation: tuple[str, ...]
    overrides: dict[str, Any]


ACDC_SPLIT = ("data_prep.acdc", "--validation", "46-60", "--clicks")
SETTINGS = (
    Setting(
        "ACDC, 190 mm around the heart",
        "ACDC",
        ACDC_SPLIT,
        {"use_roi": True, "spacing": [3.0, 3.0], "roi_size": [64, 64], "max_epochs": 60},
    ),
    Setting(
        "ACDC, full field of view",
        "ACDC",
        ACDC_SPLIT,
        {"use_roi": False, "spacing": [4.0, 4.0], "roi_size": [96, 96], "max_epochs": 40},
    ),
    Setting(
        "Hippocampus, slices",
        "Task04_Hippocampus",
        ("data_prep.msd", "--clicks"),
        {"use_roi": False, "spacing": [1.0, 1.0], "roi_size": [48, 64], "max_epochs": 40},
    ),
)
SUPERVISIONS: dict[str, dict[str, Any]] = {
    "masks": {"supervision": "mask", "potts_weight": 0.0},
    "size": {"supervision": "size"},
    "size + 1 click per class and slice": {"supervision": "size+scribble"},
    "1 click per class and slice": {"supervision": "scribble"},
    "3 subjects' masks + sizes of the others": {"supervision": "size+mask", "num_masks": 3},
    "3 subjects' masks": {"supervision": "mask", "num_masks": 3, "potts_weight": 0.0},
}


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds ACDC and Task04_Hippocampus.", exists=True)],
    work_dir: Annotated[Path, typer.Option(help="Folder for the runs.")],
    workers: Annotated[int, typer.Option(help="Runs at a time, of one thread each.")] = 2,
) -> None:
    """Train and evaluate every cell that is not finished, and write the table."""
    work_dir = work_dir.resolve()
    data = data.resolve()
    cells = [(setting, label) for setting in SETTINGS for label in SUPERVISIONS]
    for setting in {setting.folder: setting for setting in SETTINGS}.values():
        module, *options = setting.preparation
        command = [sys.executable, "-m", module, str(data / setting.folder), *options]
        subprocess.run([*command, "--output-dir", str(work_dir / setting.folder)], check=True, cwd=PROJECT)
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(run_cell, setting, label, data, work_dir): (setting, label) for setting, label in cells}
        for future in as_completed(futures):
            setting, label = futures[future]
            typer.echo(f"{setting.name} / {label}: {future.result()}")
            write_table(cells, work_dir)


def cell_dir(setting: Setting, label: str, work_dir: Path) -> Path:
    """Output folder of a cell."""
    name = f"{setting.name} {label}".lower()
    return work_dir / "".join(c if c.isalnum() else "_" for c in name)


def overrides(setting: Setting, label: str) -> list[str]:
    """What sets a cell apart from the bundle's defaults, as command line arguments."""
    values = {
        "seed": SEED,
        "epoch_scans": EPOCH_SCANS,
        "val_interval": 10,
        **setting.overrides,
        **SUPERVISIONS[label],
    }
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


def run_cell(setting: Setting, label: str, data: Path, work_dir: Path) -> str:
    """Train and evaluate one cell; a finished one is kept, an interrupted one goes on."""
    output_dir = cell_dir(setting, label, work_dir)
    if (output_dir / "summary.json").is_file():
        return "kept"
    output_dir.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "monai.bundle", "run"),
        *("--config_file", str(BUNDLE / "configs" / "train.yaml")),
        *("--bundle_root", str(BUNDLE)),
        *("--dataset_dir", str(data / setting.folder)),
        *("--data_list", str(work_dir / setting.folder / "datalist.json")),
        *("--output_dir", str(output_dir)),
        *overrides(setting, label),
        *("--resume", str((output_dir / "checkpoint.pt").is_file())),
    ]
    with (output_dir / "log.txt").open("a") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    return "done" if code == 0 else f"failed with exit code {code}, see {output_dir / 'log.txt'}"


def write_table(cells: list[tuple[Setting, str]], work_dir: Path) -> None:
    """Write the finished cells as CSV and as a Markdown table."""
    rows = []
    for setting, label in cells:
        file = cell_dir(setting, label, work_dir) / "summary.json"
        if not file.is_file():
            continue
        summary = json.loads(file.read_text())
        dice = summary["results"]["dice"]
        rows.append(
            {
                "cohort": setting.name,
                "roi": "simulated" if summary["roi"] else "none",
                "supervision": label,
                "seed": summary["seed"],
                "dice": dice["mean"],
                "dice by structure": " / ".join(f"{entry['mean']:.2f}" for entry in dice["structures"].values()),
                "hd95 mm": summary["results"]["hd95_mm"]["mean"],
                "mRE": summary["results"]["relative_size_error"]["mean"],
                "scans": summary["training_scans"],
                "epochs": summary["epochs"],
                "seconds": summary["training_seconds"],
                "loader share": summary["loader_share"],
                "peak MB": summary["peak_memory_mb"],
                "overrides": shlex.join(overrides(setting, label)),
            }
        )
    if not rows:
        return
    table = pd.DataFrame(rows)
    table.to_csv(DOCS / "supervision.csv", index=False)
    shown = table.drop(columns=["loader share", "peak MB", "overrides"])
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns)]
    lines += ["| " + " | ".join(_cell(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    (DOCS / "supervision.md").write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    return str(value)


if __name__ == "__main__":
    typer.run(main)
