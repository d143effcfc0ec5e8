"""Segmentation of images by a run's network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from medsize.bundle.run.command import as_typed, run_command
from medsize.bundle.run.folder import INFERENCE, LOG, MASKS
from medsize.bundle.run.inference_settings import own_weights
from medsize.files import bare_name

__all__ = [
    "is_whole",
    "read_segmentation",
    "run_inference",
    "run_past_faults",
    "segment_images",
    "segment_readable_images",
]

WARNING = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
ALWAYS = re.compile(r"Not all config files are in|nvImageCodec")
"""Warnings of MONAI's log in every inference: they are about its installation and the folders of configs."""
SILENT = (
    "ignore:parsing config_file",
    "ignore:NvImgCodecPydicomReader",
    "ignore:Divide by zero (a_min == a_max)",  # names no scan; predict says which ones have a single intensity
)
"""The same of Python's warnings, as ``PYTHONWARNINGS`` takes them."""


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
    command, _, masks = _prepared(run, bundle, images, folder, report)
    run_inference(command, folder / LOG, report).check_returncode()
    return list(masks.values())


def read_segmentation(file: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a mask that an inference has written.

    Args:
        file: the mask. MONAI writes that of a single slice without a last axis.

    Returns:
        class indices on three axes, and the affine.
    """
    mask = nibabel.load(file)
    labels = np.asarray(mask.dataobj)
    return labels.reshape((*labels.shape, 1, 1)[:3]), mask.affine


def segment_readable_images(
    run: Path, bundle: Path, images: Sequence[str], folder: Path, report: Callable[[str], None] = print
) -> list[Path | None]:
    """
    Segment NIfTI images like :func:`segment_images`, but go on without an image at which the inference stops.

    Args:
        run: output folder of a run on whole scans.
        bundle: its bundle.
        images: absolute paths of the images.
        folder: folder to write the masks to.
        report: function that gets the command of MONAI that is run.

    Returns:
        the mask of each image; ``None`` if the inference stopped there.

    Raises:
        subprocess.CalledProcessError: when the inference fails for another reason than a single image.
    """
    command, root, masks = _prepared(run, bundle, images, folder, report)

    def start(left: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        _write_images(left, folder, root)
        return run_inference(command, folder / LOG, report)

    stopped = run_past_faults(start, masks)
    return [None if image in stopped else mask for image, mask in masks.items()]


def run_inference(
    command: Sequence[str], log: Path, report: Callable[[str], None], **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """
    Run MONAI's inference with its log in a file; what it writes to stderr stays there.

    Args:
        command: the command.
        log: file to add to.
        report: function that gets the lines of the log that are warnings or errors.
        options: of :func:`subprocess.run`.
    """
    silent = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), *SILENT]))
    with log.open("ab") as opened:
        start = opened.tell()
        environment = os.environ | {"PYTHONWARNINGS": silent}
        result = subprocess.run(command, check=False, stdout=opened, env=environment, **options)
    for line in log.read_bytes()[start:].decode(errors="replace").splitlines():
        if WARNING.search(line) and not ALWAYS.search(line):
            report(line)
    return result


def run_past_faults(
    start: Callable[[Sequence[str]], subprocess.CompletedProcess[bytes]], masks: Mapping[str, Path]
) -> list[str]:
    """
    Run an inference, and again on the images behind the one at which it stops.

    Args:
        start: function that runs it on the images of the given names.
        masks: the mask that is written of each image, by its name, in the order of the inference. Where ``start`` is
            called again, it may move those that are finished.

    Returns:
        the images at which it stopped.

    Raises:
        subprocess.CalledProcessError: when it fails for another reason than a single image.
    """
    left, stopped, was_futile = list(masks), list[str](), False
    while (result := start(left)).returncode:
        missing = [name for name in left if not is_whole(masks[name])]
        is_futile = len(missing) == len(left)
        # Two stops in a row before any mask are not the fault of an image.
        if not missing or len(masks) == 1 or (was_futile and is_futile):
            result.check_returncode()
        stopped.append(missing[0])
        left, was_futile = missing[1:], is_futile
        if not left:
            break
    return stopped


def is_whole(mask: Path) -> bool:
    """Return whether a mask is there and can be read to its end."""
    try:
        nibabel.load(mask).get_fdata(caching="unchanged")
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return False
    return True


def _prepared(
    run: Path, bundle: Path, images: Sequence[str], folder: Path, report: Callable[[str], None]
) -> tuple[list[str], str, dict[str, Path]]:
    """List images in a folder; report and return the command that segments them, their root, and the mask of each."""
    configs: list[str | Path] = ["inference.yaml", run / INFERENCE, _listed(folder)]
    command = run_command(bundle, configs, ["--output_dir", str(folder / MASKS), *own_weights(run)])
    report(as_typed(command))
    root = os.path.commonpath([os.path.dirname(image) for image in images])
    return command, root, _write_images(images, folder, root)


def _write_images(images: Sequence[str], folder: Path, root: str) -> dict[str, Path]:
    """List images below a root for the inference; return the mask that it writes of each."""
    _listed(folder).write_text(json.dumps({"images": list(images), "image_root": root}))
    names = {image: Path(os.path.relpath(image, root)) for image in images}
    return {image: folder / MASKS / name.parent / f"{bare_name(name)}_seg.nii.gz" for image, name in names.items()}


def _listed(folder: Path) -> Path:
    return folder / "images.json"
