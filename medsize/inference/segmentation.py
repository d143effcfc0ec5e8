"""The run of MONAI's inference on converted scans."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medsize.bundle.run_command import as_typed, run_command
from medsize.bundle.run_folder import INFERENCE, MASKS
from medsize.inference.where_to_look import write_regions
from medsize.scans.scan import FoundScan

__all__ = ["image_name", "mask_file", "segment_scans"]

REGIONS = "regions.json"
"""Data list with the region of each scan, for a network that was trained on regions."""


def segment_scans(
    named: dict[str, FoundScan],
    run: Path,
    bundle: Path,
    output_dir: Path,
    report: Callable[[str], None],
    regions: dict[str, dict[str, Any]] | None = None,
) -> tuple[dict[str, FoundScan], list[str]]:
    """Run the inference, and again without a scan at which it stops; return the scans that have a mask."""
    images, masks = output_dir.resolve() / "images", output_dir.resolve() / MASKS
    options = ["--dataset_dir", str(images), "--output_dir", str(masks)]
    configs: list[str | Path] = ["inference.yaml", run / INFERENCE]
    listed = output_dir.resolve() / REGIONS
    if regions is not None:
        configs.append("inference_roi.yaml")
        options += ["--data_list", str(listed)]
    command = run_command(bundle, configs, options)
    report(as_typed(command))
    structures = json.loads((run / INFERENCE).read_text())["structures"]

    def start() -> subprocess.CompletedProcess[bytes]:
        if regions is not None:
            write_regions(listed, structures, {name: regions[name] for name in named})
        return subprocess.run(command, check=False)

    problems: list[str] = []
    while (result := start()).returncode:
        missing = [file for file in sorted(images.iterdir()) if not mask_file(output_dir, image_name(file)).is_file()]
        # A second stop before any mask is not the fault of a scan.
        if not missing or len(named) == 1 or (problems and not any(masks.glob("*.nii.gz"))):
            result.check_returncode()
        scan = named.pop(image_name(missing[0]))
        missing[0].unlink()
        problems.append(f"{scan.source}: the inference stopped at this scan; its message is above. It was left out.")
        report(f"the inference stopped at {scan.source}: it is run again without that scan")
    return named, problems


def image_name(image: Path) -> str:
    return image.name.removesuffix(".nii.gz")


def mask_file(output_dir: Path, name: str) -> Path:
    return output_dir / MASKS / f"{name}_seg.nii.gz"
