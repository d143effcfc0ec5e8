"""
Cost of a run's start with a large cohort: reading the data list, the check, and the loaders.

    python -m benchmarks.cohort_start SCANS

The cohort is simulated: every scan is its own file of 32 × 32 × 6 voxels, made from a few phantoms with their masks. No
two have the same voxels. The 2D bundle's config is parsed as far as its loaders in a fresh process, without scans in
memory (``cache_rate`` 0). The first start knows no facts about the scans; the later one has those that the first one
left (:mod:`medsize.scans.fact_cache`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import LoadImaged

from benchmarks.result import cpu_seconds, machine, run_module
from medsize.data import write_phantom_cohort
from medsize.handlers.peak_memory import peak_bytes

BUNDLE = Path(__file__).parent.parent / "bundles" / "size_seg_2d"
PARTS = {"data list": ["cohort"], "check": ["check"], "loaders": ["train#dataloader", "validate#dataloader"]}
"""Parts that are built in turn, by the config's ids."""
PHANTOMS, FOLDS = 8, 5


def main() -> None:
    """Print the cost of a first and a later start or, with the folder of a cohort, measure one start."""
    argument = sys.argv[1]
    if not argument.isdecimal():
        print(*memory_and_seconds(Path(argument)))
        return
    print(machine())
    for start, figures in zip(("first", "later"), starts(int(argument)), strict=True):
        print(start, ", ".join(f"{what}: {figure:.3g}" for what, figure in figures.items()))


def starts(scans: int) -> list[dict[str, float]]:
    """Measure a first and a later start: growth of the peak memory in bytes, and processor time of each part."""
    with tempfile.TemporaryDirectory() as temporary:
        cohort, known = Path(temporary) / "cohort", os.environ.get("MEDSIZE_CACHE_DIR")
        write_cohort(cohort, scans)
        os.environ["MEDSIZE_CACHE_DIR"] = str(Path(temporary) / "cache")
        try:
            found = [run_module("benchmarks.cohort_start", cohort) for _ in range(2)]
        finally:
            os.environ.pop("MEDSIZE_CACHE_DIR")
            if known is not None:
                os.environ["MEDSIZE_CACHE_DIR"] = known
    return [dict(zip(("memory", *PARTS), figures, strict=True)) for figures in found]


def write_cohort(folder: Path, scans: int) -> None:
    """Write many scans made of a few phantoms: each differs in one voxel, and in its sizes by about a tenth."""
    few = write_phantom_cohort(folder / "phantoms", num_scans=PHANTOMS, shape=(32, 32, 6), spacing=(6.0, 6.0, 16.0))
    content = json.loads(few.read_text())
    voxels = [nibabel.load(few.parent / item["image"]).to_bytes() for item in content["training"]]
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    items = []
    for number in range(scans):
        phantom = content["training"][number % PHANTOMS]
        image = Path("images", f"scan_{number:06d}.nii")
        (folder / image).write_bytes(voxels[number % PHANTOMS][:-4] + np.float32(number / scans).tobytes())
        factor = np.exp(rng.normal(0, 0.1))
        sizes = {
            key: {name: np.multiply(size, factor).tolist() for name, size in phantom[key].items()}
            for key in ("size", "slice_size")
        }
        mask = str(Path("phantoms", phantom["label"]))
        items.append({"image": str(image), "label": mask, "subject": image.stem, "fold": number % FOLDS, **sizes})
    (folder / "datalist.json").write_text(json.dumps(content | {"training": items}))


def memory_and_seconds(folder: Path) -> list[float]:
    """Measure one start: growth of the peak memory in bytes, and processor time of each part."""
    torch.set_num_threads(1)
    parser = ConfigParser(ConfigParser.load_config_file(str(BUNDLE / "configs" / "train.yaml")))
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(folder), "output_dir": str(folder / "run")})
    parser.update({"spacing": [6.0, 6.0], "roi_size": [32, 32], "cache_rate": 0.0})
    LoadImaged("image")  # MONAI searches for image readers once
    before = peak_bytes()

    def build(ids: list[str]) -> None:
        for name in ids:
            parser.get_parsed_content(name)

    seconds = [cpu_seconds(partial(build, ids)) for ids in PARTS.values()]
    return [peak_bytes() - before, *seconds]


if __name__ == "__main__":
    main()
