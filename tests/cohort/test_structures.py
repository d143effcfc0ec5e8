"""Masks as other programs write them: values, names and sides of their structures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tests.cohort.cohorts import phantom, save, volumes_ml
from tests.cohort.test_init import init, prepared, sizes_in_ml, write_table


def cohort(folder: Path, masks: list[np.ndarray], name: str = "seg.nii.gz") -> Path:
    """A folder for each mask, with its scan."""
    for number, mask in enumerate(masks):
        save(folder / f"p{number}" / "ct.nii.gz", phantom(number)[0])
        save(folder / f"p{number}" / name, mask)
    return folder


def cubes(number: int, *values: float) -> np.ndarray:
    """The phantom's mask with other values for its two cubes."""
    return np.array([0, *values, 0][:3])[phantom(number)[1]].astype(np.float32)


BOTH = [pytest.approx(volumes_ml(number)) for number in range(3)]
FIRST = [pytest.approx(volumes_ml(number)[:1]) for number in range(3)]


@pytest.mark.parametrize(
    ("values", "names", "sizes"),
    [
        ([(255,)] * 3, ["structure_1"], FIRST),  # pictures
        ([(1,), (255,), (1,)], ["structure_1"], FIRST),
        ([(0.5,)] * 3, ["structure_1"], FIRST),  # probabilities
        ([(0.75, 0.25)] * 3, ["structure_1"], FIRST),
        ([(1, 4)] * 3, ["structure_1", "structure_4"], BOTH),  # BraTS without 2
        ([(1000, 2035)] * 3, ["structure_1000", "structure_2035"], BOTH),  # FreeSurfer
        ([(1, 3), (1, 3), (1, 1)], ["structure_1", "structure_3"], None),
    ],
)
def test_values_of_label_maps(
    tmp_path: Path, values: list[tuple[float, ...]], names: list[str], sizes: list[list[float]] | None
) -> None:
    folder = cohort(tmp_path / "in", [cubes(number, *of_one) for number, of_one in enumerate(values)])
    content = prepared(folder, tmp_path / "out")
    assert list(content["labels"].values())[1:] == names
    assert sizes is None or sizes_in_ml(content) == sizes


def test_label_maps_that_are_all_empty_teach_nothing(tmp_path: Path) -> None:
    result = init(cohort(tmp_path / "in", [cubes(0, 0, 0), cubes(1, 0, 0)]), tmp_path / "out")
    assert result.exit_code == 1
    assert "found the size 0 of 'structure_1' in every scan, expected larger ones in some" in result.output
    assert "medsize fit" not in result.output
    assert (tmp_path / "out" / "datalist.json").is_file()


def test_values_that_label_maps_disagree_on_are_refused_or_named(tmp_path: Path) -> None:
    result = init(cohort(tmp_path / "single", [cubes(0, 1), cubes(1, 2)]), tmp_path / "named")
    assert "each label map holds one value, and they differ: 1 in 1, such as" in result.output
    folder = cohort(tmp_path / "in", [cubes(0, 1, 2), cubes(1, 1, 255)])
    result = init(folder, tmp_path / "out")
    assert result.exit_code == 1
    assert f"{folder}/p1/seg.nii.gz: it holds the value 255, the label maps of this cohort also 1, 2" in result.output


@pytest.mark.parametrize(
    ("values", "message"),
    [((0.5, 87.3), "holds the values 0.5 and 87.3, expected class indices, or"), ((-1, 1), "holds values down to -1")],
)
def test_what_is_neither_classes_nor_probabilities_is_refused(
    tmp_path: Path, values: tuple[float, ...], message: str
) -> None:
    result = init(cohort(tmp_path / "in", [cubes(number, *values) for number in range(2)]), tmp_path / "out")
    assert result.exit_code == 1
    assert message in result.output


def test_masks_of_a_structure_may_hold_any_value(tmp_path: Path) -> None:
    soft = np.clip(cubes(2, 255) + np.random.default_rng(0).integers(-100, 100, phantom(2)[1].shape), 0, 255)
    masks = [cubes(0, 255), cubes(1, 0.5), soft]
    content = prepared(cohort(tmp_path / "in", masks, "masks/liver.nii.gz"), tmp_path / "out")
    assert list(content["labels"].values()) == ["background", "liver"]
    assert sizes_in_ml(content) == FIRST


SNAP = (
    '    0  0 0 0  0  0  0  "Clear Label"\n    2  255 0 0  1  1  1  "left kidney"\n    5  0 255 0  1  1  1  "liver"\n'
)
SLICER = "# Color table file\n0 Background 0 0 0 0\n2 left_kidney 128 174 128 255\n5 liver 241 214 145 255\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", SNAP),
        ("p1/itksnap.label", SNAP),
        ("colours.ctbl", SLICER),
        ("dseg.tsv", "index\tname\n2\tleft kidney\n5\tliver\n"),
    ],
)
def test_a_table_of_labels_names_the_structures(tmp_path: Path, file: str, text: str) -> None:
    folder = cohort(tmp_path / "in", [cubes(number, 2, 5) for number in range(3)])
    (folder / file).write_text(text)
    content = prepared(folder, tmp_path / "out")
    assert list(content["labels"].values())[1:] == ["left kidney", "liver"]
    assert sizes_in_ml(content) == BOTH


def test_a_table_of_labels_tells_the_values_of_the_structures_asked_for(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "in", [cubes(number, 2, 5) for number in range(3)])
    (folder / "labels.txt").write_text(SNAP)
    turned = prepared(folder, tmp_path / "out", "--structure", "liver", "--structure", "left kidney")
    assert [sizes[::-1] for sizes in sizes_in_ml(turned)] == BOTH


def segments(file: Path, mask: np.ndarray, values: dict[str, int]) -> None:
    """Write a mask as 3D Slicer does, on the phantom's grid."""
    numbers = np.array([0, *values.values()])[mask]
    image = SimpleITK.GetImageFromArray(numbers.T.astype(np.uint8))
    image.SetSpacing((2, 2, 5))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, file)
    head, _, voxels = file.read_bytes().partition(b"\n\n")
    for number, (name, value) in enumerate(values.items()):
        head += (
            f"\nSegment{number}_LabelValue:={value}\nSegment{number}_Layer:=0\nSegment{number}_Name:={name}".encode()
        )
    file.write_bytes(head + b"\n\n" + voxels)


def test_segments_are_told_by_their_names_not_their_values(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "in" / f"p{number}" / "ct.nii.gz", phantom(number)[0])
        values = {"liver": 1, "kidney": 2} if number else {"liver": 2, "kidney": 1}
        segments(tmp_path / "in" / f"p{number}" / "ct.seg.nrrd", phantom(number)[1], values)
    content = prepared(tmp_path / "in", tmp_path / "out")
    assert list(content["labels"].values())[1:] == ["liver", "kidney"]
    assert sizes_in_ml(content) == BOTH
    assert sizes_in_ml(prepared(tmp_path / "in", tmp_path / "one", "--structure", "liver")) == FIRST


@pytest.mark.parametrize("has_table", [False, True])
def test_segments_that_overlap_leave_out_their_scan_alone(tmp_path: Path, has_table: bool) -> None:
    for number in range(3):
        save(tmp_path / "in" / f"p{number}" / "ct.nii.gz", phantom(number)[0])
        segments(tmp_path / "in" / f"p{number}" / "ct.seg.nrrd", phantom(number)[1], {"liver": 1, "kidney": 2})
    overlapping = tmp_path / "in" / "p1" / "ct.seg.nrrd"
    overlapping.write_bytes(overlapping.read_bytes().replace(b"Segment1_Layer:=0", b"Segment1_Layer:=1"))
    rows = [f"p{number}/ct.nii.gz,{','.join(map(str, volumes_ml(number)))}" for number in range(3)]
    table = write_table(tmp_path / "sizes.csv", "image,liver volume_ml,kidney volume_ml", rows)
    result = init(tmp_path / "in", tmp_path / "out", *(("--sizes", table) if has_table else ()))
    assert "ct.seg.nrrd: its segments overlap, in 2 layers, expected one. Export each segment" in result.output
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert list(content["labels"].values())[1:] == ["liver", "kidney"]
    assert sizes_in_ml(content) == [BOTH[0], BOTH[2]]


def test_a_name_that_fits_several_sides_lists_them(tmp_path: Path) -> None:
    for number, names in enumerate((("Kidney_L", "Kidney_R"), ("Kidney_L", "Kidney_R"))):
        save(tmp_path / "in" / f"p{number}" / "ct.nii.gz", phantom(number)[0])
        for name in names:
            save(tmp_path / "in" / f"p{number}" / "masks" / f"{name}.nii.gz", cubes(number, 1))
    result = init(tmp_path / "in", tmp_path / "out", "--structure", "kidney")
    assert result.exit_code == 1
    assert "--structure 'kidney' fits several structures: 'kidney_l', 'kidney_r'" in result.output
    assert sizes_in_ml(prepared(tmp_path / "in", tmp_path / "left", "--structure", "Kidney-L")) == FIRST[:2]
    (tmp_path / "in" / "p0" / "masks" / "Kidney_L.nii.gz").unlink()
    (tmp_path / "in" / "p1" / "masks" / "Kidney_R.nii.gz").unlink()
    sides = init(tmp_path / "in", tmp_path / "sides", "--structure", "kidney")
    assert "'kidney' stands for masks of several names: 'kidney_r' (1 scans), 'kidney_l' (1 scans)" in sides.output


@pytest.mark.parametrize(
    ("image", "mask", "name"),
    [
        ("img{:04d}.nii", "label{:04d}.nii", "structure_1"),
        ("sub-{0}/anat/sub-{0}_desc-preproc_T1w.nii", "sub-{0}/anat/sub-{0}_dseg.nii", "structure_1"),
        ("sub-{0}/sub-{0}_desc-preproc_T1w.nii", "sub-{0}/sub-{0}_desc-brain_mask.nii", "brain"),
        ("p{}/ct.nii", "p{}/LiverMask.nii", "liver"),
        ("sub-{0}/sub-{0}_T1w.nii", "derivatives/manual/sub-{0}/sub-{0}_T1w_label-lesion_mask.nii", "lesion"),
    ],
)
def test_a_mask_finds_its_scan_by_their_names(tmp_path: Path, image: str, mask: str, name: str) -> None:
    for number in range(3):
        save(tmp_path / "liver seg" / image.format(number + 1), phantom(number)[0])
        save(tmp_path / "liver seg" / mask.format(number + 1), cubes(number, 1))
    content = prepared(tmp_path / "liver seg", tmp_path / "out")
    assert list(content["labels"].values())[1:] == [name]
    assert sizes_in_ml(content) == FIRST


def test_a_name_is_of_label_maps_in_all_scans_or_in_none(tmp_path: Path) -> None:
    masks = [cubes(number, 1, 2 if number else 0) for number in range(3)]
    content = prepared(cohort(tmp_path / "in", masks, "ct_manual_seg.nii.gz"), tmp_path / "out")
    assert sizes_in_ml(content) == [pytest.approx([volumes_ml(0)[0], 0]), *BOTH[1:]]
