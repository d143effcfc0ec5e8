"""Markups of 3D Slicer become sizes and clicks, in either coordinate system."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.cohort.cohorts import write_images
from tests.measurements.markups import markup, write_markups
from tests.measurements.tables import problems, table

# The scans reach from 0 to 62 mm along x and y, and to 25 mm along z, in RAS+.
LINE = [[-10.0, -20.0, 10.0], [-34.0, -20.0, 10.0]]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_images(tmp_path / "scans", 2)
    return tmp_path / "scans"


def test_lines_boxes_curves_and_points_are_sizes_with_places(scans: Path) -> None:
    angles = [2 * math.pi * i / 12 for i in range(12)]
    circle = [[-30 + 9 * math.cos(a), -30 + 6 * math.sin(a), 15.0] for a in angles]
    write_markups(scans / "scan 00 tumour.mrk.json", markup("Line", LINE))  # a name that 3D Slicer gave
    write_markups(
        scans / "scan 01.mrk.json",
        markup("ROI", [], "cyst", center=[-20, -20, 10], size=[8.0, 12.0, 6.0]),
        markup("ClosedCurve", circle, "node"),
        markup("Fiducial", [[-5, -6, 7], [-8, -9, 5]], "F", labels=["liver", "liver"]),
    )
    first, second = table(scans)
    assert (first["image"], first["tumour diameters_mm"]) == ("scan 00.nii.gz", "24")
    assert first["tumour click_mm"] == "10 20 10 to 34 20 10"
    assert (second["cyst diameters_mm"], second["cyst click_mm"]) == ("12 x 8 x 6", "20 20 10")
    long, short = map(float, second["node diameters_mm"].split(" x "))
    assert (long, short) == (pytest.approx(18, rel=0.01), pytest.approx(12, rel=0.01))
    assert second["node click_mm"] == "30 30 15"
    assert (second["liver volume_ml"], second["liver click_mm"]) == ("", "5 6 7; 8 9 5")


def test_ras_and_micrometres_are_the_same_places(scans: Path) -> None:
    ras = [[-1000 * x, -1000 * y, 1000 * z] for x, y, z in LINE]
    unit = ["um", "UCUM", "micrometer"]
    line = markup("Line", ras, "tumour", coordinateSystem="RAS", coordinateUnits=unit)
    write_markups(scans / "scan 00.mrk.json", line)
    (row,) = table(scans)
    assert (row["tumour diameters_mm"], row["tumour click_mm"]) == ("24", "10 20 10 to 34 20 10")


def test_lines_that_cross_are_diameters_of_one_lesion_and_numbers_tell_lesions_apart(scans: Path) -> None:
    across = [[-22.0, -14.0, 10.0], [-22.0, -25.0, 10.0]]
    lines = {"tumour_1": LINE, "tumour_2": across, "tumour_3": [[-50, -50, 5], [-55, -50, 5]]}
    write_markups(scans / "scan 00.mrk.json", *(markup("Line", points, name) for name, points in lines.items()))
    first, second = table(scans)
    assert (first["lesion"], first["tumour diameters_mm"]) == ("tumour_1", "24 x 11")
    assert (second["lesion"], second["tumour diameters_mm"]) == ("tumour_3", "5")


@pytest.mark.parametrize(
    ("name", "labels", "structures"),
    [
        ("F", ["Femur", "Fibroid"], {"Femur", "Fibroid"}),
        ("liver", ["liver lesion", "liver-2"], {"liver lesion", "liver"}),
    ],
)
def test_the_label_of_a_point_counts_though_it_begins_like_its_list(
    scans: Path, name: str, labels: list[str], structures: set[str]
) -> None:
    points = markup("Fiducial", [[-5, -6, 7], [-8, -9, 5]], name, labels=labels)
    write_markups(scans / "scan 00.mrk.json", markup("Line", LINE, "tumour"), points)
    (row,) = table(scans)
    assert {column.removesuffix(" click_mm") for column in row if "click_mm" in column} == structures | {"tumour"}


def turned(degrees: float) -> list[float]:
    """Axes of a box that is turned about the long axis of the body, as 3D Slicer writes them."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [-c, s, 0.0, -s, -c, 0.0, 0.0, 0.0, 1.0]


BOX: dict[str, Any] = {"center": [-20, -30, 10], "size": [20.0, 30.0, 16.0]}


@pytest.mark.parametrize(
    ("change", "region"),
    [
        ({}, "10 15 2 to 30 45 18"),
        ({"name": "ROI_1"}, "10 15 2 to 30 45 18"),
        ({"orientation": turned(0)}, "10 15 2 to 30 45 18"),
        ({"orientation": turned(90)}, "5 20 2 to 35 40 18"),
        ({"coordinateSystem": "RAS", "center": [20, 30, 10]}, "10 15 2 to 30 45 18"),
        ({"coordinateUnits": "um", "center": [-2e4, -3e4, 1e4], "size": [2e4, 3e4, 1.6e4]}, "10 15 2 to 30 45 18"),
    ],
    ids=["as 3D Slicer names it", "named", "with axes", "turned by 90 degrees", "RAS", "micrometres"],
)
def test_a_box_of_no_structure_is_the_region_of_its_scan(scans: Path, change: dict[str, Any], region: str) -> None:
    write_markups(
        scans / "scan 00.mrk.json", {**markup("ROI", [], "R", **BOX), **change}, markup("Line", LINE, "tumour")
    )
    write_markups(scans / "scan 01.mrk.json", markup("ROI", [], "cyst", **BOX))
    first, second = table(scans)
    assert (first["roi_mm"], first["tumour diameters_mm"], first["cyst diameters_mm"]) == (region, "24", "")
    assert "region of interest: scan 00.mrk.json, markup 1" in first["comment"]
    assert (second["roi_mm"], second["cyst diameters_mm"]) == ("", "30 x 20 x 16")


def test_a_box_named_by_its_file_is_a_size(scans: Path) -> None:
    write_markups(scans / "scan 00 tumour.mrk.json", markup("ROI", [], "R", **BOX))
    write_markups(scans / "scan 01 ROI.mrk.json", markup("ROI", [], "R", **BOX))
    first, second = table(scans)
    assert (first["tumour diameters_mm"], second["tumour diameters_mm"]) == ("30 x 20 x 16", "")
    assert (first["roi_mm"], second["roi_mm"]) == ("", "10 15 2 to 30 45 18")


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (
            [{"orientation": turned(30)}],
            "region of interest that is rotated by 30°, expected one along the scanner's axes",
        ),
        (
            [{}, {"size": [9, 9, 9]}],
            "found 2 regions of interest of scan 00.nii.gz, expected one. Leave the others out",
        ),
        ([{"center": [500, 0, 0]}], "is outside of scan 00.nii.gz. Was it measured on another scan?"),
        ([{"orientation": [1, 0, 0]}], "markups.1.orientation is [1, 0, 0], expected 9 or more entries"),
    ],
)
def test_a_region_that_is_none_is_named(scans: Path, boxes: list[dict[str, Any]], message: str) -> None:
    regions = [{**markup("ROI", [], "R", **BOX), **box} for box in boxes]
    write_markups(scans / "scan 00.mrk.json", markup("Line", LINE, "tumour"), *regions)
    assert message in problems(scans)


def test_a_region_without_any_size_is_told(scans: Path) -> None:
    write_markups(scans / "scan 00.mrk.json", markup("ROI", [], "R", **BOX))
    said = problems(scans)
    assert "found a region of interest, but no size of any scan, expected both. Measure the structures." in said


def test_markups_in_another_frame_are_refused_and_flipping_is_suggested(scans: Path) -> None:
    line = markup("Line", [[-x, -y, z] for x, y, z in LINE], "tumour")
    write_markups(scans / "scan 00.mrk.json", line)
    said = problems(scans)
    assert "is outside of scan 00.nii.gz, but within it if x and y have the other sign" in said
    write_markups(scans / "scan 00.mrk.json", markup("Line", [[500, 0, 0], [505, 0, 0]], "tumour"))
    assert "is outside of scan 00.nii.gz. Was it measured on another scan?" in problems(scans)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controlPoints": []}, "found a line with 0 points, expected 2"),
        ({"coordinateSystem": "IJK"}, "markups.0.coordinateSystem is 'IJK', expected 'LPS' or 'RAS'"),
        ({"coordinateUnits": "pixel"}, "the unit 'pixel' is not one of length"),
        ({"controlPoints": [{"position": [1, 2]}]}, "found no key 'markups.0.controlPoints.0.position.2'"),
        ({"controlPoints": [{"position": [1, 2, float("nan")]}]}, "is nan, expected a finite number"),
    ],
)
def test_faults_are_named(scans: Path, change: dict[str, Any], message: str) -> None:
    write_markups(scans / "scan 00.mrk.json", {**markup("Line", LINE, "tumour"), **change})
    assert message in problems(scans)


def test_a_file_that_may_be_of_several_scans_is_refused(scans: Path) -> None:
    write_markups(scans / "tumour.mrk.json", markup("Line", LINE, "tumour"))
    assert "found no scan that it may be of, expected one. Name the file like its scan" in problems(scans)
    (scans / "tumour.mrk.json").write_text("{")
    assert "found no JSON" in problems(scans)
    (scans / "tumour.mrk.json").write_text("[]")
    assert "found [], expected keys with values. Expected markups of 3D Slicer" in problems(scans)
