"""Tables of OHIF become sizes and clicks; DICOM SR, OHIF and 3D Slicer give the same table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from tests.dicom import FIRST_SLICE, PIXEL_MM, SLICE_MM, files_in_order, write_series  # noqa: E402
from tests.measurements import reports  # noqa: E402
from tests.measurements.markups import markup, write_markups  # noqa: E402
from tests.measurements.reports import MM, codes, group, size  # noqa: E402
from tests.measurements.tables import problems, table  # noqa: E402

COMMON = ["Patient ID", "Patient Name", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Label"]
Z = FIRST_SLICE + 2 * SLICE_MM
LONG, SHORT = [[8.0, 12.0, Z], [32.0, 12.0, Z]], [[20.0, 8.0, Z], [20.0, 19.0, Z]]
"""Two lines in mm, LPS."""


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    write_series(tmp_path / "export" / "p1" / "ct")
    return tmp_path / "export" / "p1" / "ct"


def write_csv(file: Path, image: pydicom.Dataset, rows: Sequence[tuple[str, Mapping[str, object]]]) -> Path:
    """A table as OHIF joins it: without quotation marks, and cells that a tool lacks stay empty or are cut off."""
    columns = [*COMMON, *dict.fromkeys(column for _, cells in rows for column in cells)]
    common = [image.PatientID, "Doe, Jane", image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID]
    lines = [",".join(columns)]
    for label, cells in rows:
        row = [*map(str, common), label, *(str(cells.get(column, "")) for column in columns[6:])]
        while not row[-1]:
            row.pop()
        lines.append(",".join(row))
    file.write_text("\n".join(lines))
    return file


def cells(tool: str, points: Sequence[Sequence[float]], **own: object) -> dict[str, object]:
    listed = ";".join(" ".join(f"{c:g}" for c in point) for point in points)
    named = {name.replace("_", " "): value for name, value in own.items()}
    return {"AnnotationType": f"Cornerstone:{tool}", **named, "points": listed}


def test_dicom_sr_ohif_and_slicer_give_the_same_table(ct: Path, tmp_path: Path) -> None:
    images = [pydicom.dcmread(file) for file in files_in_order(ct)]
    folder, tables = ct.parents[1], {}
    pixels = [[[x / PIXEL_MM + 0.5, y / PIXEL_MM + 0.5] for x, y, _ in line] for line in (LONG, SHORT)]
    axes = zip((codes.SCT.LongAxis, codes.SCT.ShortAxis), (24.0, 11.0), pixels, strict=True)
    sizes = [size(code, value, MM, [reports.line_in_image(images[2], ends)]) for code, value, ends in axes]
    files = {
        "sr": reports.write_report(tmp_path / "sr.dcm", images, [group("tumour", sizes)]),
        "ohif": write_csv(
            tmp_path / "report.csv",
            images[2],
            [("tumour", cells("Bidirectional", [*LONG, *SHORT], Length=24.0, Width=11.0, Unit="mm"))],
        ),
        "slicer": write_markups(tmp_path / "ct.mrk.json", *(markup("Line", line, "tumour") for line in (LONG, SHORT))),
    }
    for name, file in files.items():
        file.rename(folder / "p1" / file.name)
        (row,) = table(folder)
        del row["comment"], row["source"]
        tables[name] = row
        (folder / "p1" / file.name).unlink()
    assert tables["sr"] == tables["ohif"] == tables["slicer"]
    assert tables["sr"] == {
        "image": "p1/ct",
        "tumour diameters_mm": "24 x 11",
        "tumour click_mm": f"-8 -12 {Z:g} to -32 -12 {Z:g}; -20 -8 {Z:g} to -20 -19 {Z:g}",
    }


def test_every_tool_has_its_size_and_labels_may_have_commas_and_numbers(ct: Path) -> None:
    circle = [[20.0, 20.0, Z], [20.0, 26.0, Z]]
    ellipse = [[10.0, 8.0, Z], [10.0, 12.0, Z], [7.0, 10.0, Z], [13.0, 10.0, Z]]
    square = [[4.0, 4.0, Z], [12.0, 4.0, Z], [4.0, 10.0, Z], [12.0, 10.0, Z]]
    rows = [
        ("cyst, right 1", cells("Length", LONG, **{"Length_(mm)": 24})),
        ("node 1", cells("EllipticalROI", ellipse, Area=18.8, Unit="mm²")),
        ("node 2", cells("CircleROI", circle, Area=113.1, Unit="mm²")),
        ("spot", cells("RectangleROI", square, Area=48, Unit="mm²")),
        ("liver", cells("Probe", [[9, 9, Z]])),
        ("angle", cells("Angle", LONG)),
    ]
    write_csv(ct.parent / "report.csv", pydicom.dcmread(next(ct.glob("*.dcm"))), rows)
    scan, first, second = table(ct.parents[1])
    assert (scan["cyst, right diameters_mm"], scan["spot diameters_mm"]) == ("24", "10 x 9.6")
    assert (scan["spot click_mm"], scan["liver click_mm"]) == (f"-8 -7 {Z:g}", f"-9 -9 {Z:g}")
    node = ("lesion", "node diameters_mm", "node click_mm")
    assert [first[column] for column in node] == ["node 1", "6 x 4", f"-10 -10 {Z:g}"]
    assert [second[column] for column in node] == ["node 2", "12", f"-20 -20 {Z:g}"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"Length": 24}, "found Length 24 without a unit, expected one. State it: --unit mm"),
        ({"Length": 24, "Unit": "px"}, "the unit 'px' is not one of length"),
        ({"Length": "long", "Unit": "mm"}, "found 'long', expected a number"),
    ],
)
def test_rows_that_cannot_be_read_are_named(ct: Path, own: dict[str, object], message: str) -> None:
    write_csv(ct.parent / "r.csv", pydicom.dcmread(next(ct.glob("*.dcm"))), [("tumour", cells("Length", LONG, **own))])
    assert message in problems(ct.parents[1])
    if "without a unit" in message:
        assert table(ct.parents[1], "--unit", "mm")[0]["tumour diameters_mm"] == "24"
