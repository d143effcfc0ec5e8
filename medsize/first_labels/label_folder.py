"""Folder of a cohort's first labels: made once, and found again as long as nothing that they depend on has changed."""

from __future__ import annotations

import io
import json
import math
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose

from medsize import __version__
from medsize.data.content_hash import content_hash, file_states
from medsize.files import atomic_write
from medsize.first_labels.first_labels import FirstLabels
from medsize.first_labels.report import write_report

__all__ = ["REPORT", "SUMMARY", "label_file", "make_first_labels"]

REPORT = "first_labels.html"
SUMMARY = "first_labels.json"
"""Written last: a folder without it is not complete."""
KEYED = ("num_classes", "features", "vocabularies", "rounds", "stride", "positions", "look_closer", "seed")
"""Settings of the method that the labels depend on."""
METHOD = 7
"""Number of the method, raised when it makes other labels of the same cohort, so that they are made again."""


def make_first_labels(
    items: Sequence[Mapping[Hashable, Any]],
    transform: Callable[[Any], Any],
    first_labels: FirstLabels,
    folder: str | Path,
    class_names: Sequence[str],
) -> Path:
    """
    Make the first labels of a cohort in a folder, or find them there.

    They are kept below ``folder`` under a name that follows from the scans, their labels, the transforms and the
    settings, so that a changed cohort gets its own. With several processes the first one makes them.

    Args:
        items: training items, see :class:`medsize.items.TrainingItem`.
        transform: the deterministic transforms of the training.
        first_labels: the method with its settings.
        folder: where to keep them.
        class_names: names of the classes, the background first.

    Returns:
        the folder with one file for each scan, see :func:`label_file`, ``first_labels.json`` and a report,
        ``first_labels.html``.

    Raises:
        ValueError: see :class:`FirstLabels`.
        OSError: when the folder cannot be written, or the ImageNet weights are missing. The message says what to do.
    """
    settings = {name: value for name, value in vars(first_labels).items() if name in KEYED}
    # A Compose holds a random state, which says nothing about these transforms.
    steps = transform.flatten().transforms if isinstance(transform, Compose) else transform
    key = content_hash([__version__, METHOD, settings, steps, *([item, file_states(item)] for item in items)])
    made = Path(folder) / key[:12]
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or torch.distributed.get_rank() == 0:
        try:
            if not (made / SUMMARY).is_file():
                _make(items, transform, first_labels, made, class_names)
        finally:
            if distributed:
                torch.distributed.barrier()
    else:
        torch.distributed.barrier()
        if not (made / SUMMARY).is_file():
            raise OSError(f"{made}: found no first labels, expected those of the first process. See its message.")
    return made


def label_file(folder: Path, image: str) -> Path:
    """Return the file of a scan's first label, given the scan's path, as it is stated or as MONAI loads it."""
    return folder / f"{content_hash(str(Path(image).expanduser()))[:16]}.pt"


@contextmanager
def _writing_to(made: Path) -> Iterator[None]:
    """Say what to do if a folder cannot be written."""
    try:
        yield
    except OSError as e:
        cause = e.__cause__ if isinstance(e.__cause__, OSError) else e
        raise OSError(
            f"{made}: first labels cannot be kept there: {cause.strerror or cause}. Free space on the disk, or set "
            "first_labels_dir to a folder elsewhere."
        ) from e


def _make(
    items: Sequence[Mapping[Hashable, Any]],
    transform: Callable[[Any], Any],
    first_labels: FirstLabels,
    made: Path,
    class_names: Sequence[str],
) -> None:
    with _writing_to(made):  # told before the work, not after it
        made.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=made).close()
    began = time.monotonic()
    labels = first_labels(lambda number: transform(dict(items[number])), len(items))
    for item, label in zip(items, labels, strict=True):
        content = io.BytesIO()  # torch.save to a full disk would raise an error that does not say so
        torch.save(label, content)
        with _writing_to(made), atomic_write(label_file(made, str(item["image"]))) as partial:
            partial.write_bytes(content.getbuffer())
    summary = {
        "scans": len(items),
        "seconds": round(time.monotonic() - began, 1),
        "rank": first_labels.rank,
        "iterations": first_labels.iterations,
        "window": first_labels.window,
        "explained_by_own_intensities": round(first_labels.explained, 4),
        "classes": len(class_names),
        "told_apart": {
            name: None if math.isnan(value) else round(value, 2)
            for name, value in zip(class_names[1:], first_labels.separability.tolist(), strict=False)
        },
        "pairs": [
            {
                "structures": [class_names[one], class_names[other]],
                "correlation": round(correlation, 3),
                "told_apart": None if math.isnan(value) else round(value, 2),
            }
            for one, other, correlation, value in first_labels.pairs
        ],
        "pointed_at": dict(zip(class_names[1:], first_labels.pointed_at.tolist(), strict=True)),
        "log_likelihood": [round(float(m.log_likelihood[-1]), 4) for m in first_labels.mixtures],
        "log_likelihood_at_start": [round(float(m.log_likelihood[0]), 4) for m in first_labels.mixtures],
    }
    with _writing_to(made):
        write_report(made / REPORT, summary, items, transform, labels)
    with _writing_to(made), atomic_write(made / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=1), encoding="utf-8")
