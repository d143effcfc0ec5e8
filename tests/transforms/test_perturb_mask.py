"""Wrong masks are as wrong as asked for, and wrong in the way that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medsize.transforms import PerturbMask, PerturbMaskd
from medsize.transforms.perturb_mask import MASK_NOISES, mask_change

SPACING = (1.5, 1.5, 8.0)


def mask(name: str = "scan.nii.gz") -> MetaTensor:
    """Two ellipsoids of 14 slices, in voxels of 1.5 × 1.5 × 8 mm."""
    x, y, z = np.indices((96, 96, 20)) * np.reshape(SPACING, (3, 1, 1, 1))
    labels = np.zeros((96, 96, 20), dtype=np.uint8)
    labels[(x - 50) ** 2 + (y - 72) ** 2 + (0.5 * (z - 80)) ** 2 < 28**2] = 1
    labels[(x - 105) ** 2 + (y - 72) ** 2 + (0.4 * (z - 80)) ** 2 < 22**2] = 2
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(labels)[None], affine=affine, meta={"filename_or_obj": name})


def structure(labels: torch.Tensor, k: int) -> np.ndarray:
    return np.asarray(labels[0] == k)


@pytest.mark.parametrize("kind", ["resized", "displaced", "translated", "blocks"])
@pytest.mark.parametrize("level", [0.1, 0.3, 0.6])
def test_the_level_is_how_much_is_wrong(kind: str, level: float) -> None:
    wrong = PerturbMask(kind, level)(mask())
    tolerance = {"blocks": 0.35, "translated": 0.25}.get(kind, 0.15)  # their steps are whole voxels
    assert mask_change(structure(mask(), 1), structure(wrong, 1)) == pytest.approx(level, rel=tolerance)


def test_dropped_slices_miss_the_level_by_less_than_a_slice() -> None:
    wrong = PerturbMask("dropped slices", 0.3)(mask())
    for k in (1, 2):
        true = structure(mask(), k)
        largest = true.sum(axis=(0, 1)).max() / true.sum()
        assert abs(mask_change(true, structure(wrong, k)) - 0.3) < largest
        shown = structure(wrong, k).sum(axis=(0, 1))
        assert set(shown) <= {0, *true.sum(axis=(0, 1))}


def test_resized_structures_are_larger_or_smaller_all_around() -> None:
    wrong = [PerturbMask("resized", 0.3, seed)(mask()) for seed in range(8)]
    true = structure(mask(), 1)
    larger = [bool((structure(w, 1) >= true).all()) for w in wrong]
    smaller = [bool((structure(w, 1) <= true).all()) for w in wrong]
    assert all(a != b for a, b in zip(larger, smaller, strict=True))
    assert any(larger)
    assert any(smaller)


def test_translated_structures_keep_their_size() -> None:
    wrong = PerturbMask("translated", 0.4)(mask())
    assert structure(wrong, 1).sum() == pytest.approx(structure(mask(), 1).sum(), rel=0.05)


def test_displaced_boundaries_err_to_both_sides() -> None:
    wrong, true = structure(PerturbMask("displaced", 0.4)(mask()), 1), structure(mask(), 1)
    assert (wrong & ~true).sum() > 0.2 * (wrong != true).sum()
    assert (true & ~wrong).sum() > 0.2 * (wrong != true).sum()


def test_structures_are_dropped_as_often_as_asked_for() -> None:
    dropped = [2 not in PerturbMask("dropped structures", 0.25)(mask(f"{i}.nii")) for i in range(200)]
    assert np.mean(dropped) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("kind", ["displaced", "dropped structures"])
def test_how_wrong_the_masks_became_is_kept(kind: str) -> None:
    perturb = PerturbMaskd("label", kind, 0.3)
    assert perturb.mean_change is None
    changes = []
    for name in ("a", "b", "a"):
        true, wrong = mask(name), perturb({"label": mask(name)})["label"]
        changes += [mask_change(structure(true, k), structure(wrong, k)) for k in (1, 2)]
    assert perturb.mean_change == pytest.approx(np.mean(changes[:4]))


def test_without_a_kind_masks_stay_as_they_are() -> None:
    perturb = PerturbMask(None, 0.3)
    torch.testing.assert_close(perturb(mask()), mask())
    assert perturb.mean_change == 0


@pytest.mark.parametrize("kind", MASK_NOISES)
def test_errors_are_those_of_the_file_and_the_seed(kind: str) -> None:
    first, again = (PerturbMaskd("label", kind, 0.3, seed=1)({"label": mask()})["label"] for _ in range(2))
    torch.testing.assert_close(first, again)
    assert first.dtype == torch.uint8
    torch.testing.assert_close(first.affine, mask().affine)
    if kind != "dropped structures":
        assert not torch.equal(first, mask())
    if kind in ("displaced", "translated", "dropped slices"):
        assert not torch.equal(first, PerturbMask(kind, 0.3, seed=2)(mask()))
        assert not torch.equal(first, PerturbMask(kind, 0.3, seed=1)(mask("other.nii.gz")))


def test_level_zero_changes_nothing() -> None:
    assert torch.equal(PerturbMask("displaced", 0.0)(mask()), mask())


@pytest.mark.parametrize(("kind", "level", "message"), [("smudged", 0.1, "mask noise"), ("blocks", -1, "negative")])
def test_others_are_refused(kind: str, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PerturbMask(kind, level)
