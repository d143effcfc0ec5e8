"""
Comparison of `medsize init` on the IBSI's soft-tissue sarcomas with SimpleITK and the reference masks.

    python -m benchmarks.init_cohort IBSI_STS [--output-dir OUT]

All series are converted, and their sizes measured in their RTSTRUCT. It prints the share of facts (voxels, spacing,
origin and direction along each axis, and the intensities) that equal those of SimpleITK's series reader. It also prints
the relative errors of the sizes against 14 reference masks, the time of a first and a second run, and the memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import nibabel
import numpy as np
import SimpleITK
import typer
from rich.progress import track

from benchmarks.read_dicom import read_by_simpleitk
from medsize.cohort import InitOptions, init_cohort
from medsize.cohort.conversion.scans import read_table
from medsize.handlers.peak_memory import peak_bytes


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds STS_001 to STS_051.", exists=True)],
    output_dir: Annotated[Path | None, typer.Option(help="Where to prepare it. Default: a temporary folder.")] = None,
) -> None:
    """Print the results."""
    with tempfile.TemporaryDirectory() as temporary:
        output = output_dir or Path(temporary) / "sarcomas"
        options = InitOptions(keep_identifiers=True)
        for run in ("first", "second"):
            started = time.perf_counter()
            prepared = init_cohort(folder, output, options=options)
            print(f"{run} run: {time.perf_counter() - started:.0f} s, {len(prepared.problems)} problems")
        peak = peak_bytes() / 2**30
        print(f"peak memory of the process: {peak:.2f} GiB")
        compare(output)


def compare(output: Path) -> None:
    """Compare the prepared scans with SimpleITK and with the reference masks."""
    sources = read_table(output.with_name(f"{output.name}_identifiers.csv"))
    items = json.loads((output / "datalist.json").read_text())["training"]
    equal, errors, differing = [], [], []
    for item in track(items, description="comparing"):
        series = Path(sources[item["image"]]["source"].partition(" (")[0])
        facts = equal_facts(output / item["image"], read_by_simpleitk(series))
        equal += facts
        if not all(facts):
            differing.append(str(series))
        reference = series.parent / "reference_mask.nii.gz"
        if reference.is_file():
            mask = nibabel.load(reference)
            volume = (np.asarray(mask.dataobj) > 0).sum() * abs(np.linalg.det(mask.affine[:3, :3]))
            (size,) = item["size"].values()
            errors.append(abs(size - volume) / volume)
    print(f"{len(items)} series; {100 * np.mean(equal):.2f} % of {len(equal)} facts equal SimpleITK's (limit 99 %)")
    print(f"with a fact that differs: {', '.join(differing) or 'none'}")
    low, median, high = 100 * np.quantile(errors, [0, 0.5, 1])
    print(f"sizes beside {len(errors)} reference masks: {median:.3f} % off in the middle ({low:.3f} to {high:.3f} %)")


def equal_facts(file: Path, read: SimpleITK.Image) -> list[bool]:
    """Return whether each fact is equal: size, spacing, origin (mm) and direction by axis, and all intensities."""
    image = SimpleITK.ReadImage(str(file))
    facts = [image.GetSize()[axis] == read.GetSize()[axis] for axis in range(3)]
    facts += np.isclose(image.GetSpacing(), read.GetSpacing(), rtol=1e-4).tolist()
    facts += np.isclose(image.GetOrigin(), read.GetOrigin(), atol=1e-2).tolist()
    facts += np.isclose(image.GetDirection(), read.GetDirection(), atol=1e-4).tolist()
    voxels, expected = (SimpleITK.GetArrayFromImage(i) for i in (image, read))
    return [*facts, voxels.shape == expected.shape and bool(np.allclose(voxels, expected, rtol=1e-5))]


if __name__ == "__main__":
    typer.run(main)
