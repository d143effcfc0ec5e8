"""A size table is read right, or refused with every fault named by its row and column."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import time
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.special import ellipe

from medsize.data import load_cohort, write_data_list
from medsize.sizes.measurements import stated_size
from medsize.sizes.size_columns import Column
from medsize.sizes.size_table import SizeTable, SizeTableError, add_sizes, read_size_table
from medsize.transforms import SizeToFraction

Row = Sequence[Any]


def write_csv(path: Path, *rows: Row, separator: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def write_xlsx(path: Path, *rows: Row) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(list(row))
    workbook.save(path)
    return path


def write_scan(
    path: Path, shape: Sequence[int] = (10, 10, 4), affine: np.ndarray | None = None, value: float = 0.0
) -> None:
    """Voxels of 2 × 2 × 5 mm by default: 8000 mm³, of slices of 400 mm²."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(np.full(shape, value, dtype=np.float32), affine), path)


def problems_of(path: Path) -> list[str]:
    with pytest.raises(SizeTableError) as caught:
        read_size_table(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


def sizes(tmp_path: Path, *rows: Row, image: str = "a.nii.gz") -> dict[str, Any]:
    """Return the sizes of a scan by both formats, which must agree."""
    from_csv, from_xlsx = (
        read_size_table(write(tmp_path / name, *rows)).sizes_of(image, tmp_path)
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


def test_bare_names_are_fractions_where_files_are_pictures(tmp_path: Path) -> None:
    rows = [["image", "cat", "cow", "ignored"], ["a.jpg", 0.25, 0, 0.01], ["b.JPG", 0, 0.99, 0.01]]
    table = read_size_table(write_csv(tmp_path / "t.csv", *rows))
    assert table.structures == ("cat", "cow")
    assert [(size.low, size.unit) for size in table.rows[0].sizes.values()] == [(0.25, "fraction"), (0, "fraction")]
    assert "'cat' (B), 'cow' (C) say no unit, and were read as fractions of the pictures" in table.doubts[0]
    for other in (
        [["a.nii.gz", 0.25, 0, 0.01]],
        [["a.jpg", 0.6, 0.6, 0.01]],
        [["a.jpg", 1, 0, 0]],
        [["a.jpg", 12, 0.5, 0]],
    ):
        assert "not known" in problems_of(write_csv(tmp_path / "t.csv", rows[0], *other))[0]


@pytest.mark.parametrize(
    "rows",
    [
        [["image", "classes"], ["a.png", "cat; dog"], ["b.png", "none"], ["c.png", ""], ["d.png", "Dog"]],
        [
            ["image", "cat present", "dog present"],
            *(["a.png", 1, "yes"], ["b.png", 0, "no"], ["c.png", "", ""], ["d.png", "-", "x"]),
        ],
    ],
)
def test_present_structures_alone_are_wide_intervals(tmp_path: Path, rows: list[Row]) -> None:
    table = read_size_table(write_csv(tmp_path / "t.csv", *rows))
    assert table.structures == ("cat", "dog")
    for name, number in (("a.png", 0), ("b.png", 1), ("c.png", 2), ("d.png", 3)):
        write_scan(tmp_path / f"{name}.nii", (10, 10, 1), np.diag([1, 1, 1, 1]))
        found = table.sizes_of(name, tmp_path, "px", tmp_path / f"{name}.nii")
        expected = [
            {"cat": [[0.1, 100]], "dog": [[0.1, 100]]},
            {"cat": [0], "dog": [0]},
            None,
            {"cat": [0], "dog": [[0.1, 100]]},
        ][number]
        assert found.get("slice_size") == expected


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
    assert read_size_table(tmp_path / "sizes.csv").sizes_of("b.nii.gz") == {"subject": "B"}


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


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("image", ["Müller, Lena/Leber 1.nii.gz", "扫描/图 1.nii.gz", "zwei  Räume/a;b.nii.gz"])
def test_any_csv_with_any_path(tmp_path: Path, separator: str, encoding: str, image: str) -> None:
    write_scan(tmp_path / image)
    path = write_csv(
        tmp_path / "Größen der Leber.csv",
        ["image", "Leber, rechts volume_ml", "Milz fraction"],
        [image, "12,5", "0,5"],
        separator=separator,
        encoding=encoding,
    )
    assert read_size_table(path).sizes_of(image, tmp_path)["size"] == {"Leber, rechts": 12500, "Milz": 4000}


def test_paths_are_the_same_on_macos_and_windows(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "scans\\Müller.nii.gz")
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml"], [decomposed, 1])
    assert add_sizes([{"image": "./scans/Müller.nii.gz"}], read_size_table(path))[0]["size"] == {"liver": 1000}


def test_a_number_as_excel_shows_it(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "sizes.xlsx",
        ["image", "subject", "liver fraction", "liver error_percent"],
        ["a.nii.gz", 7.0, 0.5, 0.1],
    )
    workbook = openpyxl.load_workbook(path)
    workbook.active["C2"].number_format = workbook.active["D2"].number_format = "0%"
    workbook.save(path)
    write_scan(tmp_path / "a.nii.gz")
    entry = read_size_table(path).sizes_of("a.nii.gz", tmp_path)
    assert entry == {"size": {"liver": pytest.approx([3600, 4400])}, "subject": "7"}


def test_one_sheet_of_several(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a.nii.gz", 1])
    workbook = openpyxl.load_workbook(path)
    workbook.create_sheet("empty")
    workbook.save(path)
    assert read_size_table(path).structures == ("liver",)
    workbook.create_sheet("ages").append(["age", 40])
    workbook.save(path)
    assert (
        "several of its sheets are not empty: Sheet, ages. Name the one to read: --sheet 'Sheet'"
        in problems_of(path)[0]
    )
    assert read_size_table(path, sheet="Sheet").sizes_of("a.nii.gz")["size"] == {"liver": 1000}
    with pytest.raises(SizeTableError, match=r"has no sheet 'sizes'. It has: Sheet, empty, ages"):
        read_size_table(path, sheet="sizes")


def formatted(path: Path, kind: str, value: float, number_format: str) -> Path:
    write_xlsx(path, ["image", f"liver {kind}"], ["a.nii.gz", value])
    workbook = openpyxl.load_workbook(path)
    workbook.active["B2"].number_format = number_format
    workbook.save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "value", "number_format", "message"),
    [
        ("volume_ml", 1.51, '0.00" L"', "row 2, column 'liver volume_ml' (B) is 1.51, but shown with 'L': expected"),
        (
            "volume_ml",
            1.51,
            r"0.00\ \L",
            "is 1.51, but shown with 'L'",
        ),
        ("volume_ml", 1.51, "0.00[$ l]", "is 1.51, but shown with 'l'"),
        ("volume_ml", 1510.0, '0.00," L"', "holds 1510, but its format shows 1.51 L"),
        ("volume_ml", 0.0, '0;-0;"unknown"', "is 0, but shown with 'unknown'"),
        ("diameters_mm", 3.4, '0.0" cm"', "is 3.4, but shown with 'cm'"),
        ("area_mm2", 3.4, '0.0" cm²"', "is 3.4, but shown with 'cm²'"),
        ("error_percent", 10.0, '0" mL"', "is 10, but shown with 'mL'"),
    ],
)
def test_another_unit_in_a_cells_format_is_refused(
    tmp_path: Path, kind: str, value: float, number_format: str, message: str
) -> None:
    assert message in " ".join(problems_of(formatted(tmp_path / "sizes.xlsx", kind, value, number_format)))


@pytest.mark.parametrize(
    "number_format", ['0.0" mL"', "[Red]#,##0.0_ ", '0.0" (cm³)"', '0.0;-0.0;"unknown"', "General"]
)
def test_the_same_unit_and_other_formats_are_read(tmp_path: Path, number_format: str) -> None:
    path = formatted(tmp_path / "sizes.xlsx", "volume_ml", 1510.5, number_format)
    assert read_size_table(path).sizes_of("a.nii.gz")["size"] == {"liver": 1510500}


def test_hidden_and_struck_rows_and_totals_are_named(tmp_path: Path) -> None:
    rows = [[f"{n}.nii.gz", n] for n in range(1, 5)]
    path = write_xlsx(tmp_path / "sizes.xlsx", LIVER, *rows, ["TOTAL:", "=SUM(B2:B5)"])
    workbook = openpyxl.load_workbook(path)
    for row in (3, 4):
        workbook.active.row_dimensions[row].hidden = True
    workbook.active["A5"].font = openpyxl.styles.Font(strike=True)
    workbook.save(path)
    table = read_size_table(path)
    assert len(table.rows) == 4
    hidden, struck, total = table.doubts
    assert hidden.startswith("rows 3, 4 of the sheet 'Sheet' are hidden but read like the others")
    assert struck.startswith("row 5 of the sheet 'Sheet' is struck through")
    assert total == "row 6 is 'TOTAL:', not a scan: it was left out."


@pytest.mark.parametrize("cells", [["path", "mL"], ["", "(mm^3)"], ["case", "volume in mL"]])
def test_a_second_row_of_names_is_refused(tmp_path: Path, cells: list[str]) -> None:
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", LIVER, cells, ["a.nii.gz", 1]))
    assert problem.startswith("row 2 looks like a second row of names or units")


def test_only_used_cells_of_a_sheet_are_read(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", LIVER, ["a.nii.gz", 1])
    workbook = openpyxl.load_workbook(path)
    for corner in ("C1048576", "XFD2", *(f"C{row}" for row in range(3, 60_000))):
        workbook.active[corner].number_format = "0.0"
    workbook.save(path)
    started = time.process_time()
    assert len(read_size_table(path).rows) == 1
    assert time.process_time() - started < 3


LIVER = ["image", "liver volume_ml"]
FAULTY: dict[str, tuple[list[Row], str]] = {
    "negative": ([LIVER, ["a", -3]], "row 2, column 'liver volume_ml' (B) is '-3': input should be greater than"),
    "NaN": ([LIVER, ["a", "NaN"]], "(B) is 'NaN': it is not a number. Write the volume in mL, such as 1510 or 12.5"),
    "infinite": ([LIVER, ["a", "inf"]], "row 2, column 'liver volume_ml' (B) is 'inf': it is not a number"),
    "above all floats": ([LIVER, ["a", "1e999"]], "(B) is '1e999': input should be a finite number"),
    "above all sizes": ([LIVER, ["a", "1e300"]], "(B) is '1e300': input should be less than or equal to 1"),
    "words": ([LIVER, ["a", "large"]], "column 'liver volume_ml' (B) is 'large': it is not a number"),
    "another unit in the cell": ([LIVER, ["a", "1.2 L"]], "(B) is '1.2 L': it is not a number"),
    "none, which may be absent": ([LIVER, ["a", "none"]], "(B) is 'none': it is not a number"),
    "thousands or decimals": ([LIVER, ["a", "1,510"]], "(B) is '1,510': it may mean 1510 or 1.5100: write the one"),
    "point beside a decimal comma": ([LIVER, ["a", "1.510"], ["b", "0,5"]], "(B) is '1.510': it may mean 1510"),
    "thousands beside a decimal comma": ([LIVER, ["a", "1.510"], ["b", "1.510,5"]], "(B) is '1.510': it may mean 1510"),
    "separators of no number": ([LIVER, ["a", "1.51,5"]], "(B) is '1.51,5': it is not a number"),
    "percent of a volume": ([LIVER, ["a", "4 %"]], "(B) is '4 %': it is not a number"),
    "fraction above 1": ([["image", "liver fraction"], ["a", 4]], "(B) is '4': input should be less than or equal"),
    "low above high": (
        [["image", "liver volume_ml low", "liver volume_ml high"], ["a", 3, 2]],
        "row 2, column 'liver volume_ml low' (B) is above column 'liver volume_ml high' (C)",
    ),
    "low alone": (
        [["image", "liver volume_ml low", "liver volume_ml high"], ["a", 3, ""]],
        "row 2, column 'liver volume_ml low' (B) is filled in, but the other bound is not",
    ),
    "size and bounds": (
        [["image", "liver volume_ml", "liver volume_ml low", "liver volume_ml high"], ["a", 3, 2, 4]],
        "(B) and column 'liver volume_ml low' (C) and column 'liver volume_ml high' (D) are all filled in",
    ),
    "error of bounds": (
        [["image", "liver volume_ml low", "liver volume_ml high", "liver error_percent"], ["a", 3, 4, 10]],
        "row 2, column 'liver error_percent' (D) is filled in beside bounds",
    ),
    "diameter of 0": ([["image", "liver diameters_mm"], ["a", 0]], "(B) is '0': input should be greater than 0"),
    "negative diameter": ([["image", "liver diameters_mm"], ["a", "3 x -2"]], "(B) is '3 x -2': input should be"),
    "four diameters": ([["image", "liver diameters_mm"], ["a", "3 x 2 x 2 x 1"]], "(B) is '3 x 2 x 2 x 1': there are"),
    "diameters by semicolon": ([["image", "liver diameters_mm"], ["a", "12; 15"]], "it may mean one lesion or several"),
    "a lesion missing": ([["image", "liver diameters_mm"], ["a", "12 +"]], "(B) is '12 +': it is not a number. Write"),
    "lesions beyond the view": ([["image", "liver fraction"], ["a", "0.6 + 50 %"]], "they sum to 1.1, above 1"),
    "a lesion twice": (
        [["image", "lesion", "liver volume_ml"], ["a", 1, 2], ["a", 1, 2]],
        "row 3, column 'image' (A): row 2 is of the same lesion '1' in the same scan, 'a'",
    ),
    "a lesion without a size": (
        [["image", "lesion", "liver volume_ml"], ["a", 1, 2], ["a", 2, ""]],
        "row 3, column 'lesion' is '2', but no size is filled in",
    ),
    "a lesion and the total": (
        [["image", "lesion", "tumour volume_ml"], ["a", 1, 2], ["a", "", 5]],
        "row 3, column 'image' (A): the size of 'tumour' stands in row 2, too, and only one of both names a lesion",
    ),
    "sizes of the scan with each lesion": (
        [["image", "lesion", "liver volume_ml", "tumour volume_ml"], ["a", 1, 1500, 2], ["a", 2, 1500, 3]],
        "row 3, column 'image' (A): the sizes of 'liver' and 'tumour' stand in several rows of the scan",
    ),
    "diameters by comma": ([["image", "liver diameters_mm"], ["a", "34,28"]], "(B) is '34,28': it may mean one"),
    "a diameter missing": ([["image", "liver diameters_mm"], ["a", "3 x"]], "(B) is '3 x': it is not a number. Write"),
    "volume and diameters": (
        [["image", "liver volume_ml", "liver diameters_mm"], ["a", 3, 20]],
        "row 2, column 'liver volume_ml' (B) and column 'liver diameters_mm' (C) are all filled in",
    ),
    "negative error": (
        [["image", "liver volume_ml", "liver error_percent"], ["a", 3, -1]],
        "row 2, column 'liver error_percent' (C) is '-1': input should be greater than or equal to 0",
    ),
    "error of 100": (
        [["image", "liver volume_ml", "error_percent"], ["a", 3, 100]],
        "row 2, column 'error_percent' (C) is '100': input should be less than 100",
    ),
    "scan twice": ([LIVER, ["a", 1], ["./a", 2]], "row 3, column 'image' (A): row 2 is of the same scan, 'a'"),
    "slice twice": (
        [["image", "slice", "liver area_mm2"], ["a", 1, 2], ["a", 1, 2]],
        "row 3, column 'image' (A): row 2 is of the same slice 1 of the scan, 'a'",
    ),
    "two subjects": (
        [["image", "slice", "subject", "liver area_mm2"], ["a", 1, "A", 2], ["a", 2, "B", 2]],
        "row 3, column 'subject' (C) is 'B', but row 2 says that the scan is of 'A'",
    ),
    "half a slice": ([["image", "slice", "liver area_mm2"], ["a", 1.5, 2]], "(B) is '1.5': input should be a valid"),
    "negative slice": ([["image", "slice", "liver area_mm2"], ["a", -1, 2]], "(B) is '-1': input should be greater"),
    "volume of a slice": ([["image", "slice", "liver volume_ml"], ["a", 1, 2]], "(C) is for a whole scan, but the row"),
    "bounds of a circumference beside a diameter": (
        [["image", "head circumference_mm low", "head circumference_mm high", "head diameters_mm"], ["a", 1, 2, 3]],
        "(D) are filled in, but bounds are of one of them alone",
    ),
    "circumferences and diameters of as many lesions": (
        [["image", "head circumference_mm", "head diameters_mm"], ["a", "40 + 50", 10]],
        "found 2 circumferences, and diameters of 1 lesions. State both of each",
    ),
    "a circumference of other diameters": (
        [["image", "head circumference_mm", "head diameters_mm"], ["a", 300, "9.5 x 7"]],
        "(B) and column 'head diameters_mm' (C): the circumference is 300, but diameters of 9.5 and 7 have one of 26.",
    ),
    "circumference beside an area": (
        [["image", "head circumference_mm", "head area_mm2"], ["a", 40, 100]],
        "(C) are all filled in, but a row states a structure in one way",
    ),
    "count of nothing": ([[*LIVER, "nuclei count"], ["a", 2, ""]], "'nuclei count' (C) is a count without a size. Add"),
    "count without an area": (
        [["image", "nuclei count", "nuclei area_um2"], ["a", 5, ""]],
        "row 2, column 'nuclei count' (B) is 5, but no size is filled in. Fill in the mean area, or clear the count",
    ),
    "mean area without a count": (
        [["image", "nuclei count", "nuclei area_um2"], ["a", "", 50]],
        "(C) is the mean of one object, but their number is not filled in",
    ),
    "objects without a size": (
        [["image", "nuclei count", "nuclei fraction"], ["a", 5, 0]],
        "row 2, column 'nuclei count' (B) is 5, but the size by column 'nuclei fraction' (C) is 0. Correct one",
    ),
    "a size without objects": (
        [["image", "nuclei count", "nuclei fraction"], ["a", 0, 0.1]],
        "row 2, column 'nuclei count' (B) is 0, but the size by column 'nuclei fraction' (C) is 0.1. Correct one",
    ),
    "negative count": ([["image", "n count", "n area_px"], ["a", -1, 2]], "(B) is '-1': input should be greater than"),
    "bound of a count": (
        [["image", "n count low", "n area_px"], ["a", 1, 2]],
        "(B) is a bound of a count, which cannot have bounds",
    ),
    "a pixel of 0 mm": ([[*LIVER, "pixel_mm"], ["a", 2, 0]], "(C) is '0': input should be greater than 0. Write the"),
    "two sizes of pixels": (
        [["image", "lesion", "pixel_mm", "tumour fraction"], ["a", 1, 0.1, 0.2], ["a", 2, 0.2, 0.2]],
        "row 3, column 'pixel_mm' (C) is 0.2, but row 2 says that the pixels of the same picture have 0.1 mm",
    ),
    "area of another unit": (
        [["image", "liver area_cm2"], ["a", 2]],
        "has the unknown unit 'cm2'. Convert its numbers where necessary, and name it 'liver area_mm2' or 'liver area_",
    ),
    "bare names of fractions": (
        [["image", "cat", "cow", "ignored"], ["a", 0.2, 0, "0.01"], ["b", 0, 1, ""]],
        "row 1, columns 'cat' (B), 'cow' (C), 'ignored' (D) are not known, with numbers from 0 to 1. If these are "
        "fractions, rename it to 'cat fraction'; likewise the others",
    ),
    "bare name of a count": (
        [["image", "nuclei area_um2", "nuclei"], ["a", 50, 125]],
        "row 1, column 'nuclei' (C) is not known. If its numbers are volumes in mL, rename it to 'nuclei volume_ml'; "
        "if it counts objects, to 'nuclei count'. Delete it",
    ),
    "bare name of volumes": (
        [["image", "liver", "liver click_mm"], ["a", 1510.5, "1 2 3"]],
        "row 1, column 'liver' (B) is not known. If its numbers are volumes in mL, rename it to 'liver "
        "volume_ml'. Delete it",
    ),
    "mask and slices": (
        [["image", "slice", "liver mask", "liver area_mm2"], ["a", "", "m", ""], ["a", 1, "", 2]],
        "row 2, column 'liver mask' (C) tells the size of 'liver' in every slice, but row 3 states it in slice 1",
    ),
    "no image": ([LIVER, ["", 2]], "row 2, column 'image' (A) is empty. Write the path of the scan"),
    "image outside": ([LIVER, ["../a", 2]], "row 2, column 'image' (A) is '../a': it is outside the data"),
    "image of Windows outside": ([LIVER, ["x\\..\\..\\a", 2]], "(A) is 'x\\..\\..\\a': it is outside"),
    "absolute image": ([LIVER, ["C:\\scans\\a", 2]], "(A) is 'C:\\scans\\a': it is outside the data"),
    "mask outside": ([["image", "liver mask"], ["a", "/etc/passwd"]], "(B) is '/etc/passwd': it is outside the data"),
    "unknown unit": ([["image", "liver volume_l"], ["a", 2]], "'liver volume_l' (B) has the unknown unit 'l'"),
    "no unit": ([["image", "liver volume"], ["a", 2]], "(B) names no unit. Convert its numbers where necessary"),
    "unknown column": ([[*LIVER, "age"], ["a", 2, 40]], "row 1, column 'age' (C) is not known. Delete it, or rename"),
    "misspelt column": ([[*LIVER, "subjet"], ["a", 2, "A"]], "'subjet' (C) is not known. Did you mean 'subject'?"),
    "column as others name it": ([[*LIVER, "Patient ID"], ["a", 2, 7]], "not known. Did you mean 'subject'?"),
    "second name of the image": ([[*LIVER, "filename"], ["a", 2, "b"]], "'filename' (C) is not known. Delete it"),
    "cc": ([["image", "liver (cc)"], ["a", 2]], "unknown unit 'cc'. Convert its numbers where necessary, and name it"),
    "neither present nor absent": ([["image", "cat present"], ["a", "maybe"]], "is 'maybe': it is neither yes nor no"),
    "no structure": ([["image", "volume_ml", "liver fraction"], ["a", 2, 0.1]], "(B) names no structure. Rename it"),
    "background": ([[*LIVER, "background fraction"], ["a", 2, 0.1]], "(C) is for the background"),
    "bound of a mask": ([[*LIVER, "liver mask low"], ["a", 2, ""]], "(C) is a bound of a mask, which cannot have"),
    "error of no size": (
        [[*LIVER, "livr error_percent"], ["a", 2, 1]],
        "'livr error_percent' (C) is an error without a size",
    ),
    "column twice": (
        [[*LIVER, "Liver Volume (mL)"], ["a", 2, 2]],
        "(C) has the same meaning as column 'liver volume_ml' (B)",
    ),
    "column without a name": ([[*LIVER, ""], ["a", 2, 3]], "column C has no name in row 1"),
    "no column of images": ([["comment", "liver volume_ml"], ["a", 2]], "row 1 names no column 'image'"),
    "no column of sizes": ([["image", "subject"], ["a", "A"]], "row 1 names no column of a size"),
    "names only": ([LIVER], "found no row below the names of the columns"),
    "nothing": ([], "it is empty. Name the columns in its first row"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), FAULTY.values(), ids=FAULTY)
def test_faults_are_named_by_row_and_column(tmp_path: Path, rows: list[Row], message: str) -> None:
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", *rows))
    assert message in problem
    assert problems_of(write_xlsx(tmp_path / "sizes.xlsx", *rows)) == [problem]


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        write_csv(
            tmp_path / "sizes.csv",
            ["image", "slice", "liver volume_ml", "liver diameters_mm", "kidney fraction", "age"],
            ["a", "", "many", 20, 7, ""],
            ["../b", "one", "", "", "", ""],
            ["a", "", "", -1, "", 40],
        )
    )
    assert [problem.split(" is ")[0] for problem in problems] == [
        "row 1, column 'age' (F)",
        "row 2, column 'liver volume_ml' (C)",
        "row 2, column 'kidney fraction' (E)",
        "row 2, column 'liver diameters_mm' (D) and column 'liver volume_ml' (C) are all filled in, but a row states a "
        "structure in one way. Clear all but one.",
        "row 3, column 'image' (A)",
        "row 3, column 'slice' (B)",
        "row 4, column 'liver diameters_mm' (D)",
        "row 4, column 'image' (A): row 2",
    ]


def test_a_number_between_semicolons_or_tabs_may_have_a_thousands_point(tmp_path: Path) -> None:
    table = [["image", "liver volume_ml"], ["a", "1.510"]]
    path = tmp_path / "sizes.csv"
    for separator in (";", "\t"):
        assert "'1.510': it may mean 1510 or 1.5100" in problems_of(write_csv(path, *table, separator=separator))[0]
    read_size_table(write_csv(path, *table, ["b", "0.25"], separator=";"))
    read_size_table(write_csv(path, *table))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"image,liver volume_ml\na,1,5\n",
            "row 2 has 3 cells, but row 1 has 2. Put cells that hold the separator ','",
        ),
        (b"image,liver volume_ml\na\n", "row 2 has 1 cells, but row 1 has 2"),
        (b'image,liver volume_ml\n"a,1\n', "it is not valid CSV: unexpected end of data in line 2"),
        ("image,liver volume_ml\nMüller,1\n".encode("cp1252"), "it is not UTF-8 text. Save it as 'CSV UTF-8'"),
        ("image;liver volume_ml\na;1\n".encode("utf-16"), "it is not UTF-8 text"),
        (b"", "it is empty"),
        (b"\xef\xbb\xbf\n\n", "it is empty"),
    ],
)
def test_broken_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sizes.csv"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert message in problem


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("B2", "=1+1", "row 2, column 'liver volume_ml' (B) holds the formula =1+1, whose result is not in the file"),
        ("A2", '="a"', "row 2, column 'image' (A) holds the formula"),
        ("B1", '="liver volume_ml"', "row 1, column (B) holds the formula"),
        ("B2", "#DIV/0!", "row 2, column 'liver volume_ml' (B) holds the error #DIV/0!"),
        ("B2", np.datetime64("2024-04-03").astype("O"), "(B) holds a date or time, 2024-04-03 00:00:00. Spreadsheet"),
        ("B2", True, "(B) is 'True': it is not a number"),
    ],
)
def test_faulty_cells_of_workbooks_are_named(tmp_path: Path, cell: str, value: Any, message: str) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a", 1])
    workbook = openpyxl.load_workbook(path)
    workbook.active[cell] = value
    workbook.save(path)
    assert message in problems_of(path)[0]


def test_the_stored_result_of_a_formula_counts(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a", "=1000+510"])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = re.sub(rb"(<f>1000\+510</f>)<v ?/?>(</v>)?", rb"\1<v>1510</v>", parts[sheet])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert read_size_table(path).sizes_of("a")["size"] == {"liver": 1510e3}


@pytest.mark.parametrize(("errors", "is_doubtful"), [((0.1, 0.2), True), ((0.1, 10), False), (("0.1 %", ""), False)])
def test_errors_that_look_like_fractions_are_doubted(
    tmp_path: Path, errors: tuple[Any, Any], is_doubtful: bool
) -> None:
    rows = [["a", 1, errors[0]], ["b", 2, errors[1]], ["c", 2, ""]]
    read = read_size_table(write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", "error_percent"], *rows))
    doubt = "column 'error_percent' (C): its numbers are at most 0.2 percent. Are they fractions? Write 10 for 10 %."
    assert list(read.doubts) == [doubt] * is_doubtful


def test_a_first_line_for_excel_names_the_separator(tmp_path: Path) -> None:
    file = tmp_path / "sizes.csv"
    file.write_text("sep=;\nimage;liver vol. (ml)\na;1,5\n")
    read = read_size_table(file)
    assert (read.structures, read.rows[0].number, read.rows[0].sizes["liver"].low) == (("liver",), 2, 1500.0)


def test_a_column_of_files_is_guessed_to_be_the_image(tmp_path: Path) -> None:
    problems = problems_of(write_csv(tmp_path / "sizes.csv", ["Scan", "liver volume_ml"], ["a", 1]))
    assert "row 1, column 'Scan' (A) is not known. Did you mean 'image'?" in problems[0]


def test_merged_cells_are_refused(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a", 1], ["b", 1])
    workbook = openpyxl.load_workbook(path)
    workbook.active.merge_cells("B2:B3")
    workbook.save(path)
    assert "cells of the sheet 'Sheet' are merged: B2:B3. Unmerge them" in problems_of(path)[0]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in problems_of(tmp_path / "sizes.csv")[0]
    path = write_csv(tmp_path / "sizes.ods", ["image"])
    assert "a '.ods' file cannot be read as a table. Save it as .xlsx, or as .csv in UTF-8" in problems_of(path)[0]
    path = write_csv(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a", 1])
    assert "it cannot be read as XLSX" in problems_of(path)[0]
    whole = write_xlsx(tmp_path / "whole.xlsx", ["image", "liver volume_ml"], ["a", 1]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "it cannot be read as XLSX" in problems_of(path)[0]
    workbook = openpyxl.Workbook()
    workbook.create_chartsheet("without a chart")
    workbook.save(path)
    assert "it cannot be read as XLSX" in problems_of(path)[0]


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
        table.sizes_of("b.nii.gz", tmp_path)
    assert table.sizes_of("a.nii.gz", tmp_path / "elsewhere")["size"] == {"liver": 1500}
    with pytest.raises(SizeTableError, match=r"Is '.*elsewhere' the data set's folder"):
        table.sizes_of("b.nii.gz", tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        (
            (10, 10, 4),
            2.0,
            "values from 2 to 2 in a mask of 2 classes. It must hold 1 in the structure, and 0 elsewhere",
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
        read_size_table(path).sizes_of("a.nii.gz", tmp_path)


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
    assert read_size_table(path).sizes_of("a.nii", tmp_path) == {
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
in_a_folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_a_folder
@given(
    further=st.lists(
        st.one_of(
            st.sampled_from(["slice", "liver area_mm2", "liver fraction low", "liver count", "a circumference_mm"]),
            st.text(),
        ),
        max_size=3,
    ),
    cells=st.lists(st.lists(st.one_of(st.sampled_from(["a", "0", "1,5"]), st.text()), max_size=5), max_size=4),
)
def test_any_csv_is_read_or_refused(tmp_path: Path, further: list[str], cells: list[list[str]]) -> None:
    path = tmp_path / "sizes.csv"
    rows = [["image", "liver volume_ml", *further], *cells]
    path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8", errors="replace")
    with contextlib.suppress(SizeTableError):
        assert read_size_table(path).rows


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
    size = from_csv.sizes_of("a.nii.gz", tmp_path)["size"]
    assert from_xlsx.sizes_of("a.nii.gz", tmp_path)["size"] == size

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
    assert read_size_table(file).sizes_of("a.nii") == {"size": {"liver": 2000.0}, "clicks": {"liver": places}}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("12.5 -30", "'12.5 -30' has 2 coordinates. Write x y z in mm"),
        ("here", "has 1 coordinates"),
        ("a b c", "it is not a number. Write x y z in mm"),
        ("0 0 0 to 1 1 1 to 2 2 2", "is a line with 3 ends"),
    ],
)
def test_clicks_that_are_no_place_are_named(tmp_path: Path, cell: str, message: str) -> None:
    file = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", "liver click_mm"], ["a.nii", "2", cell])
    with pytest.raises(SizeTableError, match=re.escape(message)):
        read_size_table(file)


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
    assert read_size_table(file).sizes_of("a.nii") == {"size": {"tumour": 5000.0}, "roi": roi}


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        (
            ["roi_mm"],
            ["1 2 3 to 4 5"],
            "row 2, column 'roi_mm' (C) is '1 2 3 to 4 5': '4 5' has 2 coordinates. Write two",
        ),
        (["roi_mm"], ["1 2 3; 4 5 6"], "found 2 regions, but a scan has one. Write two opposite corners of a box"),
        (["roi_mm"], ["1 2 3 to 1 2 6"], "its corners span no box. Write two"),
        (
            ["roi_mm", "roi_lps_mm"],
            ["1 2 3", "-1 -2 3"],
            "(C) and column 'roi_lps_mm' (D) are both filled in. Clear one",
        ),
        (
            ["liver roi_mm"],
            ["1 2 3"],
            "is the region of 'liver' alone, but a scan has one region of interest. Write a box",
        ),
        (["ROI"], ["1 2 3"], "names no unit that regions have. Write a box around all structures, in scanner mm"),
    ],
)
def test_regions_that_cannot_be_are_named(tmp_path: Path, columns: list[str], cells: list[str], message: str) -> None:
    file = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", *columns], ["a.nii", "2", *cells])
    with pytest.raises(SizeTableError, match=re.escape(message)):
        read_size_table(file)


def test_two_regions_of_one_scan_are_refused(tmp_path: Path) -> None:
    rows = [["a.nii", "1", "2", "1 2 3"], ["a.nii", "2", "2", "1 2 4"]]
    file = write_csv(tmp_path / "sizes.csv", ["image", "lesion", "tumour volume_ml", "roi_mm"], *rows)
    with pytest.raises(SizeTableError, match="row 3 states another region of interest than row 2 of the same scan"):
        read_size_table(file)


def test_a_structure_may_be_called_by_a_word_that_columns_have(tmp_path: Path) -> None:
    columns = ["image", "tumour volume volume_ml low", "tumour volume volume_ml high", "lesion mask click_mm"]
    file = write_csv(tmp_path / "sizes.csv", [*columns, "lesion mask fraction"], ["a.nii", "1", "2", "1 2 3", ""])
    assert read_size_table(file).structures == ("tumour volume", "lesion mask")


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
    assert table.sizes_of("a.png", scan_file=tmp_path / "converted" / "a.nii.gz") == {"slice_size": {"head": [75]}}


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
        table.sizes_of("a.nii.gz", tmp_path, length_unit)
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
        table.sizes_of("a.nii.gz", tmp_path)


def test_a_circumference_that_differs_from_that_of_its_diameters_is_noted(tmp_path: Path) -> None:
    header = ["image", "head circumference_mm", "head diameters_mm", "error_percent"]
    rows = [["a.png", 100, "32 x 32", 5], ["b.png", 106, "32 x 32", 5], ["c.png", 106, 32, 5]]
    (doubt,) = read_size_table(write_csv(tmp_path / "sizes.csv", header, *rows)).doubts
    assert doubt.startswith("row 3, column 'head circumference_mm' (B) and column 'head diameters_mm' (C): the circum")
    assert "is 106 mm, that of the diameters 100.5 mm" in doubt


def test_the_pixels_of_pictures_may_stand_in_the_table(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "sizes.csv", ["image", "pixel_mm", "head fraction"], ["a.png", 0.12, 0.1], ["b.png", "", 0]
    )
    table = read_size_table(path)
    assert (table.pixel_mm("./a.png"), table.pixel_mm("b.png")) == (0.12, None)


@settings(deadline=None)
@given(long=st.floats(1, 100), ratio=st.floats(0.5, 1), error=st.floats(0, 20))
def test_an_ellipse_lies_within_the_interval_of_its_circumference(long: float, ratio: float, error: float) -> None:
    short = long * ratio
    columns = {"circumference_mm": 2 * long * ellipe(1 - ratio**2), "error_percent": error}
    stated = stated_size({Column("", "", kind, "head"): [v] if "mm" in kind else v for kind, v in columns.items()})
    assert stated is not None
    low, high = stated.low, stated.high
    assert low * (1 - 1e-5) <= math.pi / 4 * long * short <= high * (1 + 1e-9)
    assert high == pytest.approx((columns["circumference_mm"] * (1 + error / 100)) ** 2 / (4 * math.pi))
