"""
Cells per hour of a study with one and two workers, the share of time outside cells, and the effect of kills.

    python -m benchmarks.robustness_throughput [--kills 10]

It runs real trainings of the 2D bundle on phantoms. With ``--kills`` it instead kills the study, a worker or a cell at
as many random moments, and starts it again each time. It then compares the tables with those of an uninterrupted run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.result import Result, machine
from medsize.bundle import supervise
from medsize.bundle.run.folder import SUMMARY
from medsize.data import write_phantom_cohort
from medsize.studies.robustness import run_robustness

PROJECT = Path(__file__).parent.parent
EPOCHS, SEEDS = 60, 4


def write_study(folder: Path, epochs: int, seeds: int) -> Path:
    """Write a study of two cells for each seed."""
    write_phantom_cohort(folder / "phantoms", num_scans=12, shape=(48, 48, 8), spacing=(4.0, 4.0, 12.0))
    study = {
        "title": "throughput",
        "bundle": str(PROJECT / "bundles" / "size_seg_2d"),
        "reference": "masks",
        "gallery": 0,
        "seeds": list(range(seeds)),
        "overrides": {"spacing": "[4.0, 4.0]", "roi_size": "[48, 48]", "max_epochs": epochs, "val_interval": epochs},
        "cohorts": [{"name": "Phantoms", "dataset_dir": "phantoms", "data_list": "phantoms/datalist.json"}],
        "networks": {"UNet": {}},
        "supervision": {
            "sizes": {"noise_on": "sizes"},
            "masks": {"noise_on": "masks", "overlays": ["mask_supervision.yaml"]},
        },
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return file


def results(epochs: int = EPOCHS, seeds: int = SEEDS) -> list[Result]:
    """Measure the cells per hour with one and two workers, in turn, and the time outside cells."""
    rates, overheads = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = write_study(folder, epochs, seeds)
        for workers in (1, 2):
            started = time.perf_counter()
            result = run_robustness(file, folder, folder / f"workers_{workers}", workers=workers)
            wall = time.perf_counter() - started
            cells = sum(outcome.seconds for outcome in result.outcomes.values())
            rates[workers] = 3600 * len(result.outcomes) / wall
            overheads.append(1 - cells / (workers * wall))
    seconds = cells / len(result.outcomes)
    return [
        Result(
            "cells per hour of a robustness study by 2 workers of a thread over 1",
            [rates[2] / rates[1]],
            "≥ 1.8",
            f"{rates[2]:.0f} over {rates[1]:.0f}, cells of {seconds:.0f} s",
        ),
        Result(
            "share of a study's time that is not in cells",
            overheads,
            "≤ 0.05",
            f"1 and 2 workers, {len(result.outcomes)} cells of {seconds:.0f} s; longer ones have less",
        ),
    ]


def kill(folder: Path, epochs: int, seeds: int, kills: int) -> bool:
    """Kill at random moments; print and return whether the tables equal those of an uninterrupted run."""
    file = write_study(folder, epochs, seeds)
    run_robustness(file, folder, folder / "undisturbed", workers=2)
    work_dir = folder / "killed"
    command = [sys.executable, "-m", "medsize.cli", "robustness", str(file), "--data", str(folder)]
    rng = random.Random(0)
    made = 0
    for number in range(kills):
        study = subprocess.Popen([*command, "--work-dir", str(work_dir), "--workers", "2"], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(5, 40))
        if study.poll() is not None:
            print(f"{made} kills: the study has ended, take more epochs or seeds for more", flush=True)
            break
        made = number + 1
        victim = rng.choice(["study", "worker", "cell"])
        supervisors = [p for p in _processes(str(work_dir)) if supervise.MODULE in _command(p)]
        cells = [p for p in _processes(str(work_dir)) if supervisors and _parent(p) == supervisors[0]]
        if victim != "study" and not cells:
            victim = "study (no cell runs)"
        chosen = study.pid
        if victim == "worker":
            chosen = _parent(supervisors[0])
        elif victim == "cell":
            chosen = cells[0]
        print(f"kill {number + 1}: {victim}, {len(list(work_dir.rglob(SUMMARY)))} cells finished", flush=True)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(chosen, signal.SIGKILL)
        time.sleep(rng.uniform(0, 5))
        study.kill()
        study.wait()
    subprocess.run([*command, "--work-dir", str(work_dir), "--workers", "2"], check=True)
    names = ("accuracy", "cases", "comparisons", "equally_wrong", "volume_agreement")
    runs = (folder / "undisturbed", work_dir)
    tables = [[(run / "report" / f"{name}.csv").read_text() for name in names] for run in runs]
    equal = tables[0] == tables[1]
    print(f"after {made} kills the tables are {'equal' if equal else 'NOT equal'} to those of an undisturbed run")
    return equal


def _processes(text: str) -> list[int]:
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if text in _command(int(p.name))]


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of a study, and kills.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="two cells for each")
    parser.add_argument("--kills", type=int, default=0)
    arguments = parser.parse_args()
    print(machine())
    if not arguments.kills:
        for result in results(arguments.epochs, arguments.seeds):
            print(result)
        return
    with tempfile.TemporaryDirectory() as folder:
        if not kill(Path(folder), arguments.epochs, arguments.seeds, arguments.kills):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
