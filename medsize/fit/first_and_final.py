"""First labels against the final network, on training scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medsize.bundle.parts import read_weights
from medsize.bundle.run.folder import CONFIG, WEIGHTS
from medsize.bundle.run.inference_settings import inference_settings
from medsize.first_labels.label_folder import label_file
from medsize.metrics.size_error import mean_relative_error
from medsize.pictures import fullest_slice, slice_png
from medsize.scans.scan_names import short_path
from medsize.transforms.voxel_size import voxel_size

__all__ = ["ClickCandidate", "ComparedScan", "FirstAndFinal", "dice", "first_labels_of"]

SUMMARY = "first_labels.json"
MAX_COMPARED = 8
"""Training scans to compare, evenly taken."""
MAX_CLICKS = 5
"""Training scans to list as worth a click."""


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


class ClickCandidate(NamedTuple):
    """A training scan without a click in which one may help."""

    name: str
    entropy: float
    """Mean entropy of its first label, nats."""
    size_error: float | None
    """Mean relative size error of the final network; ``None`` if no size is known."""


@dataclass(frozen=True)
class FirstAndFinal:
    """First labels and the final network, which were trained on the same fold and region."""

    first_labels: Path
    """Folder of the first labels."""
    first_run: Path
    """Output folder of the training that learnt from the first labels."""
    final_run: Path
    """Output folder of the final network's training."""

    def compare(self, masks: Mapping[str, str | None]) -> Iterator[ComparedScan]:
        """
        Compare first labels with the final network on some of the scans that both are of.

        Args:
            masks: file of the mask of each scan, if it has one. They are for comparison only.
        """
        items = [item for item in self._parsed("training_items") if "label" not in item]
        prepare, teach = self._prepare(), Compose(self._parsed("teacher_transforms"))
        num_classes = int(self._parsed("num_classes"))
        for number in np.unique(np.linspace(0, len(items) - 1, min(len(items), MAX_COMPARED)).round().astype(int)):
            item = items[number]
            scan = teach(prepare(dict(item)))
            image = scan["image"].as_tensor()
            final = self._segment(image)
            first = scan["soft_label"].as_tensor().argmax(dim=0).numpy()
            drawn, mask = None, masks.get(item["image"])
            if mask is not None:
                drawn = prepare({**item, "label": mask})["label"].as_tensor()[0].numpy()
            at = fullest_slice(first)
            spacing = [float(s) for s in scan["image"].pixdim[:2]]
            outlines = [(final[..., at], "solid"), (first[..., at], "dotted")]
            yield ComparedScan(
                self._name(item),
                slice_png(image[0, ..., at].numpy(), outlines, spacing),
                dice(first, final, num_classes),
                dice(first, drawn, num_classes),
                dice(final, drawn, num_classes),
            )

    def click_candidates(self) -> list[ClickCandidate]:
        """Return the training scans whose first labels are least certain, the least certain first."""
        files = {
            label_file(self.first_labels, item["image"]): item
            for item in self._parsed("training_items")
            if not {"label", "clicks", "scribble"} & item.keys()
        }
        entropies = {file: _entropy(file) for file in files if file.is_file()}
        prepare = self._prepare()
        num_classes = int(self._parsed("num_classes"))
        candidates = []
        for file in sorted(entropies, key=lambda file: -entropies[file])[:MAX_CLICKS]:
            item = files[file]
            image = prepare(dict(item))["image"]
            counts = np.bincount(self._segment(image.as_tensor()).ravel(), minlength=num_classes)[1:]
            found = counts * float(voxel_size(image))
            error = _size_error(found, item, float(image.pixdim[2]))
            candidates.append(ClickCandidate(self._name(item), entropies[file], error))
        return candidates

    def _name(self, item: Mapping[str, Any]) -> str:
        return short_path(item["image"], self._config.get("dataset_dir", ""))

    def _prepare(self) -> Compose:
        """Return the transforms that first labels are made after."""
        tiles = self._parsed("tile_transforms") if "tile_transforms" in self._config else []
        return Compose([*self._parsed("deterministic_transforms"), *tiles])

    @cached_property
    def _config(self) -> ConfigParser:
        """Config of the training that learnt from the first labels, which are not made again."""
        parser = ConfigParser()
        parser.read_config(self.first_run / CONFIG)
        parser["first_labels"] = str(self.first_labels)
        return parser

    def _parsed(self, key: str) -> Any:
        return self._config.get_parsed_content(key)

    @cached_property
    def _network(self) -> Any:
        """The final network."""
        parser = ConfigParser(inference_settings(self.final_run))
        network = parser.get_parsed_content("network_def")
        network.load_state_dict(read_weights(self.final_run / WEIGHTS))
        return network.eval()

    def _segment(self, image: torch.Tensor) -> np.ndarray:
        """Return the class indices that the final network finds in an image."""
        with torch.no_grad():
            found: np.ndarray = self._parsed("window_inferer")(image[None], self._network)[0].argmax(dim=0).numpy()
        return found


def first_labels_of(folder: Path) -> Path | None:
    """Return the folder of the last first labels that were made below a folder; ``None`` if there are none."""
    made = sorted(folder.glob(f"*/{SUMMARY}"), key=lambda file: file.stat().st_mtime)
    return made[-1].parent if made else None


def _entropy(label: Path) -> float:
    probability = torch.load(label, weights_only=True).float()
    return float(torch.special.entr(probability).sum(dim=1).mean())


def _size_error(found: np.ndarray, item: Mapping[str, Any], slice_distance: float) -> float | None:
    """Return the mean relative error of volumes in mm³."""
    stated = item.get("volume_mm3")
    if stated is None and "slice_area_mm2" in item:
        stated = item["slice_area_mm2"].sum(dim=-1) * slice_distance
    if stated is None:
        return None
    low, high = torch.as_tensor(stated).reshape(2, -1)
    return mean_relative_error(torch.as_tensor(found), low, high)


def dice(one: np.ndarray, other: np.ndarray | None, num_classes: int) -> list[float]:
    """Return the Dice of each structure in two label maps; NaN where both have none of it, or one map is missing."""
    if other is None:
        return [float("nan")] * (num_classes - 1)
    pairs = [(one == index, other == index) for index in range(1, num_classes)]
    sums = [int(a.sum() + b.sum()) for a, b in pairs]
    return [2 * int((a & b).sum()) / n if n else float("nan") for (a, b), n in zip(pairs, sums, strict=True)]
