"""First labels whose features are computed on the device are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medsize.first_labels import FirstLabels
from tests.first_labels.test_first_labels import items_of, loading


@pytest.mark.parametrize("features", ["imagenet", "intensity"])
def test_labels_are_those_of_the_cpu(device: torch.device, phantoms: Path, features: str) -> None:
    items, load = items_of(phantoms), loading()
    made = []
    for where in ("cpu", device):
        labels = FirstLabels(4, features, vocabularies=(50, 100), rounds=3, device=where)
        made.append(labels(lambda number: load(dict(items[number])), len(items)))
    expected, found = (torch.cat([label.flatten(1) for label in labels], dim=1).float() for labels in made)
    alike = (found.argmax(dim=0) == expected.argmax(dim=0)).float().mean()
    assert float(alike) > 0.97  # k-means may turn a rounding into other words
    assert float((found - expected).abs().mean()) < 0.02
