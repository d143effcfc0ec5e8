"""A size table is read right, or refused with every fault named by its row and column."""

from __future__ import annotations

import contextlib
import math
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ellipe

from medsize.sizes.table.columns import Column
from medsize.sizes.table.measurements import stated_size
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.scan_sizes import scan_sizes
from medsize.sizes.table.size_table import SizeTableError
from tests.sizes.table.tables import Row, in_a_folder, problems_of, write_csv, write_scan, write_xlsx


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
    assert scan_sizes(read_size_table(path), image, tmp_path)["size"] == {"Leber, rechts": 12500, "Milz": 4000}


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
    entry = scan_sizes(read_size_table(path), "a.nii.gz", tmp_path)
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
    assert scan_sizes(read_size_table(path, sheet="Sheet"), "a.nii.gz")["size"] == {"liver": 1000}
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
    assert scan_sizes(read_size_table(path), "a.nii.gz")["size"] == {"liver": 1510500}


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


@pytest.mark.parametrize("name", ["Gesamtsumme", "Mittelwert ± SD", "Grand Total", "∑ Summe:", "Std. dev.", "Ø"])
def test_totals_are_left_out_whatever_their_cells_hold(tmp_path: Path, name: str) -> None:
    table = read_size_table(write_xlsx(tmp_path / "sizes.xlsx", LIVER, ["Grand", 3], ["mean_1", 4], [name, "3,5 ± 1"]))
    assert [row.image for row in table.rows] == ["Grand", "mean_1"]
    assert table.doubts == (f"row 4 is '{name}', not a scan: it was left out.",)


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


@pytest.mark.parametrize(
    ("column", "cell", "low", "high"),
    [
        ("liver volume_ml", "1200-1500", 1200e3, 1500e3),
        ("liver volume_ml", "1200 \u2013 1500 mL", 1200e3, 1500e3),
        ("liver volume_ml", "1e3 to 1.5e3", 1000e3, 1500e3),
        ("liver volume_ml", "0-12.5", 0, 12.5e3),
        ("liver volume_ml", "12-12", 12e3, 12e3),
        ("liver fraction", "3-5 %", 0.03, 0.05),
        ("liver fraction", "3 % to 5 %", 0.03, 0.05),
        ("lesion area_mm2", "20-30", 20, 30),
    ],
)
def test_a_cell_with_a_range_states_both_bounds(
    tmp_path: Path, column: str, cell: str, low: float, high: float
) -> None:
    (row,) = read_size_table(write_csv(tmp_path / "sizes.csv", ["image", column], ["a", cell])).rows
    (size,) = row.sizes.values()
    assert (size.low, size.high) == (pytest.approx(low), pytest.approx(high))


def test_a_range_may_have_decimal_commas(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml"], ["a", "1,25-1,5"], separator=";")
    (row,) = read_size_table(path).rows
    assert (row.sizes["liver"].low, row.sizes["liver"].high) == (1250, 1500)


LIVER = ["image", "liver volume_ml"]


FAULTY: dict[str, tuple[list[Row], str]] = {
    "negative": ([LIVER, ["a", -3]], "row 2, column 'liver volume_ml' (B) is '-3', expected 0 or more"),
    "NaN": ([LIVER, ["a", "NaN"]], "(B) is 'NaN': it is not a number. Write the volume in mL, such as 1510 or 12.5"),
    "infinite": ([LIVER, ["a", "inf"]], "row 2, column 'liver volume_ml' (B) is 'inf': it is not a number"),
    "above all floats": ([LIVER, ["a", "1e999"]], "(B) is '1e999', expected a finite number"),
    "above all sizes": ([LIVER, ["a", "1e300"]], "(B) is '1e300', expected 1"),
    "words": ([LIVER, ["a", "large"]], "column 'liver volume_ml' (B) is 'large': it is not a number"),
    "another unit in the cell": ([LIVER, ["a", "1.2 L"]], "(B) is '1.2 L': it is not a number"),
    "none, which may be absent": ([LIVER, ["a", "none"]], "(B) is 'none': it is not a number"),
    "thousands or decimals": ([LIVER, ["a", "1,510"]], "(B) is '1,510': it may mean 1510 or 1.5100: write the one"),
    "point beside a decimal comma": ([LIVER, ["a", "1.510"], ["b", "0,5"]], "(B) is '1.510': it may mean 1510"),
    "thousands beside a decimal comma": ([LIVER, ["a", "1.510"], ["b", "1.510,5"]], "(B) is '1.510': it may mean 1510"),
    "separators of no number": ([LIVER, ["a", "1.51,5"]], "(B) is '1.51,5': it is not a number"),
    "percent of a volume": ([LIVER, ["a", "4 %"]], "(B) is '4 %': it is not a number"),
    "fraction above 1": ([["image", "liver fraction"], ["a", 4]], "(B) is '4', expected 1 or less"),
    "low above high": (
        [["image", "liver volume_ml low", "liver volume_ml high"], ["a", 3, 2]],
        "row 2, column 'liver volume_ml low' (B) is above column 'liver volume_ml high' (C)",
    ),
    "a range the wrong way round": (
        [LIVER, ["a", "1500-1200"]],
        "row 2, column 'liver volume_ml' (B) is '1500-1200': its low end is above its high end",
    ),
    "three ends": ([LIVER, ["a", "1-2-3"]], "column 'liver volume_ml' (B) is '1-2': it is not a number"),
    "a range of lesions": ([LIVER, ["a", "1-2 + 3"]], "(B) is '1-2 + 3': it is not a number"),
    "a range of diameters": ([["image", "liver diameters_mm"], ["a", "30-35"]], "(B) is '30-35': it is not a number"),
    "a range in a bound": (
        [["image", "liver volume_ml low", "liver volume_ml high"], ["a", "3-4", 5]],
        "column 'liver volume_ml low' (B) is '3-4': it is not a number",
    ),
    "error of a range": (
        [[*LIVER, "liver error_percent"], ["a", "3-4", 10]],
        "row 2, column 'liver error_percent' (C) is filled in beside bounds",
    ),
    "a range and a fraction": (
        [[*LIVER, "liver fraction"], ["a", "3-4", 0.1]],
        "row 2, column 'liver volume_ml' (B) and column 'liver fraction' (C) are all filled in",
    ),
    "a click in pixels with three coordinates": (
        [["image", "liver fraction", "liver click_px"], ["a.png", 0.1, "1 2 3"]],
        "(C) is '1 2 3': '1 2 3' has 3 coordinates. Write x y in pixels from the upper left corner",
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
    "diameter of 0": ([["image", "liver diameters_mm"], ["a", 0]], "(B) is '0', expected more than 0"),
    "negative diameter": ([["image", "liver diameters_mm"], ["a", "3 x -2"]], "(B) is '3 x -2', expected more than 0"),
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
        "row 2, column 'liver error_percent' (C) is '-1', expected 0 or more",
    ),
    "error of 100": (
        [["image", "liver volume_ml", "error_percent"], ["a", 3, 100]],
        "row 2, column 'error_percent' (C) is '100', expected less than 100",
    ),
    "scan twice": (
        [LIVER, ["a", 1], ["./a", 2]],
        "row 3, column 'image' (A): row 2 is of the same scan, 'a'. Delete one of them; of two measurements, write",
    ),
    "slice twice": (
        [["image", "slice", "liver area_mm2"], ["a", 1, 2], ["a", 1, 2]],
        "row 3, column 'image' (A): row 2 is of the same slice 1 of the scan, 'a'",
    ),
    "two subjects": (
        [["image", "slice", "subject", "liver area_mm2"], ["a", 1, "A", 2], ["a", 2, "B", 2]],
        "row 3, column 'subject' (C) is 'B', but row 2 of the same scan says 'A'. Correct",
    ),
    "half a slice": ([["image", "slice", "liver area_mm2"], ["a", 1.5, 2]], "(B) is '1.5', expected a whole number"),
    "negative slice": ([["image", "slice", "liver area_mm2"], ["a", -1, 2]], "(B) is '-1', expected 0 or more"),
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
    "an axis ratio beside a circumference and a diameter": (
        [["image", "head circumference_mm", "head diameters_mm", "head smallest axis ratio"], ["a", 100, 30, 0.7]],
        "(C) and column 'head smallest axis ratio' (D) are both filled in, but it is for a circumference alone",
    ),
    "long over short": (
        [["image", "head circumference_mm", "head smallest_axis_ratio"], ["a", 100, 1.4]],
        "(C) is '1.4', expected 1 or less. Write the short over the long diameter",
    ),
    "an axis ratio without a circumference": (
        [[*LIVER, "head smallest_axis_ratio"], ["a", 2, 0.7]],
        "'head smallest_axis_ratio' (C) is an axis ratio without a size. Add a column 'head circumference_mm'",
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
    "negative count": ([["image", "n count", "n area_px"], ["a", -1, 2]], "(B) is '-1', expected 0 or more"),
    "bound of a count": (
        [["image", "n count low", "n area_px"], ["a", 1, 2]],
        "(B) is a bound of a count, which cannot have bounds",
    ),
    "a pixel of 0 mm": ([[*LIVER, "pixel_mm"], ["a", 2, 0]], "(C) is '0', expected more than 0. Write the"),
    "two sizes of pixels": (
        [["image", "lesion", "pixel_mm", "tumour fraction"], ["a", 1, 0.1, 0.2], ["a", 2, 0.2, 0.2]],
        "row 3, column 'pixel_mm' (C) is 0.2, but row 2 of the same scan says 0.1. Correct",
    ),
    "area of another unit": (
        [["image", "liver area_cm2"], ["a", 2]],
        "has the unknown unit 'cm2'. Convert its numbers where necessary, and name it 'liver area_mm2' or 'liver area_",
    ),
    "area of another unit in brackets": (
        [["image", "liver (cm²)"], ["a", 2]],
        "'liver (cm²)' (B) has the unknown unit 'cm2'. Convert its numbers where necessary, and name it 'liver "
        "area_mm2' or 'liver area_um2' or 'liver area_px'. 1 cm² is 100 mm².",
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
    "second name of the image": ([[*LIVER, "filename"], ["a", 2, "b"]], "'filename' (C) is not known. Delete it"),
    "cm of a diameter": ([["image", "liver diameter (cm)"], ["a", 2]], "name it 'liver diameters_mm'. 1 cm is 10 mm."),
    "cc": ([["image", "liver (cc)"], ["a", 2]], "unknown unit 'cc'. Convert its numbers where necessary, and name it"),
    "neither present nor absent": ([["image", "cat present"], ["a", "maybe"]], "is 'maybe': it is neither yes nor no"),
    "percent of a fraction": (
        [["image", "liver fraction (%)"], ["a", 4]],
        "unknown unit '%'. Convert its numbers where necessary, and name it 'liver fraction'. Divide percent by 100.",
    ),
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


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            LIVER,
            ["spleen", 1500],
            "row 2, column 'classes' (B) says that 'liver' is absent, column 'liver volume_ml' (C)",
        ),
        (LIVER, ["liver", 0], "row 2, column 'classes' (B) says that 'liver' is present, column 'liver volume_ml' (C)"),
        (
            ["image", "liver present"],
            ["liver", 1],
            "row 1, column 'classes' (B) lists 'liver', whose presence column 'liver",
        ),
        (LIVER, ["liver; Background", 3], "row 1, column 'classes' (B) lists 'background', which is the rest"),
    ],
)
def test_tags_that_contradict_other_columns_are_named_by_their_own(
    tmp_path: Path, header: Row, row: Row, message: str
) -> None:
    rows = [["image", "classes", *header[1:]], ["a", *row], ["b", "liver", 1]]
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", *rows))
    assert message in problem


def test_rows_of_other_lengths_are_refused_beside_a_column_of_tags(tmp_path: Path) -> None:
    rows = [["image", "classes"], ["a.png", "cat; dog"], ["b.png", "cat", 1, 0], ["c.png"]]
    longer, shorter = problems_of(write_csv(tmp_path / "sizes.csv", *rows))
    assert longer.startswith("row 3 has 4 cells, but row 1 has 2")
    assert shorter.startswith("row 4 has 1 cells, but row 1 has 2")


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("-", "it may mean that none is present, or that this is unknown"),
        ("yes", "'yes' is no structure"),
        ("cat; ?", "'?' is no structure"),
        ("cat; none", "'none' is no structure"),
        ("; ;", "it names no structure"),
        ("--", "it may mean that none is present, or that this is unknown"),
    ],
)
def test_words_that_are_no_structures_are_refused_as_tags(tmp_path: Path, cell: str, fault: str) -> None:
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", ["image", "classes"], ["a.png", "cat"], ["b.png", cell]))
    assert problem.startswith(f"row 3, column 'classes' (B) is '{cell}': {fault}")
    assert "write none where none is; leave the cell empty where that is unknown." in problem


def test_a_dash_says_not_whether_a_structure_is_present(tmp_path: Path) -> None:
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", ["image", "cat present"], ["a.png", "-"]))
    assert "is '-': it may mean absent or unknown. Write 1 or yes" in problem


def test_a_faulty_cell_of_tags_is_named(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "tags"], ["a.png", "cat"], ["b.png", "#REF!"])
    assert "row 3, column 'tags' (B) holds the error #REF!" in problems_of(path)[0]


def test_the_scans_of_a_faulty_table_are_known_if_each_row_names_one(tmp_path: Path) -> None:
    for image, names in (("b.nii.gz", ["a.nii.gz", "b.nii.gz"]), ("", None)):
        with pytest.raises(SizeTableError) as caught:
            read_size_table(write_csv(tmp_path / "sizes.csv", LIVER, ["a.nii.gz", "large"], [image, 1], ["total", 3]))
        found = caught.value.names
        assert (found and [row.image for row in found.rows]) == names


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


def test_words_before_a_structure_are_not_its_name(tmp_path: Path) -> None:
    header = ["image", "Volume of liver (mL)", "area of the spleen_mm2"]
    assert read_size_table(write_csv(tmp_path / "sizes.csv", header, ["a", 1, 2])).structures == ("liver", "spleen")
    (problem,) = problems_of(write_csv(tmp_path / "sizes.csv", [*LIVER, "Volume of lesion"], ["a", 1, 2]))
    assert "'Volume of lesion' (C) is not known" in problem


def test_codes_that_look_like_huge_numbers_are_no_sizes(tmp_path: Path) -> None:
    (problem,) = problems_of(
        write_csv(tmp_path / "sizes.csv", [*LIVER, "code"], ["a", 1, "12E345"], ["b", 2, "12E346"])
    )
    assert "column 'code' (C) is not known" in problem


def with_result(path: Path, formula: str, result: bytes) -> None:
    """Store the result of a formula as a spreadsheet program does."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet], found = re.subn(
        rb"(<c [^<>]*)(><f>" + re.escape(formula).encode() + rb"</f>)<v ?/?>(?:</v>)?", rb"\1" + result, parts[sheet]
    )
    assert found == 1
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_the_stored_result_of_a_formula_counts(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", LIVER, ["a", "=1000+510"])
    with_result(path, "1000+510", rb"\2<v>1510</v>")
    assert scan_sizes(read_size_table(path), "a")["size"] == {"liver": 1510e3}


def test_a_formula_whose_result_is_an_empty_text_is_an_empty_cell(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", [*LIVER, "spleen volume_ml"], ["a", 1510, "=T(1)"])
    assert "holds the formula =T(1), whose result is not in the file" in problems_of(path)[0]
    with_result(path, "T(1)", rb' t="str"\2<v></v>')
    assert scan_sizes(read_size_table(path), "a")["size"] == {"liver": 1510e3, "spleen": None}


@pytest.mark.parametrize(("errors", "is_doubtful"), [((0.1, 0.2), True), ((0.1, 10), False), (("0.1 %", ""), False)])
def test_errors_that_look_like_fractions_are_doubted(
    tmp_path: Path, errors: tuple[Any, Any], is_doubtful: bool
) -> None:
    rows = [["a", 1, errors[0]], ["b", 2, errors[1]], ["c", 2, ""]]
    read = read_size_table(write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", "error_percent"], *rows))
    doubt = "column 'error_percent' (C): its numbers are at most 0.2 percent. Are they fractions? Write 10 for 10 %."
    assert list(read.doubts) == [doubt] * is_doubtful


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (["spleen diameters_mm"], ["120 x 50 x 90"]),
        (["spleen diameters_mm", "spleen error_percent"], [120, 40]),
        (["spleen diameters_mm low", "spleen diameters_mm high"], [60, 120]),
    ],
)
def test_a_single_diameter_of_a_scan_is_doubted_unless_it_has_an_error(
    tmp_path: Path, columns: list[str], row: list[Any]
) -> None:
    alone = write_csv(tmp_path / "alone.csv", ["image", "spleen diameters_mm"], ["a", 120], ["b", ""])
    (doubt,) = read_size_table(alone).doubts
    assert "column 'spleen diameters_mm' (B): 1 of 1 cells hold a single diameter" in doubt
    assert not read_size_table(write_csv(tmp_path / "known.csv", ["image", *columns], ["a", *row])).doubts
    slices = write_csv(tmp_path / "slices.csv", ["image", "slice", "spleen diameters_mm"], ["a", 3, 120])
    assert not read_size_table(slices).doubts
    assert not read_size_table(write_csv(tmp_path / "p.csv", ["image", "head diameters_mm"], ["a.png", 90])).doubts


def test_a_first_line_for_excel_names_the_separator(tmp_path: Path) -> None:
    file = tmp_path / "sizes.csv"
    file.write_text("sep=;\nimage;liver vol. (ml)\na;1,5\n")
    read = read_size_table(file)
    assert (read.structures, read.rows[0].number, read.rows[0].sizes["liver"].low) == (("liver",), 2, 1500.0)


@pytest.mark.parametrize(
    ("header", "read_as"),
    [
        (["Scan", "Patient ID"], [("Scan", "A", "image"), ("Patient ID", "B", "subject")]),
        (["File name", "subject"], [("File name", "A", "image")]),
        (["image", "patient"], [("patient", "B", "subject")]),
    ],
)
def test_other_words_for_scans_and_subjects_are_read_and_said(
    tmp_path: Path, header: list[str], read_as: list[tuple[str, str, str]]
) -> None:
    table = read_size_table(write_csv(tmp_path / "sizes.csv", [*header, "liver volume_ml"], ["a", "P1", 1]))
    assert (table.rows[0].image, table.rows[0].subject) == ("a", "P1")
    assert list(table.doubts) == [f"column '{n}' ({letter}) was read as '{kind}'." for n, letter, kind in read_as]


@pytest.mark.parametrize(
    ("header", "meant"),
    [(["Patient ID"], "subject"), (["scan", "file"], "image"), (["path", "scan", "patient"], "image")],
)
def test_words_that_may_mean_several_columns_are_only_guessed(tmp_path: Path, header: list[str], meant: str) -> None:
    cells = [str(n) for n in range(len(header))]
    problems = problems_of(write_csv(tmp_path / "sizes.csv", [*header, "liver volume_ml"], [*cells, 1]))
    assert f"row 1, column '{header[0]}' (A) is not known. Did you mean '{meant}'?" in problems[0]


def test_pictures_are_told_by_a_column_of_another_word(tmp_path: Path) -> None:
    table = read_size_table(write_csv(tmp_path / "sizes.csv", ["file", "mole"], ["a.png", 0.1], ["b.png", 0.2]))
    assert table.rows[1].sizes["mole"].unit == "fraction"


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


def test_a_chart_sheet_without_a_chart_does_not_keep_the_table_from_being_read(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "sizes.xlsx", ["image", "liver volume_ml"], ["a.nii", 1])
    workbook = openpyxl.load_workbook(path)
    workbook.create_chartsheet("without a chart", 0)
    workbook.save(path)
    assert [row.image for row in read_size_table(path).rows] == ["a.nii"]


@pytest.mark.parametrize("above", [["Liver volumes, 2024"], [], ["Liver volumes", "", "1"]])
@pytest.mark.parametrize("image", ["image", "Scan"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_names_of_columns_below_a_title_are_pointed_out(
    tmp_path: Path, above: list[str], image: str, separator: str
) -> None:
    rows = [above, [image, "liver volume_ml", "spleen volume_ml"], ["a.nii", 1, 2]]
    written = [write_xlsx(tmp_path / "sizes.xlsx", *rows)]
    if above[:1] != ["Liver volumes, 2024"] or separator == ",":  # quotation marks are needed
        written.append(write_csv(tmp_path / "sizes.csv", *rows, separator=separator))
    for path in written:
        (problem,) = problems_of(path)
        assert f"row 2 looks like the names of the columns ('{image}', 'liver volume_ml'" in problem
        assert "expected them in row 1. Delete the row above." in problem


@pytest.mark.parametrize("empty", [0, 1])
def test_names_in_other_words_below_a_title_are_pointed_out(tmp_path: Path, empty: int) -> None:
    header = ["Patient", "Lebervolumen (ml)", "Milz (cm³)"]
    rows = [["Volumetrie, Stand November"], *[[]] * empty, header, [1, "99,3", "11,8"], [2, 69.2, 17.8]]
    (problem,) = problems_of(write_xlsx(tmp_path / "sizes.xlsx", *rows))
    assert f"row {2 + empty} looks like the names of the columns ('Patient', 'Lebervolumen (ml)'" in problem
    untitled = problems_of(write_xlsx(tmp_path / "untitled.xlsx", *rows[1 + empty :]))
    assert any("column 'Milz (cm³)' (C) has the unknown unit 'cm3'" in problem for problem in untitled)
    assert any("expected one that tells the scan of each row: its path, its name" in problem for problem in untitled)
    no_names = problems_of(write_xlsx(tmp_path / "no_names.xlsx", ["Volumetrie"], *rows[2 + empty :]))
    assert not any("looks like the names" in problem for problem in no_names)


@in_a_folder
@given(
    further=st.lists(
        st.one_of(
            st.sampled_from(["slice", "liver area_mm2", "liver fraction low", "liver count", "a circumference_mm"]),
            st.text(),
        ),
        max_size=3,
    ),
    cells=st.lists(
        st.lists(st.one_of(st.sampled_from(["a", "0", "1,5", "12E345"]), st.text()), max_size=5), max_size=4
    ),
)
def test_any_csv_is_read_or_refused(tmp_path: Path, further: list[str], cells: list[list[str]]) -> None:
    path = tmp_path / "sizes.csv"
    rows = [["image", "liver volume_ml", *further], *cells]
    path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8", errors="replace")
    with contextlib.suppress(SizeTableError):
        assert read_size_table(path).rows


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("12.5 -30", "'12.5 -30' has 2 coordinates. Write x y z in mm"),
        ("here", "has 1 coordinates"),
        ("a b c", "it is not a number. Write x y z in mm"),
        ("0 0 0 to 1 1 1 to 2 2 2", "is a line with 3 ends"),
        ("0 0 0 to 1e9 1 1", "'1e9 1 1' is more than 100 m away"),
        (" ; ", "it holds no point. Write x y z in mm"),
    ],
)
def test_clicks_that_are_no_place_are_named(tmp_path: Path, cell: str, message: str) -> None:
    file = write_csv(tmp_path / "sizes.csv", ["image", "liver volume_ml", "liver click_mm"], ["a.nii", "2", cell])
    with pytest.raises(SizeTableError, match=re.escape(message)):
        read_size_table(file)


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


def test_a_circumference_that_differs_from_that_of_its_diameters_is_noted(tmp_path: Path) -> None:
    header = ["image", "head circumference_mm", "head diameters_mm", "error_percent"]
    rows = [["a.png", 100, "32 x 32", 5], ["b.png", 106, "32 x 32", 5], ["c.png", 106, 32, 5]]
    (doubt,) = read_size_table(write_csv(tmp_path / "sizes.csv", header, *rows)).doubts
    assert doubt.startswith("row 3, column 'head circumference_mm' (B) and column 'head diameters_mm' (C): the circum")
    assert "is 106 mm, that of the diameters 100.5 mm" in doubt


def test_a_circumference_is_of_no_flatter_ellipse_than_the_stated_axis_ratio(tmp_path: Path) -> None:
    header = ["image", "head circumference_mm", "head smallest_axis_ratio", "head error_percent"]
    path = write_csv(
        tmp_path / "sizes.csv", header, ["a.png", 100, 0.7, ""], ["b.png", 100, "", ""], ["c.png", 0, 0.7, 5]
    )
    sizes = [row.sizes["head"] for row in read_size_table(path).rows]
    circle = 100**2 / (4 * math.pi)
    flattest = math.pi / 4 * 0.7 * (100 / (2 * ellipe(1 - 0.7**2))) ** 2
    assert (sizes[0].low, sizes[0].high) == (pytest.approx(flattest, rel=1e-4), pytest.approx(circle))
    assert sizes[1].low == pytest.approx(0.84 * circle, rel=0.01)
    assert sizes[2].high == 0


def test_the_pixels_of_pictures_may_stand_in_the_table(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "sizes.csv", ["image", "pixel_mm", "head fraction"], ["a.png", 0.12, 0.1], ["b.png", "", 0]
    )
    table = read_size_table(path)
    assert [row.pixel_mm for row in table.rows] == [0.12, None]


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


@pytest.mark.parametrize(
    ("header", "cells", "doubted"),
    [
        (["image", "head circumference_mm"], ["a.png", "175"], True),
        (["image", "head circumference_mm", "head smallest_axis_ratio"], ["a.png", "175", "0.7"], False),
        (["image", "head circumference_mm", "head diameters_mm"], ["a.png", "175", "60 x 50"], False),
    ],
)
def test_a_circumference_alone_says_how_it_could_tell_more(
    tmp_path: Path, header: list[str], cells: list[str], doubted: bool
) -> None:
    doubts = read_size_table(write_csv(tmp_path / "sizes.csv", header, cells)).doubts
    said = "tells the area within 84 to 100 % of a circle's. Where shapes are never as flat, a column 'head smallest"
    assert any(said in doubt and doubt.endswith("0.7 gives 95 to 100 %.") for doubt in doubts) == doubted
