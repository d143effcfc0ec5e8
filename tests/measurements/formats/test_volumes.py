"""Tables of volumes and of ImageJ become sizes; volumes of 0 are unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medsize.measurements.ucum import AREA, LENGTH, VOLUME, in_mm
from tests.cohort.cohorts import write_images
from tests.measurements.tables import measurements, problems, table

SLICER = """"Segment","Number of voxels [voxels] (1)","Volume [mm3] (1)","Volume [cm3] (1)","Volume [mm3] (2)"
"liver",755000,1510000,1510,1490000
"lesion 1",0,0,0,0
"""
SLICER_KEYS = """"Segment","LabelmapSegmentStatisticsPlugin.voxel_count","LabelmapSegmentStatisticsPlugin.volume_cm3"
liver,755000,1510.0
lesion 1,0,0.0"""
ITK_SNAP = """Label Id,Label Name,Number Of Voxels,Volume (mm^3),Image mean (main)
0,Clear Label,99999,199998,3
1,liver,755000,1510000,60.5
"""
ITK_SNAP_OLD = """##########################################################
# SNAP Voxel Count File
# File format:
# LABEL: ID / NUMBER / VOLUME / MEAN / SD
##########################################################
Clear Label                             :    0 /      99999 /     199998 /          3 /          1
liver                                   :    1 /     755000 /    1510000 /       60.5 /       12.1
"""
TOTAL = {"liver": {"volume": 1510000.0, "intensity": 60.5}, "spleen": {"volume": 0.0, "intensity": 0.0}}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_images(tmp_path / "scans", 1, "p1/ct.nii.gz")
    write_images(tmp_path / "scans", 1, "p2/ct.nii.gz")
    return tmp_path / "scans"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("statistics.csv", SLICER),
        ("exported.csv", SLICER_KEYS),
        ("volumes.csv", ITK_SNAP),
        ("volumes.txt", ITK_SNAP.replace(",", "\t")),
        ("volumes.txt", ITK_SNAP_OLD),
        ("statistics.json", json.dumps(TOTAL, indent=4)),
    ],
)
def test_volumes_belong_to_the_scan_beside_them(scans: Path, name: str, text: str) -> None:
    (scans / "p2" / name).write_text(text)
    (row,) = table(scans)
    assert row == {"image": "p2/ct.nii.gz", "liver volume_ml": "1510"} | {k: row[k] for k in ("source", "comment")}
    assert row["source"].endswith(("of 3D Slicer", "of ITK-SNAP", "of TotalSegmentator"))
    assert f"liver: {name}, " in row["comment"]


def test_a_table_of_measurements_is_not_written_over_itself(scans: Path) -> None:
    (scans / "p1" / "volumes.csv").write_text(ITK_SNAP)
    result = measurements(scans, "--output", scans / "p1" / "volumes.csv")
    assert result.exit_code == 2
    assert "found an input as the output" in result.output
    assert (scans / "p1" / "volumes.csv").read_text() == ITK_SNAP


def test_tables_that_break_off_are_named(scans: Path) -> None:
    (scans / "p1" / "volumes.csv").write_text(ITK_SNAP + "2,spleen")
    (scans / "p2" / "statistics.json").write_text('{"liver": {"volume": "large", "intensity": 1}}')
    said = problems(scans)
    assert "volumes.csv, row 4: found ['2', 'spleen'], expected Label Id, Label Name, Volume (mm^3)" in said
    assert "statistics.json: liver.volume is 'large', expected a number." in said


def test_a_table_with_an_endless_cell_is_named(scans: Path) -> None:
    (scans / "p1" / "volumes.csv").write_text(ITK_SNAP + '2,"spleen' + 200_000 * "n")
    assert "volumes.csv: it is not valid CSV: field larger than" in problems(scans)


def test_results_of_imagej_need_a_unit_and_name_their_image(scans: Path) -> None:
    results = scans.parent / "Results.csv"
    results.write_text(
        " ,Label,Area,Feret,MinFeret,Length,Angle,Slice\n"
        "1,p1:tumour,2.0,2.4,1.1,,,3\n"
        "2,p2:line,0.1,,,1.5,30,2\n"
        "3,p2:0003-0012-0034:cut 1,0.5,,,,,3\n4,p2:cut 2,0.25,,,,,3\n"
    )
    results.write_text(results.read_text() + "5,p2:cut 3,nan,,,,,3\n")
    arguments = (results, "--scans", scans)
    assert "row 6: found {'Area': nan, 'Slice': 3.0}, expected a number" in problems(*arguments, "--unit", "cm")
    results.write_text("\n".join(results.read_text().splitlines()[:-1]))
    assert "a table of ImageJ states no unit, expected one. State its lengths' unit: --unit mm" in problems(*arguments)
    first, second, in_slice = table(*arguments, "--unit", "cm")
    assert (first["image"], first["tumour diameters_mm"]) == ("p1/ct.nii.gz", "24 x 11")
    assert (second["image"], second["line diameters_mm"]) == ("p2/ct.nii.gz", "15")
    assert (in_slice["slice"], in_slice["cut area_mm2"]) == ("2", "50 + 25")


def test_selections_of_imagej_that_it_numbers_are_lesions_the_first_one_too(scans: Path) -> None:
    results = scans.parent / "Results.csv"
    results.write_text(
        " ,Label,Feret,MinFeret\n"
        "1,p1:tumour,24,11\n2,p1:tumour-1,24.2,11.1\n3,p1:tumour-2,9,8\n4,p2:tumour,7,6\n5,p2:tumour,7,6\n"
    )
    rows = table(results, "--scans", scans, "--unit", "mm")
    assert [(row["image"], row["lesion"], row["tumour diameters_mm"]) for row in rows] == [
        ("p1/ct.nii.gz", "tumour", "24 x 11"),
        ("p1/ct.nii.gz", "tumour-1", "24.2 x 11.1"),
        ("p1/ct.nii.gz", "tumour-2", "9 x 8"),
        ("p2/ct.nii.gz", "", "7 x 6"),  # one selection, measured twice
    ]


@pytest.mark.parametrize(
    ("unit", "power", "expected"),
    [
        ("cm", LENGTH, 20.0),
        ("[in_i]", LENGTH, 50.8),
        ("µm", LENGTH, 0.002),
        ("mm²", AREA, 2.0),
        ("cm^2", AREA, 200.0),
        ("ml", VOLUME, 2000.0),
        ("cc", VOLUME, 2000.0),
        ("L", VOLUME, 2e6),
        ("cubic mm", VOLUME, 2.0),
        ("cm³", VOLUME, 2000.0),
    ],
)
def test_units(unit: str, power: int, expected: float) -> None:
    assert in_mm(2.0, unit, power) == pytest.approx(expected)


@pytest.mark.parametrize(("unit", "power"), [("mm", VOLUME), ("ml", LENGTH), ("px", LENGTH), ("%", VOLUME), ("", AREA)])
def test_other_units_are_refused(unit: str, power: int) -> None:
    with pytest.raises(ValueError, match="the unit"):
        in_mm(2.0, unit, power)
