"""Scans are read once, until they change; a broken cache does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsize.checks import check_scans
from medsize.scans import fact_cache
from medsize.scans.scan_facts import image_facts, mask_facts

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def save(file: Path, voxels: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), file)
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, as a new process finds it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MEDSIZE_CACHE_DIR", str(folder))
    monkeypatch.setattr(fact_cache, "_known", {})
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that nibabel loads from now on."""
    names: list[str] = []
    original = nibabel.load

    def load(file: Any, *arguments: Any, **options: Any) -> Any:
        names.append(Path(file).name)
        return original(file, *arguments, **options)

    monkeypatch.setattr(nibabel, "load", load)
    return names


def forget() -> None:
    """Forget the facts that a new process would not know."""
    fact_cache._known.clear()


def test_facts_are_those_of_the_file(tmp_path: Path, cache: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    voxels[0, 0, :2] = np.nan
    facts = image_facts(save(tmp_path / "a.nii.gz", voxels))
    assert (facts.shape, facts.zooms, facts.extent_mm) == ((6, 5, 4), (2, 2, 5), [12, 10, 20])
    assert (facts.non_finite, facts.voxel_mm3) == (2, 20)
    np.testing.assert_allclose(facts.percentiles, np.nanpercentile(voxels, [0.5, 50, 99.5]), rtol=1e-6)
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[1:3, 2:4, 1:4] = 2
    mask = mask_facts(save(tmp_path / "m.nii.gz", labels))
    assert (mask.values, mask.counts, mask.box) == ((0, 2), (108, 12), ((1, 2, 1), (2, 3, 3)))
    assert (mask.volume_mm3(2), mask.volume_mm3(1)) == (240, 0)


def test_a_scan_is_read_once_until_it_changes(tmp_path: Path, cache: Path, loads: list[str]) -> None:
    file = save(tmp_path / "a.nii.gz", np.zeros((6, 5, 4), dtype=np.float32))
    items = [{"image": str(file)}]
    for _ in range(2):
        assert check_scans(items, 2) == []
        forget()
    assert loads == ["a.nii.gz"]
    save(file, np.full((6, 5, 4), np.nan, dtype=np.float32))
    assert "120 intensities are NaN" in check_scans(items, 2)[0]
    forget()
    assert "120 intensities are NaN" in check_scans(items, 2)[0]
    assert loads == ["a.nii.gz"] * 2


def test_a_scan_that_cannot_be_read_is_tried_again(tmp_path: Path, cache: Path, loads: list[str]) -> None:
    file = tmp_path / "a.nii.gz"
    file.write_bytes(b"no scan")
    for _ in range(2):
        assert "cannot be read" in check_scans([{"image": str(file)}], 2)[0]
    assert loads == ["a.nii.gz"] * 2
    assert not list(cache.rglob("*.json"))


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"{}", b"[1, 2, 3]\n{}"])
def test_a_broken_entry_is_made_anew(tmp_path: Path, cache: Path, loads: list[str], damage: bytes) -> None:
    file = save(tmp_path / "a.nii.gz", np.ones((6, 5, 4), dtype=np.float32))
    facts = image_facts(file)
    (entry,) = cache.rglob("*.json")
    sound = entry.read_bytes()
    for content in (damage, sound.split(b"\n")[0] + b"\n" + damage, sound[:-20]):
        entry.write_bytes(content)
        forget()
        assert image_facts(file) == facts
        assert entry.read_bytes() == sound
    assert len(loads) == 4


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, cache: Path, loads: list[str]) -> None:
    cache.write_text("a file where the folder should be")
    file = save(tmp_path / "a.nii.gz", np.ones((6, 5, 4), dtype=np.float32))
    with pytest.warns(UserWarning, match="MEDSIZE_CACHE_DIR"):
        image_facts(file)
    image_facts(file)
    assert loads == ["a.nii.gz"]  # this process knows it


def test_the_cache_names_no_one(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "Doe Jane"
    folder.mkdir()
    image_facts(save(folder / "Doe Jane 4711.nii.gz", np.ones((6, 5, 4), dtype=np.float32)))
    (entry,) = cache.rglob("*.json")
    assert b"Doe" not in entry.read_bytes()
    assert "Doe" not in str(entry.relative_to(tmp_path))


def test_the_same_voxels_are_known_in_any_type(tmp_path: Path, cache: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (6, 5, 4))
    digests = {
        image_facts(save(tmp_path / f"{dtype}.nii.gz", voxels.astype(dtype))).digest
        for dtype in ("uint8", "int16", "float32", "float64")
    }
    assert len(digests) == 1
    assert image_facts(save(tmp_path / "other.nii.gz", (voxels + 1).astype("int16"))).digest not in digests
    assert image_facts(save(tmp_path / "turned.nii.gz", voxels[::-1].astype("int16"))).digest not in digests
