"""Measurements in a cohort's folder become its sizes and clicks."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

import yaml

from tests.cohort.cohorts import save, write_images
from tests.cohort.test_init import init, phantom, prepared
from tests.cohort.test_init_dicom import ct
from tests.measurements import reports
from tests.measurements.formats.test_structured_report import images
from tests.measurements.markups import markup, write_markups
from tests.measurements.reports import MM, codes, group, size


def test_reports_of_series_are_sizes_and_clicks(tmp_path: Path) -> None:
    for patient in (1, 2, 3):
        series = tmp_path / "export" / f"p{patient}" / "ct"
        ct(series, patient)
        slices = images(series)
        line = reports.line_in_image(slices[2], [[3.0, 3.0], [8.0, 3.0]])
        groups = [group("tumour", [size(codes.SCT.LongAxis, 20, MM, [line]), size(codes.SCT.ShortAxis, 10, MM)])]
        reports.write_report(tmp_path / "export" / f"p{patient}" / "sr.dcm", slices, groups)
    result = init(tmp_path / "export", tmp_path / "out", "--folds", 2)
    assert result.exit_code == 0, result.output
    assert "sizes from measurements: 3 scans, 3 measurements: 3 of tumour" in result.output
    assert "left out" not in result.output
    content = yaml.safe_load((tmp_path / "out" / "datalist.json").read_text())
    assert content["size_source"].endswith("(columns tumour diameters_mm); DICOM SR")
    volume = 3.14159265 / 6 * 20 * 10 * 10
    assert [item["size"]["tumour"] for item in content["training"]] == [pytest.approx(volume)] * 3
    assert all(item["clicks"]["tumour"] == [[[-10, -10, -14], [-30, -10, -14]]] for item in content["training"])
    assert not list((tmp_path / "out").glob("*measurements*"))  # it names people's files
    assert (tmp_path / "out_measurements.csv").is_file()


def test_masks_come_first_unless_measurements_are_wanted(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for number, name in enumerate(write_images(scans, 3)):
        save(scans / name.replace(".nii.gz", "_mask_cube.nii.gz"), (phantom(number)[1] == 1).astype("uint8"))
        line = markup("Line", [[-10, -20, 10], [-20 - number, -20, 10]], "cube")
        write_markups(scans / name.replace(".nii.gz", ".mrk.json"), line)
    result = init(scans, tmp_path / "out", "--folds", 2)
    assert (
        "scan 00.mrk.json and 2 more. The masks give the sizes; to use these instead: --measurements" in result.output
    )
    content = prepared(scans, tmp_path / "measured", "--folds", 2, "--measurements")
    sizes = sorted(item["size"]["cube"] for item in content["training"])
    assert sizes == [pytest.approx(3.14159265 / 6 * d**3) for d in (10, 11, 12)]
    (scans / "scan 00.mrk.json").write_text("{")
    result = init(scans, tmp_path / "fault", "--folds", 2, "--measurements")
    assert result.exit_code == 1
    assert "scan 00.mrk.json: found no JSON" in result.output
    page = (tmp_path / "fault" / "report.html").read_text()
    assert "1 measurements were not used" in page
    assert "mrk.json" not in page
    none = init(write_images(tmp_path / "bare", 2) and tmp_path / "bare", tmp_path / "no", "--measurements")
    assert "has no file of measurements. Leave the option out." in none.output


def test_regions_of_slicer_reach_the_items(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for number, name in enumerate(write_images(scans, 4)):
        line = markup("Line", [[-10, -20, 10], [-20 - number, -20, 10]], "cube")
        box = markup("ROI", [], "R", center=[-20, -30, 10], size=[20, 30, 16])
        write_markups(scans / name.replace(".nii.gz", ".mrk.json"), line, box)
    result = init(scans, tmp_path / "out", "--folds", 2)
    assert "4 of cube, 4 regions of interest. They are in" in result.output
    content = yaml.safe_load((tmp_path / "out" / "datalist.json").read_text())
    assert [item["roi"] for item in content["training"]] == [{"box_mm": [[10, 15, 2], [30, 45, 18]]}] * 4
    assert yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())["use_roi"] is True
