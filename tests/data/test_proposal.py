"""Settings are proposed from the scans' headers, their regions and the sizes that they have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt

from medsize.bundle.run_proposal import RunProposal
from medsize.data import Cohort, Proposal, load_cohort

Scan = tuple[tuple[int, int, int], tuple[float, float, float]]
ALIKE: list[Scan] = [((40, 50, 20), (2.0, 2.0, 3.0))] * 4


@pytest.fixture(autouse=True)
def has_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every machine propose alike."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def cohort_of(folder: Path, scans: list[Scan], lowest: float = 0.0, **keys: Any) -> Cohort:
    items = []
    for number, (shape, zooms) in enumerate(scans):
        voxels = np.random.default_rng(number).uniform(lowest, 100, shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*zooms, 1.0])), folder / f"{number}.nii.gz")
        items.append({"image": f"{number}.nii.gz", "fold": number % 2, "size": {"liver": 100.0}, **keys})
    labels = {"0": "background", "1": "liver"}
    content = {"labels": labels, "size_unit": "mm3", "training": items}
    (folder / "datalist.json").write_text(json.dumps(content))
    return load_cohort(folder / "datalist.json", folder)


@pytest.mark.parametrize(
    ("spatial_dims", "spacing", "roi_size"), [(2, [2.0, 2.0], [64, 64]), (3, [2.0, 2.0, 3.0], [40, 56, 24])]
)
def test_scans_that_are_alike_keep_their_spacing_in_a_window_that_holds_them(
    tmp_path: Path, spatial_dims: int, spacing: list[float], roi_size: list[int]
) -> None:
    proposal = Proposal(cohort_of(tmp_path, ALIKE), spatial_dims)
    assert (proposal.spacing(), proposal.roi_size()) == (spacing, roi_size)
    assert proposal.reasons["roi_size"].startswith("voxels; 95 % of the scans are at most 80 × 100")


def test_scans_that_differ_share_the_median_spacing_and_the_window_of_the_largest(tmp_path: Path) -> None:
    scans: list[Scan] = [((40, 50, 20), (2, 2, 3)), ((40, 50, 20), (1, 1, 3)), ((30, 60, 10), (4, 4, 5))]
    proposal = Proposal(cohort_of(tmp_path, scans), 2)
    assert proposal.spacing() == [2.0, 2.0]
    assert proposal.roi_size() == [64, 128]  # 120 × 240 mm


def test_large_scans_get_a_coarser_spacing_and_more_so_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = Proposal(cohort_of(tmp_path, [((203, 20, 20), (1, 1, 1))] * 2), 3)
    assert (proposal.spacing(), proposal.roi_size()) == ([1.6, 1.6, 1.0], [128, 16, 24])
    assert proposal.reasons["spacing"] == "mm; coarser than the median 1 × 1 × 1"
    assert proposal.median_spacing() == [1.0, 1.0, 1.0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (proposal.spacing(), proposal.roi_size()) == ([3.2, 3.2, 1.0], [64, 8, 24])
    assert proposal.reasons["spacing"].endswith("median 1 × 1 × 1, as there is no GPU; with one 1.6 × 1.6 × 1")


def test_the_window_holds_scans_whose_spacing_is_coarser(tmp_path: Path) -> None:
    for voxels in range(130, 400, 30):
        proposal = Proposal(cohort_of(tmp_path, [((voxels, 20, 4), (1, 1, 1))] * 2), 2)
        assert proposal.spacing()[0] * proposal.roi_size()[0] >= voxels


def test_the_window_follows_a_spacing_that_is_given(tmp_path: Path) -> None:
    proposal = Proposal(cohort_of(tmp_path, ALIKE), 2)
    assert proposal.roi_size([1.0, 1.0]) == [96, 128]
    for wrong in ([1.0], "abc", [0.0, 1.0], [1.0, None]):  # the check of a run tells of it
        assert proposal.roi_size(wrong) == [64, 64]  # type: ignore[arg-type]


def test_pictures_that_cover_different_mm_fill_the_window_unless_it_is_in_mm(tmp_path: Path) -> None:
    heads: list[Scan] = [((90, 60, 1), (mm, mm, 1.0)) for mm in (0.5, 1.0, 1.5)]
    proposal = Proposal(cohort_of(tmp_path, heads), 2)
    assert proposal.fit_to_window()
    assert "cover 45 × 30 to 135 × 90 mm" in proposal.reasons["fit_to_window"]
    assert (proposal.spacing(), proposal.roi_size()) == ([1.0, 1.0], [96, 64])
    in_mm = proposal.spacing(fits=False)
    assert (in_mm, proposal.roi_size(in_mm, fits=False)) == ([1.0, 1.0], [160, 96])
    assert not proposal.fit_to_window(use_roi=True)
    assert not Proposal(cohort_of(tmp_path, heads[:1] * 3), 2).fit_to_window()
    assert not Proposal(cohort_of(tmp_path, [((90, 60, 8), zooms) for _, zooms in heads]), 2).fit_to_window()


def test_regions_of_interest_count_if_all_items_have_boxes(tmp_path: Path) -> None:
    box = {"box_mm": [[10.0, 10.0, 10.0], [39.0, 69.0, 39.0]]}
    boxes, points, none = (
        Proposal(cohort_of(tmp_path, ALIKE, **keys), 2)
        for keys in ({"roi": box}, {"roi": {"center_mm": [40.0, 40.0, 30.0]}}, {})
    )
    assert (boxes.use_roi(), boxes.roi_size()) == (True, [32, 32])
    assert boxes.roi_size(use_roi=False) == [64, 64]
    assert (points.use_roi(), points.roi_size()) == (False, [64, 64])
    assert (none.use_roi(), none.reasons["use_roi"]) == (False, "not every item has a roi")


@pytest.mark.parametrize(
    ("lowest", "modalities", "window"),
    [
        (-1000.0, [], [-175.0, 250.0]),
        (-1000.0, ["MR"], None),
        (0.0, [], None),
        (0.0, ["CT", ""], [-175.0, 250.0]),
    ],
    ids=["looks like CT", "MR by its header", "does not", "CT by its header"],
)
def test_ct_gets_a_fixed_window(tmp_path: Path, lowest: float, modalities: list[str], window: Any) -> None:
    assert Proposal(cohort_of(tmp_path, ALIKE[:2], lowest), 2, modalities).intensity_window() == window


@pytest.mark.parametrize(
    ("keys", "level"),
    [
        ({}, "volume"),
        ({"slice_size": {"liver": [1.0] * 20}}, "slice"),
        ({"size": None}, "slice"),
    ],
    ids=["of scans", "of slices", "none"],
)
def test_the_level_is_that_of_most_sizes(tmp_path: Path, keys: dict[str, Any], level: str) -> None:
    assert Proposal(cohort_of(tmp_path, ALIKE, **keys), 2).size_level() == level


@pytest.mark.parametrize(
    ("slices", "structures", "supervision", "stay"),
    [
        (1, 2, "size", True),
        (1, 1, "size", False),
        (20, 2, "size", False),
        (20, 1, "size+scribble", True),
        (1, 1, "size+mask", False),
    ],
)
def test_first_labels_stay_beside_clicks_and_in_pictures_of_several_structures(
    tmp_path: Path, slices: int, structures: int, supervision: str, stay: bool
) -> None:
    cohort = cohort_of(tmp_path, [((40, 50, slices), (2.0, 2.0, 3.0))] * 2)
    cohort = replace(cohort, class_names=("background", "cat", "dog")[: 1 + structures])
    assert Proposal(cohort, 2).first_labels_stay(supervision) == stay


def test_scans_that_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, [*ALIKE[:2], ((9, 9, 9), (90, 90, 90))], -1000.0)
    (tmp_path / "2.nii.gz").write_bytes(b"broken")
    proposal = Proposal(cohort, 3)
    assert (proposal.spacing(), proposal.roi_size()) == ([2.0, 2.0, 3.0], [40, 56, 24])
    assert proposal.intensity_window() == [-175.0, 250.0]
    for number in range(3):
        (tmp_path / f"{number}.nii.gz").write_bytes(b"broken")
    proposal = Proposal(cohort, 3)
    assert len(proposal.spacing()) == len(proposal.roi_size()) == 3
    assert proposal.intensity_window() is None


@pytest.mark.parametrize(
    ("scan", "strides"),
    [(((40, 50, 20), (2, 2, 3)), [[2, 2, 2]] * 3), (((40, 50, 20), (2, 2, 8)), [[2, 2, 1], [2, 2, 1], [2, 2, 2]])],
)
def test_strides_fit_spacing_and_window_and_are_told_where_axes_differ(
    tmp_path: Path, scan: Scan, strides: list[list[int]]
) -> None:
    proposal = Proposal(cohort_of(tmp_path, [scan] * 2), 3)
    assert proposal.strides(proposal.spacing(), proposal.roi_size()) == strides
    assert ("strides" in proposal.reasons) == (strides[0] == [2, 2, 1])
    assert proposal.strides("wrong", [40, 48]) == [[2, 2, 2]] * 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "spatial_dims", "turned", "axis"),
    [
        (("left kidney", "right kidney"), 3, False, 0),
        (("Kidney_L", "liver", "kidney-R"), 2, False, 0),
        (("left kidney", "right kidney"), 3, True, 2),
        (("left kidney", "right kidney"), 2, True, None),
        (("left ventricle", "right ventricle"), 3, False, None),
        (("left kidney", "liver"), 3, False, None),
    ],
    ids=["named", "in letters", "sagittal", "sagittal slices", "heart", "one side"],
)
def test_the_axis_from_left_to_right_is_fixed_where_structures_are_named_so(
    tmp_path: Path, names: tuple[str, ...], spatial_dims: int, turned: bool, axis: int | None
) -> None:
    cohort = replace(cohort_of(tmp_path, ALIKE[:2]), class_names=("background", *names))
    if turned:
        affine = np.diag([1.0, 1, 1, 1])[[2, 0, 1, 3]]
        for item in cohort.items:
            nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.float32), affine), item["image"])
    proposal = Proposal(cohort, spatial_dims)
    assert proposal.fixed_axis() == axis
    assert ("fixed_axis" in proposal.reasons) == (axis is not None)


@pytest.mark.parametrize(("modality", "axis"), [("DX", 0), ("CR", 0), ("US", None), ("", None)])
def test_x_ray_pictures_are_not_flipped_from_left_to_right(tmp_path: Path, modality: str, axis: int | None) -> None:
    cohort = cohort_of(tmp_path, [((40, 50, 1), (2.0, 2.0, 1.0))] * 2)
    assert Proposal(cohort, 2, [modality] * 2).fixed_axis() == axis


def store(cohort: Cohort, orientations: list[str], tilt: float = 0.0) -> None:
    """Store each scan again along other axes, after the patient has been turned by degrees around the third one."""
    turn, angle = np.eye(4), np.radians(tilt)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for item, codes in zip(cohort.items, orientations, strict=True):
        scan = nibabel.load(item["image"])
        scan = nibabel.Nifti1Image(np.asarray(scan.dataobj), turn @ scan.affine)
        to = nibabel.orientations.ornt_transform(nibabel.io_orientation(scan.affine), axcodes2ornt(codes))
        nibabel.save(scan.as_reoriented(to), item["image"])


@pytest.mark.parametrize(
    ("spatial_dims", "stored", "tilt", "orientation", "reason"),
    [
        (3, ["LPS", "LPS", "LPS", "LPS"], 0, "LPS", "4 of 4 scans are stored so, as new ones will be"),
        (3, ["LPS", "RAS", "LPS", "SRA"], 0, "LPS", "2 of 4 scans are stored so; the other 2 are turned"),
        (2, ["LPS", "RAS", "LPS", "LAS"], 20, "LPS", "2 of 4 scans are stored so; the other 2 are turned"),
        (2, ["LPS", "LPS", "LPI", "RAS"], 0, "", "slices lie along different axes (LPS in 2, LPI in 1, RAS in 1)"),
        (3, ["LPS", "LPS", "LPS", "LPS"], 40, "", "many scans lie oblique"),
    ],
    ids=["alike", "several", "slices in the same order", "slices in another order", "oblique"],
)
def test_scans_are_turned_to_the_axes_of_most_of_them(
    tmp_path: Path, spatial_dims: int, stored: list[str], tilt: float, orientation: str, reason: str
) -> None:
    cohort = cohort_of(tmp_path, ALIKE)
    store(cohort, stored, tilt)
    proposal = Proposal(cohort, spatial_dims)
    assert proposal.orientation() == orientation
    assert reason in proposal.reasons["orientation"]
    assert proposal.spacing() == [2.0, 2.0, 3.0][:spatial_dims]
    assert proposal.roi_size() == ([64, 64] if spatial_dims == 2 else [40, 56, 24])


def test_pictures_are_not_turned(tmp_path: Path) -> None:
    assert Proposal(cohort_of(tmp_path, [((40, 50, 1), (2.0, 2.0, 1.0))] * 2), 2).orientation() == ""


def test_the_axis_from_left_to_right_is_that_of_the_scans_as_they_are_turned(tmp_path: Path) -> None:
    cohort = replace(cohort_of(tmp_path, ALIKE), class_names=("background", "left kidney", "right kidney"))
    store(cohort, ["SRA", "SRA", "SRA", "LPS"])
    assert Proposal(cohort, 3).fixed_axis() == 1


def test_an_evaluation_turns_scans_as_the_training_did(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, ALIKE)
    for recorded, orientation in (({"orientation": "SRA"}, "SRA"), ({"spacing": [1, 1, 1]}, "")):
        (tmp_path / "inference.json").write_text(json.dumps(recorded))
        assert RunProposal(cohort, 3, str(tmp_path / "model.pt")).orientation() == orientation
    (tmp_path / "inference.json").unlink()
    assert RunProposal(cohort, 3, str(tmp_path / "model.pt")).orientation() == "RAS"  # not weights of a run
