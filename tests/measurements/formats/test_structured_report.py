"""DICOM SR becomes a size table: volumes, axes, lines in images and in space; another series is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from tests.dicom import FIRST_SLICE, PIXEL_MM, SLICE_MM, files_in_order, write_series  # noqa: E402
from tests.measurements import reports  # noqa: E402
from tests.measurements.reports import MM, codes, group, size  # noqa: E402
from tests.measurements.tables import measurements, rows_of, table  # noqa: E402


@pytest.fixture
def export(tmp_path: Path) -> Path:
    write_series(tmp_path / "export" / "p1" / "ct")
    write_series(tmp_path / "export" / "p1" / "late")
    return tmp_path / "export"


def images(series: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in files_in_order(series)]


def test_volumes_and_axes_have_a_row_with_their_places(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    across = reports.line_in_image(ct[2], [[2.5, 3.5], [8.5, 3.5]])
    groups = [
        group("liver", [size(codes.SCT.Volume, 15.1, reports.ML)], "whole liver"),
        group("tumour", [size(codes.SCT.LongAxis, 2.4, reports.CM, [across]), size(codes.SCT.ShortAxis, 11, MM)]),
    ]
    reports.write_report(export / "sr" / "r.dcm", ct, groups)
    (row,) = table(export)
    z = FIRST_SLICE + 2 * SLICE_MM
    assert row["image"] == "p1/ct"
    assert row["liver volume_ml"] == "15.1"
    assert row["tumour diameters_mm"] == "24 x 11"
    # The centre of the first pixel is 0.5; RAS+ is LPS with two signs changed.
    assert row["tumour click_mm"] == f"{-2 * PIXEL_MM:g} {-3 * PIXEL_MM:g} {z:g} to {-8 * PIXEL_MM:g} {-12:g} {z:g}"
    assert "liver: r.dcm, group 1 'whole liver'" in row["comment"]


def test_lesions_of_a_structure_have_rows_and_an_outline_has_diameters(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    frame = str(ct[0].FrameOfReferenceUID)
    in_space = reports.line_in_space(frame, [[4.0, 4.0, -17.0], [16.0, 4.0, -17.0]])
    nodule = group("nodule", [size(codes.SCT.Length, 12, MM, [in_space])], "L1")
    outline = reports.outline_group("nodule", ct[4], [[6, 5], [10, 5], [10, 7], [6, 7], [6, 5]])
    reports.write_report(export / "sr.dcm", ct, [nodule, outline])
    first, second = table(export)
    assert (first["lesion"], first["nodule diameters_mm"]) == ("L1", "12")
    assert first["nodule click_mm"] == "-4 -4 -17 to -16 -4 -17"
    assert (second["lesion"], second["nodule diameters_mm"]) == ("outline", "17.89 x 14.31")
    assert second["nodule click_mm"] == f"{-7.5 * PIXEL_MM:g} {-5.5 * PIXEL_MM:g} {FIRST_SLICE + 4 * SLICE_MM:g}"


def test_a_finding_with_a_site_is_named_by_both_and_can_be_renamed(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    lesion = group("Lesion", [size(codes.SCT.Diameter, 9, MM)], site=codes.SCT.Liver)
    reports.write_report(export / "sr.dcm", ct, [lesion, group("Spleen", [size(codes.SCT.Volume, 1e5, reports.MM3)])])
    assert {"Liver Lesion diameters_mm", "Spleen volume_ml"} <= table(export)[0].keys()
    (row,) = table(export, "--structure", "lesion=liver")
    assert row["lesion diameters_mm"] == "9"
    assert not [column for column in row if "Spleen" in column]


def test_a_report_of_another_series_is_refused_and_the_rest_is_written(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    reports.write_report(export / "sr.dcm", ct, [group("liver", [size(codes.SCT.Volume, 15.1, reports.ML)])])
    write_series(export.parent / "elsewhere")
    other = images(export.parent / "elsewhere")
    reports.write_report(
        export / "p1" / "ct" / "o.dcm", other, [group("liver", [size(codes.SCT.Volume, 9, reports.ML)])]
    )
    result = measurements(export, "--output", export / "sizes.csv")
    assert result.exit_code == 1
    assert f"it is of the series {other[0].SeriesInstanceUID}, which is not here. Of the same patient" in result.output
    (row,) = rows_of(export / "sizes.csv")
    assert row["liver volume_ml"] == "15.1"


def test_coordinates_in_another_frame_of_reference_are_refused(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    line = reports.line_in_space("1.2.3", [[4.0, 4.0, -17.0], [16.0, 4.0, -17.0]])
    reports.write_report(export / "sr.dcm", ct, [group("node", [size(codes.SCT.Length, 12, MM, [line])])])
    result = measurements(export, "--output", export / "sizes.csv")
    assert result.exit_code == 1
    assert "its places are in the frame of reference 1.2.3" in result.output
    assert not (export / "sizes.csv").exists()


def test_two_measurements_of_one_structure_that_disagree_are_told_of_or_become_bounds(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    for number, volume in enumerate((15.1, 15.2, 21)):
        groups = [group("liver", [size(codes.SCT.Volume, volume, reports.ML)])]
        reports.write_report(export / f"sr{number}.dcm", ct, groups)
    result = measurements(export, "--output", export / "sizes.csv")
    assert result.exit_code == 1
    assert "found 'liver' of 21 mL, but 15.1 mL in" in result.output
    (row,) = table(export, "--between")
    assert (row["liver volume_ml low"], row["liver volume_ml high"]) == ("15.1", "21")
    (export / "sr2.dcm").unlink()
    assert table(export)[0]["liver volume_ml"] == "15.1"


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (codes.UCUM.SquareMillimeter, "is one of an area, expected a length"),
        (codes.UCUM.NoUnits, "the unit '1' is not"),
    ],
)
def test_a_wrong_unit_is_refused(export: Path, unit: object, message: str) -> None:
    ct = images(export / "p1" / "ct")
    reports.write_report(export / "sr.dcm", ct, [group("node", [size(codes.SCT.Length, 12, unit)])])
    result = measurements(export, "--output", export / "sizes.csv")
    assert result.exit_code == 1
    assert message in result.output


def test_an_identifier_of_the_tool_does_not_make_one_lesion_of_two_and_images_are_no_reports(export: Path) -> None:
    ct = images(export / "p1" / "ct")
    tool = "Cornerstone3DTools@^0.1.0:Length"
    lines = [reports.line_in_image(ct[k], [[2.5, 3.5], [8.5, 3.5]]) for k in (1, 5)]
    groups = [group("node", [size(codes.SCT.Length, 3 + k, MM, [line])], tool) for k, line in enumerate(lines)]
    reports.write_report(export / "sr.dcm", ct, groups)
    assert [(row["lesion"], row["node diameters_mm"]) for row in table(export)] == [("node 1", "3"), ("node 2", "4")]
    image = next((export / "p1" / "ct").glob("*.dcm"))
    said = measurements(image, "--output", export / "sizes.csv").output
    assert "it is CT Image Storage, expected a structured report of measurements" in said
