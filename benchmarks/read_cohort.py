"""
Prepare a cohort whose training sizes a simulated reader has read, as intervals of one of the methods.

    python -m benchmarks.read_cohort FOLDER --output-dir OUT --method '3 diameters' --prepare data_prep.chaos

``--prepare`` names the module of the data set, with its options. Of its data list, the sizes of all scans outside of
fold 0 become intervals, as ``medsize measure`` writes them: a volume for each scan, a fraction for each picture. Sizes
of slices are left out. What a method finds no size for becomes unknown. Fold 0, which is tested, keeps the sizes of its
masks.

**No person has read anything here.** :mod:`benchmarks.readers` has the methods and their names.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks.readers import Read, read_area, read_volume
from medsize.files import atomic_write


def read_sizes(data_list: Path, dataset_dir: Path, method: str, seed: int = 0) -> float:
    """
    Replace the sizes of a data list outside of fold 0 by what a simulated reader reads in the masks.

    Args:
        data_list: the data list, with masks of all scans; it is written anew.
        dataset_dir: folder that its paths start from.
        method: name of a method of :class:`benchmarks.readers.Read`.
        seed: seed of the places of grids.

    Returns:
        mRE of the readings of structures that are there; 0 where there are none.

    Raises:
        ValueError: when there is no such method.
    """
    content = json.loads(data_list.read_text())
    is_fraction = content["size_unit"] == "fraction"
    names = {int(value): name for value, name in content["labels"].items() if int(value)}
    errors = []
    for number, item in enumerate(content["training"]):
        if item["fold"] == 0:
            continue
        rng = np.random.default_rng([seed, number])
        image = nibabel.load(dataset_dir / item["label"])
        mask = np.asarray(image.dataobj)
        sizes: dict[str, Any] = {}
        for value, name in names.items():
            inside = mask == value
            if not inside.any():
                sizes[name] = 0
                continue
            if is_fraction:
                read, true = _by(method, read_area(inside[..., 0], rng)), float(inside.mean())
            else:
                zooms = np.array(image.header.get_zooms()[:3], dtype=float)
                read, true = _by(method, read_volume(inside, zooms, rng)), float(inside.sum() * zooms.prod())
            if np.isnan(read.ratio):
                sizes[name] = None
                continue
            errors.append(abs(read.ratio - 1))
            highest = 1.0 if is_fraction else np.inf
            sizes[name] = [float(f"{min(end * true, highest):.6g}") for end in (read.low, read.high)]
        item.pop("size", None)
        item.pop("slice_size", None)
        if is_fraction:
            item["slice_size"] = {name: [size] for name, size in sizes.items()}
        else:
            item["size"] = sizes
    with atomic_write(data_list) as partial:
        partial.write_text(json.dumps(content, indent=1))
    return float(np.mean(errors)) if errors else 0.0


def _by(method: str, reads: Iterable[Read]) -> Read:
    by_method = {read.method: read for read in reads}
    if method not in by_method:
        raise ValueError(f"--method: found {method!r}, expected one of {', '.join(by_method)}.")
    return by_method[method]


def main() -> None:
    """Prepare the cohort, and read its sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--prepare", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data_list = arguments.output_dir / "datalist.json"
    data_list.unlink(missing_ok=True)  # sizes of an earlier reading would be taken for those of the masks
    module, *options = shlex.split(arguments.prepare)
    command = [sys.executable, "-m", module, str(arguments.folder), "--output-dir", str(arguments.output_dir), *options]
    subprocess.run(command, check=True)
    writes_scans = (arguments.output_dir / "images").is_dir()
    dataset_dir = arguments.output_dir if writes_scans else arguments.folder
    error = read_sizes(data_list, dataset_dir, arguments.method, arguments.seed)
    print(f"{data_list}: read by {arguments.method}, mRE {error:.2f}")


if __name__ == "__main__":
    main()
