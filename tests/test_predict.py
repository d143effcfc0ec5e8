"""One command segments scans of any format, and says how far volumes are from those that are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK

from medsize.predict import predict
from tests.conftest import BUNDLE_2D

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
from tests.dicom import write_series  # noqa: E402


@pytest.fixture(scope="module")
def run(command: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    options = ["--dataset_dir", phantoms, "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", 1]
    files = ["--bundle_root", BUNDLE_2D, "--config_file", BUNDLE_2D / "configs" / "train.yaml"]
    command("monai.bundle", "run", *files, *options, "--output_dir", folder, cwd=folder)
    return folder


def test_scans_of_several_formats_are_segmented_and_compared(
    command: Callable, run: Path, phantoms: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "new scans"
    (scans / "a").mkdir(parents=True)
    first, second = sorted((phantoms / "images").iterdir())[:2]
    shutil.copy(first, scans / "a" / "one.nii.gz")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(second)), scans / "two.nrrd")
    write_series(scans / "study" / "series")
    (scans / "broken.nii").write_bytes(b"no image")
    (tmp_path / "sizes.csv").write_text("image,liver volume_ml,kidney volume_ml\na/one.nii.gz,100,0\n")

    arguments = ["predict", run, scans, "--output", "out", "--sizes", "sizes.csv"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "broken.nii" in result.stderr
    assert result.stdout.startswith("python -m monai.bundle run")

    output = tmp_path / "out"
    masks = sorted(file.name for file in (output / "masks").glob("*.nii.gz"))
    assert masks == ["a_one_seg.nii.gz", "study_series_seg.nii.gz", "two_seg.nii.gz"]
    mask, scan = (nibabel.load(file) for file in (output / "masks" / "a_one_seg.nii.gz", first))
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)

    table = pd.read_csv(output / "predictions.csv").set_index(["image", "structure"])
    counted = np.bincount(np.asarray(mask.dataobj).astype(int).ravel(), minlength=4)[1]
    liver = table.loc["a/one.nii.gz", "liver"]
    assert liver["volume_ml"] == pytest.approx(counted * 6 * 6 * 16 / 1000, rel=1e-4)
    assert liver["relative_size_error"] == pytest.approx(abs(liver["volume_ml"] - 100) / 100, rel=1e-4)
    assert np.isnan(table.loc["two.nrrd", "liver"]["low_ml"])
    assert (output / "montage.png").read_bytes().startswith(b"\x89PNG")


def test_runs_with_regions_of_interest_and_folders_in_use_are_refused(
    trained_with_roi: Path, run: Path, phantoms: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cropped to regions of interest"):
        predict(trained_with_roi, phantoms / "images", tmp_path / "out")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        predict(run, phantoms / "images", tmp_path)
    with pytest.raises(ValueError, match="no finished run"):
        predict(tmp_path, phantoms / "images", tmp_path / "out")


@pytest.fixture
def trained_with_roi(run: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(run, tmp_path / "with_roi")
    summary = (copy / "summary.json").read_text()
    assert '"roi": false' in summary
    (copy / "summary.json").write_text(summary.replace('"roi": false', '"roi": true'))
    return copy


def test_a_folder_without_scans_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match="there is no scan to segment"):
        predict(run, tmp_path / "scans", tmp_path / "out")
    assert not (tmp_path / "out").exists()
