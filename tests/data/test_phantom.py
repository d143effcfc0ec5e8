"""The phantom cohort is reproducible, and its data list is true."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsize.checks import check_scans
from medsize.data import load_cohort, make_phantom, write_phantom_cohort
from medsize.data.phantom import make_lesion_phantom


def test_the_same_seed_gives_the_same_scan() -> None:
    first, second = (make_phantom((24, 24, 6), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    other = make_phantom((24, 24, 6), np.random.default_rng(4))
    assert (other[0] != first[0]).any()


def test_organs_vary_in_size_and_differ_in_intensity(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    sizes = np.stack([item["volume_mm3"][0].numpy() for item in cohort.items])
    present = np.where(sizes > 0, sizes, np.nan)
    assert (np.nanstd(present, axis=0) > 0.1 * np.nanmean(present, axis=0)).all()
    image, mask = make_phantom((48, 48, 8), np.random.default_rng(0))
    means = [image[mask == k].mean() for k in range(1, 4)]
    assert means[1] > means[0] > means[2]


def test_stated_sizes_are_those_of_the_masks(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    for item in cohort.items:
        mask = nibabel.load(item["label"])
        counted = np.bincount(np.asarray(mask.dataobj).ravel(), minlength=4)[1:] * 6 * 6 * 16
        np.testing.assert_allclose(item["volume_mm3"][0], counted)
        np.testing.assert_allclose(item["slice_area_mm2"][0].sum(axis=-1) * 16, counted, rtol=1e-5)
    assert check_scans(list(cohort.items), 4) == []


def test_flat_phantoms_can_be_made(tmp_path: Path) -> None:
    path = write_phantom_cohort(tmp_path, num_scans=3, shape=(32, 32, 1))
    assert check_scans(list(load_cohort(path, tmp_path).items), 4) == []


@pytest.mark.parametrize(
    ("file", "content"), [("datalist.json", '{"name": "livers", "training": []}'), ("images/patient_1.nii.gz", "")]
)
def test_another_cohort_is_not_overwritten(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=f"found another cohort, {file}, expected none, or a phantom"):
        write_phantom_cohort(tmp_path, 1)
    assert [path.name for path in tmp_path.rglob("*.*")] == [Path(file).name]


def test_lesions_lie_in_the_liver_and_their_sizes_add_up(tmp_path: Path) -> None:
    cohort = load_cohort(write_phantom_cohort(tmp_path, num_scans=3, shape=(32, 32, 6), lesions=True), tmp_path)
    assert cohort.organs == ("liver",)
    for item in cohort.items:
        lesions, liver = (np.asarray(nibabel.load(file).dataobj) for file in (item["label"], *item["region"]))
        assert not (lesions & ~liver & 1).any()
        assert float(item["volume_mm3"][0, 0]) == pytest.approx(lesions.sum() * 72)


def test_lesions_are_darker_than_the_liver_and_not_the_only_dark_spots() -> None:
    image, lesions, liver = make_lesion_phantom((48, 48, 12), np.random.default_rng(0))
    around = image[10:38, 10:38][liver[10:38, 10:38] == 0]
    dark, healthy = image[lesions > 0].mean(), image[(liver > 0) & (lesions == 0)].mean()
    assert dark < 0.7 * healthy
    assert (around < dark).sum() > 20
    assert np.median(around) > dark
