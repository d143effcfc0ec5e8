"""Tumours are measured as a reader would, and a data list takes these sizes in place of the contours'."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from data_prep import ibsi_sts  # noqa: E402
from medsize.cli import diameters  # noqa: E402
from medsize.cohort.sizes.diameters import reader_diameters  # noqa: E402
from medsize.data import load_cohort  # noqa: E402
from tests import dicom  # noqa: E402
from tests.data_prep.test_ibsi_sts import write_cohort  # noqa: E402
from tests.dicom import PIXEL_MM, SLICE_MM  # noqa: E402


@settings(max_examples=30)
@given(
    axes=st.lists(st.floats(3.0, 60.0), min_size=3, max_size=3),
    angle=st.floats(0.0, math.pi),
    spacing=st.tuples(st.floats(0.5, 6.0), st.floats(0.5, 6.0)),
)
def test_an_ellipsoid_has_its_own_diameters_wherever_it_lies(
    axes: list[float], angle: float, spacing: tuple[float, float]
) -> None:
    long, wide = sorted(axes[:2], reverse=True)
    slices = 9
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    around = np.linspace(0, 2 * math.pi, 181)[:-1]
    by_slice = []
    for z in (np.arange(slices) + 0.5) / slices * 2 - 1:
        circle = np.stack([long * np.cos(around), wide * np.sin(around)], axis=1) / 2 * math.sqrt(1 - z**2)
        by_slice.append([(circle @ turned.T + 17.0) / spacing])
    found = reader_diameters([[], [], *by_slice, []], (*spacing, axes[2] / slices))
    np.testing.assert_allclose(found, (long, wide, axes[2]), rtol=1e-2)


def test_parts_of_a_tumour_are_not_measured_across_the_gap() -> None:
    square, far = np.array([[0, 0], [4, 0], [4, 3], [0, 3]]), np.array([[50, 0], [52, 0], [52, 2], [50, 2]])
    found = reader_diameters([[square, far], [], [far]], (1.0, 1.0, 2.0))
    assert found == pytest.approx((5.0, 4.8, 6.0))  # a 3-4-5 triangle on either side of the diagonal: 2 · 3 · 4 / 5


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "sts")


def test_a_data_list_takes_the_readers_sizes_and_keeps_masks_for_evaluation(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diameters(cohort, tmp_path / "sizes.csv", structure=["tumour=GTV_Mass"])
    side, diagonal, height = 6 * PIXEL_MM, 6 * PIXEL_MM * math.sqrt(2), 3 * SLICE_MM
    rows = list(csv.DictReader((tmp_path / "sizes.csv").open()))
    assert [row["image"] for row in rows] == ["STS_001/PET/image", "STS_002/PET/image"]
    assert rows[0]["tumour diameters_mm"] == f"{diagonal:.1f} x {diagonal:.1f} x {height:.1f}"
    ellipsoid = math.pi / 6 * diagonal**2 * height
    error = ellipsoid / ((3 * side**2 - 2 * (2 * PIXEL_MM) ** 2) * SLICE_MM) - 1
    assert (
        f"2 scans, 2 structures. The ellipsoids' volumes are wrong by {error:.0%} (median)" in capsys.readouterr().out
    )

    ibsi_sts.main(cohort, tmp_path / "out", folds=2, sizes=tmp_path / "sizes.csv")
    (first, _) = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
    assert first["size"]["tumour"] == pytest.approx(ellipsoid, rel=0.01)
    assert "slice_size" not in first
    assert "label" in first
    loaded = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    assert all("label" not in item for item in loaded.training_items("size", 0, "volume"))


def test_faults_are_named_and_no_table_is_written(cohort: Path, tmp_path: Path) -> None:
    first = cohort / "STS_001" / "PET"
    series = pydicom.dcmread(first / "image" / "0.dcm").SeriesInstanceUID
    dicom.write_rtstruct(first / "mask" / "RS.dcm", "1.2.3", {"GTV_Mass": [dicom.square(1.5, 7.5, 2)]}, drawn_on=series)
    with pytest.raises(
        SystemExit, match=r"STS_001/PET/mask/RS.dcm: .*in the frame of reference 1.2.3[^$]*No table was"
    ):
        diameters(cohort, tmp_path / "sizes.csv", structure=["tumour=GTV_Mass"])
    assert not (tmp_path / "sizes.csv").exists()


def test_a_table_that_cannot_be_written_is_refused_without_a_traceback(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").mkdir()
    with pytest.raises(typer.BadParameter, match=r"sizes\.csv"):
        diameters(cohort, tmp_path / "sizes.csv", structure=["tumour=GTV_Mass"])


def test_all_regions_are_measured_under_their_own_names_unless_some_are_named(cohort: Path, tmp_path: Path) -> None:
    first, second = (cohort / patient / "PET" for patient in ("STS_001", "STS_002"))
    frame = pydicom.dcmread(second / "image" / "0.dcm").FrameOfReferenceUID
    dicom.write_rtstruct(second / "mask" / "RS.dcm", frame, {"GTV": [dicom.square(1.5, 7.5, 2)]})
    diameters(cohort, tmp_path / "sizes.csv")
    rows = list(csv.DictReader((tmp_path / "sizes.csv").open()))
    diagonal = f"{6 * PIXEL_MM * math.sqrt(2):.1f}"
    assert rows[0]["GTV_Mass_PET diameters_mm"] == f"{diagonal} x {diagonal} x {3 * SLICE_MM:.1f}"
    assert rows[1]["GTV diameters_mm"] == f"{diagonal} x {diagonal} x {SLICE_MM:.1f}"
    assert rows[0]["GTV diameters_mm"] == rows[1]["GTV_Mass_PET diameters_mm"] == ""  # unknown

    with pytest.raises(SystemExit) as caught:
        diameters(cohort, tmp_path / "other.csv", structure=["GTV_Mass"])
    assert f"{second}/image (6 files from 0.dcm): found 0 regions named 'GTV_Mass…'" in str(caught.value)
    assert f"{first}" not in str(caught.value)
    assert not (tmp_path / "other.csv").exists()


def test_a_folder_without_contours_is_refused(command: Callable, cohort: Path, tmp_path: Path) -> None:
    result = command("medsize", "diameters", cohort, "--output", "s.csv", "--modality", "MR", cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "found no scan with an RTSTRUCT" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "s.csv").exists()
