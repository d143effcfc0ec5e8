"""The sizes of a scan are what its rows say, or every contradiction to the scan is named."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.special import ellipe

from medsize.data import load_cohort, write_data_list
from medsize.scans.pictures.file import picture_affine
from medsize.scans.space.grid import Grid
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.scan_sizes import add_sizes, scan_sizes
from medsize.sizes.table.size_table import SizeTable, SizeTableError
from medsize.transforms import SizeToFraction
from tests.sizes.table.tables import Row, in_a_folder, write_csv, write_scan, write_xlsx


def sizes(tmp_path: Path, *rows: Row, image: str = "a.nii.gz") -> dict[str, Any]:
    """Return the sizes of a scan by both formats, which must agree."""
    from_csv, from_xlsx = (
        scan_sizes(read_size_table(write(tmp_path / name, *rows)), image, tmp_path)
        for write, name in ((write_csv, "sizes.csv"), (write_xlsx, "sizes.xlsx"))
    )
    assert from_csv == from_xlsx
    return from_csv


@pytest.mark.parametrize(
    ("column", "cell", "mm3"),
    [
        ("liver volume_ml", 1510, 1510e3),
        ("liver volume_ml", "12,5", 12500),
        ("liver volume_ml", "0,125", 125),
        ("liver volume_ml", "1.470,5", 1470.5e3),
        ("liver volume_ml", "1,234,567.8", 1234567.8e3),
        ("liver volume_ml", "1950 ml", 1950e3),
        ("liver volume_ml", "1,5cm³ + 2 mL", 3500),
        ("liver diameters_mm", "30 mm x 20 mm", math.pi / 6 * 30 * 20**2),
        ("liver volume_mm3", 1510.25, 1510.25),
        ("liver volume_mm3", "1.5e3", 1500),
        ("liver diameters_mm", 30, math.pi / 6 * 30**3),
        ("liver diameters_mm", "30 x 20", math.pi / 6 * 30 * 20**2),
        ("liver diameters_mm", "12 + 15 x 11 + 31", math.pi / 6 * (12**3 + 15 * 11**2 + 31**3)),
        ("liver diameters_mm", "12\n15", math.pi / 6 * (12**3 + 15**3)),
        ("liver volume_ml", "1.2 + 0.8", 2000),
        ("liver volume_mm3", "1e+3+5", 1005),
        ("liver diameters_mm", "34 x 28,5 × 40", math.pi / 6 * 34 * 28.5 * 40),
        ("liver fraction", 0.25, 2000),
        ("liver fraction", "25 %", 2000),
        ("liver fraction", "0,5%", 40),
        ("Liver  Volume (mL)", 2, 2000),
        ("liver volume [mm³]", 2, 2),
        ("LIVER_volume_mm^3", 2, 2),
        ("liver diameter mm", 2, math.pi / 6 * 8),
        ("right_liver_mL", 2, 2000),
        ("liver (mm³)", 2, 2),
    ],
)
def test_a_cell_says_so_many_mm3(tmp_path: Path, column: str, cell: Any, mm3: float) -> None:
    write_scan(tmp_path / "a.nii.gz")
    (size,) = sizes(tmp_path, ["Image ", column], ["a.nii.gz", cell])["size"].values()
    assert size == pytest.approx(mm3, rel=1e-12)


@pytest.mark.parametrize(
    "rows",
    [
        [["image", "classes"], ["a.png", "cat; dog"], ["b.png", "none"], ["c.png", "NaN"], ["d.png", "Dog"]],
        [
            ["image", "cat present", "dog present"],
            *(["a.png", 1, "yes"], ["b.png", 0, "no"], ["c.png", "", "?"], ["d.png", 0, "x"]),
        ],
    ],
)
def test_present_structures_alone_are_wide_intervals(tmp_path: Path, rows: list[Row]) -> None:
    table = read_size_table(write_csv(tmp_path / "t.csv", *rows))
    assert table.structures == ("cat", "dog")
    for name, number in (("a.png", 0), ("b.png", 1), ("c.png", 2), ("d.png", 3)):
        write_scan(tmp_path / f"{name}.nii", (10, 10, 1), np.diag([1, 1, 1, 1]))
        found = scan_sizes(table, name, tmp_path, "px", tmp_path / f"{name}.nii")
        expected = [
            {"cat": [[0.1, 100]], "dog": [[0.1, 100]]},
            {"cat": [0], "dog": [0]},
            None,
            {"cat": [0], "dog": [[0.1, 100]]},
        ][number]
        assert found.get("slice_size") == expected


def test_tags_stand_beside_sizes_which_say_more(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    write_scan(tmp_path / "b.nii.gz")
    header = ["image", "classes", "liver volume_ml", "left kidney volume_ml"]
    rows = [["a.nii.gz", "liver; left_kidney", 1.5, ""], ["b.nii.gz", "Left kidney", 0, ""]]
    table = read_size_table(write_csv(tmp_path / "sizes.csv", header, *rows))
    assert table.structures == ("liver", "left kidney")
    assert scan_sizes(table, "a.nii.gz", tmp_path)["size"] == {"liver": 1500, "left kidney": [0.08, 8000]}
    assert scan_sizes(table, "b.nii.gz", tmp_path)["size"] == {"liver": 0, "left kidney": [0.08, 8000]}


def test_whole_numbers_below_the_name_of_a_structure_are_a_count_beside_its_fraction(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    header = ["image", "nuclei_fraction", "nuclei"]
    assert sizes(tmp_path, header, ["a.nii.gz", 0.25, 125])["size"] == {"nuclei": pytest.approx(2000)}
    write_csv(tmp_path / "sizes.csv", header, ["a.nii.gz", 0.25, 0])
    with pytest.raises(SizeTableError, match=r"'nuclei' \(C\) is 0, but the size by column 'nuclei_fraction'"):
        read_size_table(tmp_path / "sizes.csv")


@pytest.mark.parametrize(
    ("columns", "cells", "low", "high"),
    [
        (["liver volume_ml", "liver error_percent"], [100, 10], 90e3, 110e3),
        (["liver volume_ml", "liver error %"], [100, "± 10 %"], 90e3, 110e3),
        (["liver volume_ml", "error_percent"], [100, "12,5"], 87.5e3, 112.5e3),
        (["liver volume_ml", "liver error_percent", "error_percent"], [100, 10, 50], 90e3, 110e3),
        (["liver diameters_mm", "liver error_percent"], [30, 10], math.pi / 6 * 27**3, math.pi / 6 * 33**3),
        (["liver fraction", "liver error_percent"], [0.8, 50], 3200, 8000),
        (["liver volume_ml low", "liver volume_ml high"], [1, 2], 1000, 2000),
        (["liver volume_ml low", "liver volume_ml high", "error_percent"], [1, 2, 10], 1000, 2000),
        (["liver fraction low", "liver fraction high"], ["10 %", 0.5], 800, 4000),
        (["liver diameters_mm low", "liver diameters_mm high"], [10, "20 x 15"], math.pi / 6 * 1e3, math.pi / 6 * 4500),
    ],
)
def test_uncertainty_becomes_bounds(
    tmp_path: Path, columns: list[str], cells: list[Any], low: float, high: float
) -> None:
    write_scan(tmp_path / "a.nii.gz")
    entry = sizes(tmp_path, ["image", *columns], ["a.nii.gz", *cells])
    assert entry["size"] == {"liver": pytest.approx([low, high], rel=1e-12)}


def test_absent_is_not_unknown(tmp_path: Path) -> None:
    header = ["image", "subject", "liver volume_ml", "tumour volume_ml", "tumour error_percent"]
    entry = sizes(tmp_path, header, ["a.nii.gz", "A", "n/a", 0, "-"], ["b.nii.gz", "B", "", "Unknown", 10])
    assert entry == {"size": {"liver": None, "tumour": 0}, "subject": "A"}
    assert scan_sizes(read_size_table(tmp_path / "sizes.csv"), "b.nii.gz") == {"subject": "B"}


def test_rows_and_structures_may_use_different_ways(tmp_path: Path) -> None:
    write_scan(tmp_path / "b.nii.gz")
    rows = [
        ["image", "left ventricle volume_ml", "left ventricle fraction", "tumour diameters_mm", "comment"],
        ["a.nii.gz", 0.12, None, "10 x 10 x 10", "volume from the report, 1,510 is no size"],
        ["b.nii.gz", None, 0.5, None, None],
        [None, None, None, None, None],
    ]
    assert sizes(tmp_path, *rows)["size"] == pytest.approx({"left ventricle": 120, "tumour": math.pi / 6 * 1000})
    assert sizes(tmp_path, *rows, image="b.nii.gz")["size"] == {"left ventricle": 4000, "tumour": None}


def test_slices_are_in_mm2_along_the_last_axis(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    entry = sizes(
        tmp_path,
        ["image", "slice", "liver area_mm2", "liver fraction", "liver volume_ml", "kidney area_mm2", "error_percent"],
        ["a.nii.gz", 3, 20, None, None, None, None],
        ["a.nii.gz", 1, None, "10 %", None, 8, 50],
        ["a.nii.gz", None, None, None, 2, None, None],
        ["a.nii.gz", 2, 0, None, None, None, None],
    )
    assert entry["slice_size"] == {
        "liver": [None, pytest.approx([20, 60]), 0, 20],
        "kidney": [None, [4, 12], None, None],
    }
    assert entry["size"] == {"liver": 2000, "kidney": None}


def test_a_mask_is_measured(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    mask = np.zeros((10, 10, 4), dtype=np.uint8)
    mask[2:5, 2:4, 1:3] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([2.0, 2.0, 5.0, 1.0])), tmp_path / "tumour 1.nii.gz")
    header = ["image", "tumour mask", "tumour error_percent"]
    entry = sizes(tmp_path, header, ["a.nii.gz", "tumour 1.nii.gz", None])
    assert entry == {"size": {"tumour": 6 * 2 * 20}, "slice_size": {"tumour": [0, 24, 24, 0]}}
    entry = sizes(tmp_path, header, ["a.nii.gz", "tumour 1.nii.gz", 50])
    assert entry["size"] == {"tumour": [120, 360]}


def test_paths_are_the_same_on_macos_and_windows(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "scans\\Müller.nii.gz")
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml"], [decomposed, 1])
    assert add_sizes([{"image": "./scans/Müller.nii.gz"}], read_size_table(path))[0]["size"] == {"liver": 1000}


@pytest.fixture
def table(tmp_path: Path) -> SizeTable:
    path = write_csv(
        tmp_path / "sizes.csv",
        ["image", "subject", "slice", "liver volume_ml", "liver fraction"],
        ["a.nii.gz", "A", "", 1.5, ""],
        ["b.nii.gz", "B", "", "", 0.1],
        ["b.nii.gz", "B", 3, "", 0.2],
    )
    for name in ("a", "b"):
        write_scan(tmp_path / f"{name}.nii.gz")
    return read_size_table(path)


def test_scans_with_sizes_make_a_data_list(table: SizeTable, tmp_path: Path) -> None:
    items = add_sizes([{"image": "b.nii.gz", "fold": 1}, {"image": "a.nii.gz", "fold": 0}], table, tmp_path)
    data_list = tmp_path / "datalist.json"
    write_data_list(data_list, ["background", *table.structures], items, size_unit="mm3")
    first, second = load_cohort(data_list, tmp_path).items
    assert first["volume_mm3"].tolist() == [[pytest.approx(800)], [pytest.approx(800)]]
    assert first["slice_area_mm2"].tolist() == [[[0, 0, 0, 80]], [[math.inf, math.inf, math.inf, 80]]]
    assert second["volume_mm3"].tolist() == [[1500], [1500]]
    assert (first["fold"], first["subject"], second["subject"]) == (1, "B", "A")
    json.loads(data_list.read_text(), parse_constant=pytest.fail)


def test_rows_and_scans_that_do_not_match_are_named_at_once(table: SizeTable, tmp_path: Path) -> None:
    items = [
        {"image": "a.nii.gz", "subject": "Anna"},
        {"image": "bb.nii.gz"},
        {"image": "bb.nii.gz"},
    ]
    with pytest.raises(SizeTableError) as caught:
        add_sizes(items, table, tmp_path)
    assert caught.value.problems == [
        "the scan 'bb.nii.gz' is listed 2 times. List it once.",
        "row 3, column 'image' (A) and 1 more of it: there is no scan 'b.nii.gz'. Did you mean 'bb.nii.gz'?",
        "the scan 'a.nii.gz' already has another 'subject'. Remove it, or correct the table.",
        "the scan 'bb.nii.gz' has no row. Add one, and leave its sizes empty if they are unknown.",
    ]


def test_what_scans_and_masks_do_not_have_is_named(table: SizeTable, tmp_path: Path) -> None:
    write_scan(tmp_path / "b.nii.gz", shape=(10, 10, 3))
    with pytest.raises(SizeTableError, match=r"row 4, column 'slice' \(C\) is 3, but the scan 'b.nii.gz' has 3 slices"):
        add_sizes([{"image": "a.nii.gz"}, {"image": "b.nii.gz"}], table, tmp_path)
    (tmp_path / "b.nii.gz").write_bytes(b"no scan")
    with pytest.raises(SizeTableError, match=r"row 3, column 'image' \(A\): the image .*b.nii.gz cannot be read"):
        scan_sizes(table, "b.nii.gz", tmp_path)
    assert scan_sizes(table, "a.nii.gz", tmp_path / "elsewhere")["size"] == {"liver": 1500}
    with pytest.raises(SizeTableError, match=r"Is '.*elsewhere' the data set's folder"):
        scan_sizes(table, "b.nii.gz", tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        (
            (10, 10, 4),
            2.0,
            "found values up to 2, expected 1 in the structure, and 0 elsewhere",
        ),
        ((10, 4, 10), 1.0, "does not fit its scan: it is not on the image's voxels: .*Were its axes swapped"),
        (None, 1.0, "the mask cannot be measured: .*mask.nii.gz"),
    ],
)
def test_masks_that_cannot_be_measured_are_named(
    tmp_path: Path, shape: tuple[int, ...] | None, value: float, message: str
) -> None:
    write_scan(tmp_path / "a.nii.gz")
    if shape is not None:
        write_scan(tmp_path / "mask.nii.gz", shape, value=value)
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver mask"], ["a.nii.gz", "mask.nii.gz"])
    with pytest.raises(SizeTableError, match=r"row 2, column 'liver mask' \(B\): .*" + message):
        scan_sizes(read_size_table(path), "a.nii.gz", tmp_path)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd", "mask.mha"])
def test_a_mask_of_probabilities_is_inside_from_a_half(tmp_path: Path, name: str) -> None:
    write_scan(tmp_path / "a.nii.gz")
    inside = np.full((4, 10, 10), 0.1, dtype=np.float32)
    inside[1, 2:4, 2:6], inside[2, 2, 2] = 0.9, 1.0
    mask = SimpleITK.GetImageFromArray(inside)
    Grid.of_affine((10, 10, 4), np.diag([2.0, 2.0, 5.0, 1.0])).place(mask)
    SimpleITK.WriteImage(mask, tmp_path / name)
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver mask"], ["a.nii.gz", name])
    assert scan_sizes(read_size_table(path), "a.nii.gz", tmp_path) == {
        "size": {"liver": 9 * 20},
        "slice_size": {"liver": [0, 32, 4, 0]},
    }


def test_a_mask_of_another_format_is_named(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver mask"], ["a.nii.gz", "mask.png"])
    with pytest.raises(SizeTableError, match=r"mask.png: found a '.png' file, expected NIfTI, NRRD or MetaImage. Save"):
        scan_sizes(read_size_table(path), "a.nii.gz", tmp_path)


def test_a_mask_of_another_resolution_has_its_own_volume_and_the_scans_slices(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 6, 4), np.int16), np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii")
    fine = np.diag([1.0, 1.0, -1.5, 1.0])  # its slices run the other way
    fine[:3, 3] = [-0.5, -0.5, 9.75]
    mask = np.zeros((12, 12, 8), np.uint8)
    mask[2:8, 4:8, 0:2] = 1  # the last slice of the scan
    mask[2:5, 4:8, 2:4] = 1
    mask[9, 9, 5] = 1
    nibabel.save(nibabel.Nifti1Image(mask, fine), tmp_path / "mask.nii")
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver mask"], ["a.nii", "mask.nii"])
    assert scan_sizes(read_size_table(path), "a.nii", tmp_path) == {
        "size": {"liver": (48 + 24 + 1) * 1.5},
        "slice_size": {"liver": [0, 0, 16, 24]},  # half of a voxel is inside, an eighth is not
    }


def random_affine(rng: np.random.Generator) -> np.ndarray:
    affine = np.eye(4)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine[:3, :3] = rotation @ np.diag(rng.uniform(0.3, 6.0, 3))
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


def decimal(number: float) -> float:
    """Round a number as workbooks do."""
    return float(f"{number:.15g}")


def stated_in(kind: str, mm3: float, view: float, ratio: float) -> tuple[Any, float]:
    """A cell that states about so many mm³, and the mm³ that it states exactly."""
    diameter = (6 / math.pi * mm3) ** (1 / 3)
    return {
        "volume_ml": (decimal(mm3 / 1000), mm3),
        "volume_mm3": (decimal(mm3), mm3),
        "fraction": (decimal(mm3 / view), mm3),
        "diameters_mm": (decimal(diameter), mm3),
        "two diameters_mm": (f"{diameter * ratio} x {diameter}", mm3 * min(ratio, ratio**2)),
        "three diameters_mm": (f"{diameter * ratio} x {diameter} x {diameter / ratio}", mm3),
    }[kind]


KINDS = ("volume_ml", "volume_mm3", "fraction", "diameters_mm", "two diameters_mm", "three diameters_mm")


STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.one_of(st.just(0.0), st.floats(1e-5, 0.15)),
        st.floats(0.7, 1.2),
        st.one_of(st.none(), st.just(0.0), st.floats(0.1, 99)),
    ),
    min_size=1,
    max_size=4,
)


@in_a_folder
@given(statements=STATEMENTS, seed=st.integers(0, 2**32 - 1), separator=st.sampled_from(",\t"))
def test_sizes_come_back_from_fractions_of_any_scan(
    tmp_path: Path, statements: list[tuple[str, float, float, float | None]], seed: int, separator: str
) -> None:
    rng = np.random.default_rng(seed)
    shape, affine = rng.integers(2, 9, 3), random_affine(rng)
    view = float(abs(np.linalg.det(affine[:3, :3])) * shape.prod())
    header, row, low, high = ["image"], ["a.nii.gz"], [], []
    for number, (stated_kind, part, ratio, error) in enumerate(statements):
        kind = "volume_ml" if part == 0 else stated_kind  # a diameter cannot be 0
        cell, mm3 = stated_in(kind, part * view, view, ratio)
        header += [f"organ {number} {kind.split()[-1]}", f"organ {number} error_percent"]
        row += [cell, None if error is None else decimal(error)]
        power = 3 if "diameters" in kind else 1
        low.append(mm3 * (1 - (error or 0) / 100) ** power)
        high.append(min(mm3 * (1 + (error or 0) / 100) ** power, view))
    write_scan(tmp_path / "a.nii.gz", shape, affine)

    from_csv = read_size_table(write_csv(tmp_path / "sizes.csv", header, row, separator=separator))
    from_xlsx = read_size_table(write_xlsx(tmp_path / "sizes.xlsx", header, row))
    size = scan_sizes(from_csv, "a.nii.gz", tmp_path)["size"]
    assert scan_sizes(from_xlsx, "a.nii.gz", tmp_path)["size"] == size

    intervals = torch.tensor([v if isinstance(v, list) else [v, v] for v in size.values()]).double().T
    image = MetaTensor(torch.zeros(1, *shape), affine=affine)
    volumes = SizeToFraction()(intervals, image).double()[:, 1:] * view
    np.testing.assert_allclose(volumes, [low, high], rtol=1e-6)


@in_a_folder
@given(
    parts=st.lists(st.one_of(st.none(), st.just(0.0), st.floats(1e-5, 0.9)), min_size=2, max_size=8),
    in_fractions=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_sizes_of_slices_come_back_from_fractions_of_any_scan(
    tmp_path: Path, parts: list[float | None], in_fractions: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape, affine = (*rng.integers(2, 9, 2), len(parts)), random_affine(rng)
    view = float(np.linalg.norm(affine[:3, :2], axis=0).prod() * shape[0] * shape[1])
    parts = [None if part is None else decimal(part) for part in parts]
    areas = [None if part is None else decimal(part * view) for part in parts]
    header = ["image", "slice", "liver fraction" if in_fractions else "liver area_mm2", "kidney fraction"]
    rows = [
        ["a.nii.gz", z, part if in_fractions else area, 0]
        for z, (part, area) in enumerate(zip(parts, areas, strict=True))
    ]
    rng.shuffle(rows)
    write_scan(tmp_path / "a.nii.gz", shape, affine)

    slice_size = sizes(tmp_path, header, *rows)["slice_size"]
    assert slice_size["kidney"] == [0.0] * len(parts)
    known = [z for z, part in enumerate(parts) if part is not None]
    exact = torch.tensor([v or 0.0 for v in slice_size.get("liver", [0.0] * len(parts))]).double()
    fractions = SizeToFraction(per_slice=True)(exact[None], MetaTensor(torch.zeros(1, *shape), affine=affine))
    np.testing.assert_allclose(fractions[0, 1, known].double() * view, [areas[z] for z in known], rtol=1e-6)
    assert [size is None for size in slice_size.get("liver", [None] * len(parts))] == [part is None for part in parts]
    assert ("liver" in slice_size) == bool(known)


@pytest.mark.parametrize(
    ("column", "cell", "places"),
    [
        ("liver click_mm", "12.5 -30 44", [[12.5, -30, 44]]),
        ("Liver Click (mm)", "(12.5, -30, 44)", [[12.5, -30, 44]]),
        ("liver clicks_mm", "1 2 3; 4,5 5 6", [[1, 2, 3], [4.5, 5, 6]]),
        ("liver click_mm", "0 1 2 to 3 4 2; 7 8 9", [[[0, 1, 2], [3, 4, 2]], [7, 8, 9]]),
        ("liver click_lps_mm", "1 2 3 -> 4 5 6", [[[-1, -2, 3], [-4, -5, 6]]]),
    ],
)
def test_clicks_are_points_and_lines_in_ras(tmp_path: Path, column: str, cell: str, places: list[Any]) -> None:
    file = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", column], ["a.nii", "2", cell])
    assert scan_sizes(read_size_table(file), "a.nii") == {"size": {"liver": 2000.0}, "clicks": {"liver": places}}


@pytest.mark.parametrize(
    ("cell", "places"),
    [
        ("3 2", [[-0.75, -0.5, 0]]),
        ("3,2; (0, 0)", [[-0.75, -0.5, 0], [0, 0, 0]]),
        ("0 1 to 5 1", [[[0, -0.25, 0], [-1.25, -0.25, 0]]]),
    ],
)
def test_clicks_in_pictures_may_be_stated_in_pixels(tmp_path: Path, cell: str, places: list[Any]) -> None:
    write_scan(tmp_path / "a.nii.gz", (6, 4, 1), picture_affine((0.25, 0.25)))
    stated = sizes(tmp_path, ["image", "lesion fraction", "lesion click_px"], ["a.nii.gz", 0.1, cell])
    assert stated["clicks"] == {"lesion": places}


@pytest.mark.parametrize(
    ("shape", "cell", "problem"),
    [
        ((6, 4, 1), "6 1", "row 2, column 'lesion click_px' (C): 6 1 lies outside the picture, which has 6 × 4 pixels"),
        ((6, 4, 1), "1 -1", "1 -1 lies outside the picture"),
        ((6, 4, 3), "1 1", "column 'lesion click_px' (C) is for pictures, but the scan 'a.nii.gz' has 3 slices"),
    ],
)
def test_clicks_in_pixels_lie_in_a_picture(
    tmp_path: Path, shape: tuple[int, int, int], cell: str, problem: str
) -> None:
    write_scan(tmp_path / "a.nii.gz", shape)
    with pytest.raises(SizeTableError, match=re.escape(problem)):
        sizes(tmp_path, ["image", "lesion fraction", "lesion click_px"], ["a.nii.gz", 0.1, cell])


def test_a_scan_with_a_click_in_pixels_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SizeTableError, match=r"Is '.*' the data set's folder"):
        sizes(tmp_path, ["image", "lesion volume_ml", "lesion click_px"], ["a.nii.gz", 1, "3 2"])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("cell", ["12.345 -30.125 44.001", "12,345 -30,125 44,001", "(12.345, -30.125, 44.001)"])
def test_places_may_have_three_decimals_in_any_table(tmp_path: Path, separator: str, cell: str) -> None:
    rows = [["image", "liver volume_ml", "liver click_mm"], ["a.nii", "2,5", cell]]
    file = write_csv(tmp_path / "sizes.csv", *rows, separator=separator)
    assert scan_sizes(read_size_table(file), "a.nii")["clicks"] == {"liver": [[12.345, -30.125, 44.001]]}


@pytest.mark.parametrize(
    ("column", "cell", "roi"),
    [
        ("roi_mm", "-80 -60 10 to 90 75.5 140", {"box_mm": [[-80, -60, 10], [90, 75.5, 140]]}),
        ("ROI (mm)", "(5, 8, 75)", {"center_mm": [5, 8, 75]}),
        ("roi_lps_mm", "1 2 3 -> 4 5 6", {"box_mm": [[-1, -2, 3], [-4, -5, 6]]}),
    ],
)
def test_a_region_of_interest_is_a_box_or_its_centre_in_ras(tmp_path: Path, column: str, cell: str, roi: dict) -> None:
    rows = [["a.nii", "1", "2", cell], ["a.nii", "2", "3", ""]]
    file = write_csv(tmp_path / "sizes.csv", ["image", "lesion", "tumour volume_ml", column], *rows)
    assert scan_sizes(read_size_table(file), "a.nii") == {"size": {"tumour": 5000.0}, "roi": roi}


def test_sizes_of_several_lesions_add_up_and_so_do_their_bounds(tmp_path: Path) -> None:
    columns = ["image", "lesion", "liver volume_ml", "lesion diameters_mm", "lesion error_percent", "lesion click_mm"]
    stated = sizes(
        tmp_path,
        columns,
        ["a.nii.gz", "", 1500, "", "", ""],
        ["a.nii.gz", 1, "", 12, "", "1 2 3"],
        ["a.nii.gz", 2, "", "15 x 11", "", ""],
        ["a.nii.gz", "segment 8", "", 31, 10, "4 5 6"],
    )
    small = math.pi / 6 * (12**3 + 15 * 11**2)
    large = [small + math.pi / 6 * (31 * factor) ** 3 for factor in (0.9, 1.1)]
    assert stated["size"]["liver"] == 1_500_000
    assert stated["size"]["lesion"] == pytest.approx(large)
    assert stated["clicks"] == {"lesion": [[1, 2, 3], [4, 5, 6]]}


def test_lesions_of_a_slice_add_up(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    columns = ["image", "slice", "lesion", "liver area_mm2 low", "liver area_mm2 high"]
    stated = sizes(
        tmp_path, columns, ["a.nii.gz", 1, 1, 10, 20], ["a.nii.gz", 1, 2, 5, "6 + 7"], ["a.nii.gz", 2, 1, 3, 3]
    )
    assert stated["slice_size"]["liver"] == [None, [15, 33], 3, None]


def write_picture(path: Path, pixel_mm: float = 0.5) -> None:
    """40 × 30 pixels, 300 mm² by default."""
    write_scan(path, (40, 30, 1), np.diag([-pixel_mm, -pixel_mm, 1, 1]))


CIRCLE = 2 * math.pi * 5
"""Circumference of 10 mm across."""


FLATTEST = math.pi**2 / 2 / (2 * ellipe(0.75)) ** 2
"""Area of an ellipse of an axis ratio of 0.5, by that of the circle of its circumference."""


@pytest.mark.parametrize(
    ("columns", "cells", "mm2"),
    [
        (["head area_mm2"], [50], 50),
        (["head area_um2"], [5e6], 5),
        (["Head Area (µm²)"], [5e6], 5),
        (["head_mm2 low", "head_mm2 high"], [50, 60], [50, 60]),
        (["head_fraction"], ["4 %"], 12),
        (["head_fraction"], [0.5], 150),
        (["head fraction low", "head fraction high"], ["4 %", 0.5], [12, 150]),
        (["head diameters_mm"], [10], 25 * math.pi),
        (["head diameters_mm"], ["12 x 10 + 2"], 31 * math.pi),
        (["head diameters_mm", "error_percent"], ["12 x 10", 10], [30 * math.pi * 0.81, 30 * math.pi * 1.21]),
        (["head diameters_mm low", "head diameters_mm high"], [10, "12 x 10"], [25 * math.pi, 30 * math.pi]),
        (["head_circumference_mm"], [CIRCLE], [25 * math.pi * FLATTEST, 25 * math.pi]),
        (["head circumference_mm"], [f"{CIRCLE} + {CIRCLE}"], [50 * math.pi * FLATTEST, 50 * math.pi]),
        (["head circumference_mm", "error_percent"], [CIRCLE, 10], [20.25 * math.pi * FLATTEST, 30.25 * math.pi]),
        (["head circumference_mm", "head diameters_mm"], [CIRCLE, 10], 25 * math.pi),
        (["head circumference_mm", "head diameters_mm"], [CIRCLE * 1.02, "10 x 10"], [25 * math.pi, 26.01 * math.pi]),
        (["nuclei count", "nuclei area_um2"], [120, 50e3], 6),
        (["nuclei count", "nuclei area_um2", "error_percent"], [120, 50e3, 10], [5.4, 6.6]),
        (["nuclei count", "nuclei area_um2 low", "nuclei area_um2 high"], [100, 4e4, 5e4], [4, 5]),
        (["nuclei count", "nuclei area_um2"], [0, ""], 0),
        (["nuclei count", "nuclei_fraction"], [120, 0.02], 6),
        (["head volume_ml"], [0], 0),
        (["head circumference_mm"], [0], 0),
    ],
)
def test_sizes_of_a_picture_are_areas(
    tmp_path: Path, columns: list[str], cells: list[Any], mm2: float | list[float]
) -> None:
    write_picture(tmp_path / "a.nii.gz")
    entry = sizes(tmp_path, ["image", *columns], ["a.nii.gz", *cells])
    ((area,),) = entry.pop("slice_size").values()
    assert area == pytest.approx(mm2, rel=1e-4)
    assert entry == {}


def test_a_row_of_a_slice_may_state_diameters_and_circumferences(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    entry = sizes(
        tmp_path,
        ["image", "slice", "tumour diameters_mm", "tumour circumference_mm"],
        ["a.nii.gz", 1, "12 x 10", ""],
        ["a.nii.gz", 2, 10, CIRCLE],
    )
    assert entry == {"slice_size": {"tumour": [None, pytest.approx(30 * math.pi), pytest.approx(25 * math.pi), None]}}


def test_sizes_of_pictures_without_a_pixel_size_are_in_pixels(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.nii.gz", pixel_mm=1)
    header = ["image", "lesion fraction", "cyst area_px", "nuclei count", "nuclei area_px"]
    table = read_size_table(write_csv(tmp_path / "sizes.csv", header, ["a.nii.gz", "25 %", 31, 10, 2.5]))
    (item,) = add_sizes([{"image": "a.nii.gz"}], table, tmp_path, "px")
    assert item["slice_size"] == {"lesion": [300], "cyst": [31], "nuclei": [25]}


def test_a_picture_in_another_format_is_read_as_nifti(tmp_path: Path) -> None:
    write_picture(tmp_path / "converted" / "a.nii.gz")
    table = read_size_table(write_csv(tmp_path / "sizes.csv", ["image", "head fraction"], ["a.png", "25 %"]))
    assert scan_sizes(table, "a.png", scan_file=tmp_path / "converted" / "a.nii.gz") == {"slice_size": {"head": [75]}}


@pytest.mark.parametrize(
    ("column", "cell", "length_unit", "message"),
    [
        ("lesion area_px", 31, "mm", "(B) is in pixels, but the scan's lengths are in mm. Multiply it by the mm² of"),
        ("lesion area_mm2", 31, "px", "(B) needs the size of the picture's pixels, which is unknown. State it in a"),
        ("lesion diameters_mm", 31, "px", "(B) needs the size of the picture's pixels, which is unknown"),
        ("lesion circumference_mm", 31, "px", "(B) needs the size of the picture's pixels, which is unknown"),
        (
            "lesion volume_ml",
            3,
            "mm",
            "(B) is for a whole scan, but the row is of one slice or picture. State area_mm2",
        ),
        ("lesion diameters_mm", "3 x 2 x 1", "mm", "(B) is for a whole scan, but the row is of one slice or picture"),
        ("pixel_mm", 0.12, "mm", "(B) is 0.12, but the pixels of 'a.nii.gz' have 0.5 × 0.5 mm. Correct one of them"),
    ],
)
def test_what_a_picture_does_not_have_is_named(
    tmp_path: Path, column: str, cell: Any, length_unit: Any, message: str
) -> None:
    write_picture(tmp_path / "a.nii.gz")
    rows = [["image", column, "liver fraction"], ["a.nii.gz", cell, 0.1]]
    table = read_size_table(write_csv(tmp_path / "sizes.csv", *rows))
    with pytest.raises(SizeTableError) as caught:
        scan_sizes(table, "a.nii.gz", tmp_path, length_unit)
    (problem,) = caught.value.problems
    assert problem.startswith(f"row 2, column '{column}' {message}")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "liver area_mm2",
            "(B) is for a slice or picture, but the row names no slice of this scan. Fill in the column",
        ),
        ("liver circumference_mm", "(B) is for a slice or picture, but the row names no slice of this scan"),
        ("liver area_px", "(B) is for a slice or picture, but the row names no slice of this scan"),
        ("pixel_mm", "(B) is 3, but 'a.nii.gz' has 4 slices, and is not a picture. Clear the cell."),
    ],
)
def test_a_whole_scan_has_none_of_the_measures_of_slices(tmp_path: Path, column: str, message: str) -> None:
    write_scan(tmp_path / "a.nii.gz")
    rows = [["image", column, "liver volume_ml"], ["a.nii.gz", 3, ""]]
    table = read_size_table(write_csv(tmp_path / "sizes.csv", *rows))
    with pytest.raises(SizeTableError, match=re.escape(f"row 2, column '{column}' {message}")):
        scan_sizes(table, "a.nii.gz", tmp_path)
