"""Masks are told from images by the words of their paths, as people and programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsize.scans.find_scans import find_scans
from medsize.scans.roles import plain_words, roles_of
from medsize.scans.scan import FoundScan, ScanKind


def masks_among(*paths: str, series: str | None = None) -> list[str]:
    found = [FoundScan(ScanKind.FILE, (Path("/in", path),)) for path in paths]
    if series is not None:
        found.append(FoundScan(ScanKind.SERIES, (Path("/in", series),)))
    roles = roles_of(found, Path("/in"))
    assert {scan.files[0] for scan in roles.images} | {*roles.masks, *roles.clicks} == {s.files[0] for s in found}
    return [mask.relative_to("/in").as_posix() for mask in roles.masks]


@pytest.mark.parametrize(
    "mask",
    [
        *("label0001.nii", "LiverMask.nii", "a1_roi.nii", "a1_dseg.nii.gz", "ct.nii-label.nrrd", "ct.seg.nrrd"),
        *("livermask.nii", "TumorSeg.nii", "maskLiver.nii.gz", "seg1.nii", "ROI-liver.mha", "labelsTr/a.nii"),
        *("p1/masks/liver.nii", "a_GT.nii", "sub-1_label-GM_probseg.nii", "a_labelmap.nii", "GTVMask2.nii"),
    ],
)
def test_words_of_masks(mask: str) -> None:
    assert masks_among("scan.nii", mask) == [mask]


@pytest.mark.parametrize("image", ["img0001.nii", "segond.nii", "a_T1w.nii", "Labelle.nii", "gtr.nii", "masking1.nii"])
def test_other_words(image: str) -> None:
    assert masks_among("scan.nii", image) == []


def test_folders_above_everything_say_nothing() -> None:
    assert masks_among("liver seg/p0/ct.nii", "liver seg/p0/mask.nii") == ["liver seg/p0/mask.nii"]
    two = ["seg project A/ct.nii", "seg project B/ct.nii", "seg project B/ct_mask.nii"]
    assert masks_among(*two) == two[2:]
    assert masks_among("masks/a.nii", "masks/b.nii", series="ct/0.dcm") == ["masks/a.nii", "masks/b.nii"]
    assert masks_among("masks/a.nii", "masks/b.nii") == []  # all that there is


def test_words_that_a_mask_shares_with_its_image() -> None:
    assert plain_words("img0001.nii") == plain_words("label0001.nii") == ("0001",)
    assert plain_words("p1/ct.nii-label.nrrd") == plain_words("p1/ct.nii") == ("p1", "ct")
    assert plain_words("p1/LiverMask.nii") == ("p1", "liver")


def test_what_only_looks_like_a_scan_is_left_out_with_a_reason(tmp_path: Path) -> None:
    names = ["a.dscalar.nii", "lh.pial.surf.gii", "aseg.mgz", "scene.mrml", "t1.img", "photo.webp"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    found = {scan.files[0].name: scan for scan in find_scans(tmp_path)}
    assert sorted(found) == sorted(names)
    assert {scan.kind for scan in found.values()} == {ScanKind.OTHER}
    assert "a.dscalar.nii: it is CIFTI" in found["a.dscalar.nii"].fault
    assert "Convert it to NIfTI" in found["aseg.mgz"].fault
    assert "Save it as PNG" in found["photo.webp"].fault


def test_one_file_is_found_without_its_folder(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_bytes(b"x")
    assert [scan.files for scan in find_scans(tmp_path / "a.nii")] == [(tmp_path / "a.nii",)]
