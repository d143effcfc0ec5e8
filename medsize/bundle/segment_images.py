"""Segmentation of images by a run's network."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from medsize.bundle.run_command import as_typed, run_command
from medsize.bundle.run_folder import INFERENCE, MASKS

__all__ = ["segment_images"]


def segment_images(
    run: Path, bundle: Path, images: Sequence[str], folder: Path, report: Callable[[str], None] = print
) -> list[Path]:
    """
    Segment NIfTI images by MONAI's inference.

    Args:
        run: output folder of a run on whole scans.
        bundle: its bundle.
        images: absolute paths of the images.
        folder: folder to write the masks to.
        report: function that gets the command of MONAI that is run.

    Returns:
        the mask of each image, in its own space.

    Raises:
        subprocess.CalledProcessError: when the inference fails.
    """
    overlay = folder / "images.json"
    overlay.write_text(json.dumps({"images": list(images)}))
    masks = folder / MASKS
    configs: list[str | Path] = ["inference.yaml", run / INFERENCE, overlay]
    command = run_command(bundle, configs, ["--output_dir", str(masks)])
    report(as_typed(command))
    subprocess.run(command, check=True)
    root = os.path.commonpath([os.path.dirname(image) for image in images])
    names = [Path(os.path.relpath(image, root)) for image in images]
    return [masks / n.parent / f"{n.name.removesuffix('.gz').removesuffix('.nii')}_seg.nii.gz" for n in names]
