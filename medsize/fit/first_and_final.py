"""First labels against the final network, on training scans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medsize.bundle.run_folder import CONFIG, INFERENCE, WEIGHTS
from medsize.pictures import fullest_slice, slice_png

__all__ = ["ComparedScan", "compare_first_and_final", "dice", "first_labels_of"]

SUMMARY = "first_labels.json"
MAX_COMPARED = 8
"""Training scans to compare, evenly taken."""


class ComparedScan(NamedTuple):
    """A training scan: label maps in the region that the network is fed."""

    name: str
    picture: bytes
    """PNG of a slice: the final network solid, the first label dotted."""
    first_and_final: list[float]
    """Dice of each structure; NaN where both have none of it."""
    first: list[float]
    """Dice of the first label with the mask; NaN without a mask."""
    final: list[float]
    """Dice of the final network with the mask."""


def first_labels_of(folder: Path) -> Path | None:
    """Return the folder of the last first labels that were made below a folder; ``None`` if there are none."""
    made = sorted(folder.glob(f"*/{SUMMARY}"), key=lambda file: file.stat().st_mtime)
    return made[-1].parent if made else None


def compare_first_and_final(
    first_labels: Path, first_run: Path, final_run: Path, masks: Mapping[str, str | None]
) -> Iterator[ComparedScan]:
    """
    Compare first labels with the final network on some of the scans that both are of.

    Args:
        first_labels: folder of the first labels.
        first_run: output folder of the training that learnt from the first labels.
        final_run: output folder of the final network's training, of the same fold and region.
        masks: file of the mask of each scan, if it has one. They are for comparison only.
    """
    parser = ConfigParser()
    parser.read_config(first_run / CONFIG)
    parser["first_labels"] = str(first_labels)  # they are not made again
    items = [item for item in parser.get_parsed_content("training_items") if "label" not in item]
    prepare = Compose(parser.get_parsed_content("deterministic_transforms"))
    teach = Compose(parser.get_parsed_content("teacher_transforms"))
    inferer, num_classes = parser.get_parsed_content("window_inferer"), int(parser.get_parsed_content("num_classes"))
    network = _network(final_run)
    for number in np.unique(np.linspace(0, len(items) - 1, min(len(items), MAX_COMPARED)).round().astype(int)):
        item = items[number]
        scan = teach(prepare(dict(item)))
        image = scan["image"].as_tensor()
        with torch.no_grad():
            final = inferer(image[None], network)[0].argmax(dim=0).numpy()
        first = scan["soft_label"].as_tensor().argmax(dim=0).numpy()
        drawn, mask = None, masks.get(item["image"])
        if mask is not None:
            drawn = prepare({**item, "label": mask})["label"].as_tensor()[0].numpy()
        at = fullest_slice(first)
        spacing = [float(s) for s in scan["image"].pixdim[:2]]
        outlines = [(final[..., at], "solid"), (first[..., at], "dotted")]
        yield ComparedScan(
            Path(item["image"]).name.split(".")[0],
            slice_png(image[0, ..., at].numpy(), outlines, spacing),
            dice(first, final, num_classes),
            dice(first, drawn, num_classes),
            dice(final, drawn, num_classes),
        )


def dice(one: np.ndarray, other: np.ndarray | None, num_classes: int) -> list[float]:
    """Return the Dice of each structure in two label maps; NaN where both have none of it, or one map is missing."""
    if other is None:
        return [float("nan")] * (num_classes - 1)
    pairs = [(one == index, other == index) for index in range(1, num_classes)]
    sums = [int(a.sum() + b.sum()) for a, b in pairs]
    return [2 * int((a & b).sum()) / n if n else float("nan") for (a, b), n in zip(pairs, sums, strict=True)]


def _network(run: Path) -> Any:
    """Return the trained network of a run."""
    network = ConfigParser(json.loads((run / INFERENCE).read_text())).get_parsed_content("network_def")
    network.load_state_dict(torch.load(run / WEIGHTS, map_location="cpu", weights_only=True))
    return network.eval()
