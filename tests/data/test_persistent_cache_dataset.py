"""Scans are prepared once for all runs, and anew whenever anything about them changes."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, Invertd, Lambdad, LoadImaged, RandScaleIntensityd, Spacingd, Transform

from medsize.checks import check_run
from medsize.data import PersistentCacheDataset, load_cohort
from medsize.studies.noise_check import check_noisy_run
from tests.conftest import PROJECT


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    """Two scans, with sizes."""
    files = [tmp_path / f"scan_{number}.nii.gz" for number in range(2)]
    for number, file in enumerate(files):
        write(file, number + 1)
    return [{"image": str(file), "size": torch.tensor([10.0, 20.0]), "subject": file.name} for file in files]


def write(file: Path, value: float) -> None:
    voxels = value * np.random.default_rng(0).random((8, 8, 4), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), file)


def preprocessing(spacing: float = 1.0, *others: Transform) -> Compose:
    load = LoadImaged("image", image_only=True, ensure_channel_first=True)
    return Compose([load, *others, Spacingd("image", (spacing,) * 3), RandScaleIntensityd("image", 0.5, prob=1.0)])


def dataset(items: list[dict[str, Any]], cache: Path, transform: Compose, **options: Any) -> PersistentCacheDataset:
    return PersistentCacheDataset(items, transform, cache_dir=cache, num_workers=1, progress=False, **options)


def scans(cache: Path) -> set[Path]:
    return {file for file in cache.rglob("*") if file.is_file()}


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a scan was read, though it is in the cache")

    monkeypatch.setattr(LoadImaged, "__call__", refuse)


@pytest.mark.parametrize("cache_rate", [1.0, 0.0])
def test_later_runs_read_no_scan_and_see_what_memory_would_give(
    items: list[dict[str, Any]], tmp_path: Path, cache_rate: float, request: pytest.FixtureRequest
) -> None:
    first = dataset(items, tmp_path / "cache", preprocessing(), cache_rate=cache_rate)
    expected = CacheDataset(items, preprocessing().set_random_state(0), num_workers=1, progress=False)
    wanted = [expected[index] for index in range(2)]
    assert len([first[index] for index in range(2)]) == 2 == len(scans(tmp_path / "cache"))

    request.getfixturevalue("no_reading")
    items = [{**item, "size": item["size"].clone()} for item in items]  # equal, but not the same
    later = dataset(items, tmp_path / "cache", preprocessing().set_random_state(0), cache_rate=cache_rate)
    for index, item in enumerate(wanted):
        found = later[index]
        torch.testing.assert_close(found["image"].as_tensor(), item["image"].as_tensor(), rtol=0, atol=0)
        torch.testing.assert_close(found["image"].affine, item["image"].affine)
        assert type(found["size"]) is torch.Tensor
        assert found["size"].tolist() == [10.0, 20.0]
        assert found["subject"] == item["subject"]


def test_scans_from_the_cache_can_be_brought_back_to_their_own_space(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    dataset(items, tmp_path / "cache", preprocessing())
    transform = Compose(preprocessing().transforms[:-1])
    item = dataset(items, tmp_path / "cache", transform)[1]
    inverted = Invertd("image", transform, orig_keys="image", nearest_interp=False)({"image": item["image"]})
    assert inverted["image"].shape == (1, 8, 8, 4)


def test_what_changed_is_not_served(items: list[dict[str, Any]], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = dataset(items, cache, preprocessing())[0]["image"]
    assert dataset(items, cache, preprocessing(2.0))[0]["image"].shape != before.shape
    assert len(scans(cache)) == 4

    items[0]["size"] = torch.tensor([10.0, 21.0])
    assert dataset(items, cache, preprocessing())[0]["size"].tolist() == [10.0, 21.0]
    assert len(scans(cache)) == 5

    stat = os.stat(items[1]["image"])
    write(Path(items[1]["image"]), 1000)
    os.utime(items[1]["image"], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy with its old time has it
    assert dataset(items, cache, preprocessing())[1]["image"].max() > 100
    assert len(scans(cache)) == 6


def test_a_network_among_the_transforms_is_known_by_its_weights(items: list[dict[str, Any]], tmp_path: Path) -> None:
    class Teach(Transform):
        def __init__(self, network: torch.nn.Module) -> None:
            self.network = network

        def __call__(self, data: Any) -> Any:
            return data

    # pickle must find the class by its name
    globals()["Teach"], Teach.__qualname__ = Teach, "Teach"
    torch.manual_seed(0)
    network, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    again = torch.nn.Linear(2, 2)
    again.load_state_dict(network.state_dict())
    for teacher, count in ((network, 2), (again, 2), (other, 4)):
        dataset(items, tmp_path / "cache", preprocessing(1.0, Teach(teacher)))
        assert len(scans(tmp_path / "cache")) == count


def test_a_broken_file_is_made_anew(items: list[dict[str, Any]], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    expected = dataset(items, cache, Compose(preprocessing().transforms[:-1]))[0]["image"]
    for file in scans(cache):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(UserWarning, match="is broken, so its scan is prepared anew"):
        found = dataset(items, cache, Compose(preprocessing().transforms[:-1]))[0]["image"]
    torch.testing.assert_close(found, expected)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is broken")
        dataset(items, cache, Compose(preprocessing().transforms[:-1]))


WRITER = """
import sys
from tests.data.test_persistent_cache_dataset import Compose, Path, dataset, preprocessing
for number in range(10):
    items = [{"image": file, "round": number} for file in sys.argv[2:]]
    cached = dataset(items, Path(sys.argv[1]), Compose(preprocessing().transforms[:-1]))
    assert all(item["image"].sum() > 0 for item in cached)
"""


def test_several_processes_may_write_at_once(items: list[dict[str, Any]], tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "cache"), *(item["image"] for item in items)]
    writers = [subprocess.Popen(arguments, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [writer.communicate(timeout=600)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert not any("is broken" in text or "cannot be kept" in text for text in errors), errors
    assert {file.suffix for file in scans(tmp_path / "cache")} == {".pt"}
    assert len(scans(tmp_path / "cache")) == 20


def test_a_lambda_function_is_refused(items: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a lambda\. To keep no scans, set cache_dir to null"):
        dataset(items, tmp_path / "cache", preprocessing(1.0, Lambdad("image", lambda x: x)))


def test_noise_of_masks_and_a_folder_that_is_a_file_are_refused_before_a_run(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    (tmp_path / "file").touch()
    settings = {"supervision": "mask", "val_fold": 0, "num_classes": 4, "region_mm": [192.0, 192.0, -1]}
    in_cache = settings | {"cache_dir": str(tmp_path / "cache")}
    with pytest.raises(SystemExit, match="Set cache_dir to null"):
        check_noisy_run(cohort, in_cache, {"mask_noise": "blocks"})
    with pytest.raises(SystemExit, match="is not a writable folder"):
        check_run(cohort, settings | {"cache_dir": str(tmp_path / "file" / "cache")})
    check_run(cohort, in_cache)
    check_noisy_run(cohort, in_cache, {"size_noise": "gaussian"})
    assert not (tmp_path / "cache").exists()
