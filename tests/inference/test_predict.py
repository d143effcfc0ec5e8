"""One command segments scans of any format, and says how far volumes are from those that are known."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
from nibabel.affines import apply_affine

from medsize.bundle.run.command import as_options
from medsize.inference.predict import predict
from medsize.inference.report.intervals import calibration_of
from medsize.pictures import COLOURS
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.masks import place_masks
from medsize.scans.scan import ScanKind
from medsize.sizes.table.read import read_size_table
from tests.conftest import BUNDLE_2D, FEW_WORDS
from tests.inference.bright_runs import write_bright_run

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
from tests.dicom import write_enhanced, write_series  # noqa: E402


@pytest.fixture(scope="module")
def run(command: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    options = ["--dataset_dir", phantoms, "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", 1]
    options += as_options(FEW_WORDS)
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
    (tmp_path / "sizes.csv").write_text("image,liver volume_ml,kidney volume_ml\none,100,0\n")

    arguments = ["predict", run, scans, "--output", "out", "--sizes", "sizes.csv"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "broken.nii" in result.stderr
    assert "Everything else is in out" in result.stderr
    assert result.stdout.startswith("python -m monai.bundle run")

    output = tmp_path / "out"
    assert "INFO" not in result.stdout + result.stderr
    assert "Engine run finished" in (output / "log.txt").read_text()
    masks = sorted(file.name for file in (output / "masks").glob("*.nii.gz"))
    assert masks == ["a_one_seg.nii.gz", "study_series_seg.nii.gz", "two_seg.nii.gz"]
    mask, scan = (nibabel.load(file) for file in (output / "masks" / "a_one_seg.nii.gz", first))
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)

    table = pd.read_csv(output / "predictions.csv").set_index(["image", "structure"])
    counted = np.bincount(np.asarray(mask.dataobj).astype(int).ravel(), minlength=4)[1]
    assert counted > 0
    liver = table.loc["a/one.nii.gz", "liver"]
    assert liver["volume_ml"] == pytest.approx(counted * 6 * 6 * 16 / 1000, rel=1e-4)
    assert liver["relative_size_error"] == pytest.approx(abs(liver["volume_ml"] - 100) / 100, rel=1e-4)
    assert np.isnan(table.loc["two.nrrd", "liver"]["low_ml"])
    labels = np.asarray(mask.dataobj).astype(int)
    ends = np.concatenate([labels.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    bounds = {s: v in ends for v, s in enumerate(("liver", "kidney", "lesion"), start=1)}
    assert table.loc["a/one.nii.gz", "lower_bound"].to_dict() == bounds
    records = json.loads((output / "predictions.json").read_text())
    told = {(r["image"], r["structure"]): r["lower_bound"] for r in records}
    assert told == table["lower_bound"].to_dict()
    page = (output / "predictions.html").read_text()
    assert len(re.findall("<td[^>]*>≥ ", page)) == table["lower_bound"].sum() > 0
    made = calibration_of(run)["liver"]
    ends = made.interval(liver["volume_ml"])
    assert liver[["interval_low_ml", "interval_high_ml"]].tolist() == pytest.approx(ends, rel=1e-4)
    assert liver["interval_level"] == made.level < 0.9  # few subjects
    assert 0 < liver["confidence"] <= 1
    assert f'<td data-value="{liver["confidence"]}">{liver["confidence"]:.2f}</td>' in page
    assert f"<li>liver: {int(100 * made.level)} %, calibrated by {made.subjects} subjects" in page
    assert f">{ends[0]:.4g} to {ends[1]:.4g}</td>" in page
    montage = matplotlib.image.imread(output / "montage.png")[..., :3]
    for colour in COLOURS[1:3]:  # the legend, below: kidney and lesion
        assert (np.abs(montage[-60:] - matplotlib.colors.to_rgb(colour)).max(axis=-1) < 0.1).any()
    flags = {scan["flag"]: scan for scan in json.loads((output / "masks" / "volumes.json").read_text())["scans"]}
    assert set(flags) == {"unchecked"}  # few scans of validation, to which nothing can be compared
    assert flags["unchecked"]["reasons"] == []
    assert "liver: the size" in flags["unchecked"]["not_checked"]
    assert set(table["flag"]) == set(pd.read_csv(output / "masks" / "volumes.csv")["flag"]) == {"unchecked"}
    assert "scans: 3 unchecked" in result.stdout
    validated = json.loads((run / "inference.json").read_text())["cohort_facts"]["scans"]
    reason = f"scan could be checked: the run was validated on {validated} scans, and a check needs 5."
    assert reason in result.stdout
    assert reason in page
    assert "unlike those of the validation" not in page


def test_a_network_of_regions_looks_where_clicks_or_the_run_on_whole_scans_say(
    command: Callable, tmp_path: Path
) -> None:
    (tmp_path / "located.json").write_text(json.dumps({"located_by": str(write_bright_run(tmp_path / "coarse"))}))
    closer = write_bright_run(tmp_path / "closer", (12, 12), tmp_path / "located.json")
    voxels = np.zeros((32, 32, 3), dtype=np.float32)
    voxels[4:12, 16:24, 1] = voxels[23:26, 5:9, 1] = 1
    affine = np.array([[-6.0, 0, 0, 90], [0, 6, 0, -80], [0, 0, 16, 5], [0, 0, 0, 1]])
    (tmp_path / "new").mkdir()
    for name in ("clicked", "located"):
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "new" / f"{name}.nii.gz")
    x, y, z = apply_affine(affine, [24, 6.5, 1])
    item = {"image": "clicked.nii.gz", "clicks": {"liver": [[-x, -y, z]], "background": [[0, 0, z]]}}
    listed = {"labels": {"0": "background", "1": "liver"}, "click_space": "LPS", "training": [item]}
    (tmp_path / "clicks.json").write_text(json.dumps(listed))
    arguments = ["predict", closer, tmp_path / "new", "--output", "out", "--data-list", tmp_path / "clicks.json"]
    told = command("medsize.cli", *arguments, cwd=tmp_path).stdout
    assert told.count("monai.bundle run") == 2
    seen = {name: nibabel.load(tmp_path / "out" / "masks" / f"{name}_seg.nii.gz") for name in ("clicked", "located")}
    small, large = np.zeros_like(voxels), np.zeros_like(voxels)
    small[23:26, 5:9, 1] = large[4:12, 16:24, 1] = 1
    np.testing.assert_array_equal(np.asarray(seen["clicked"].dataobj), small)
    np.testing.assert_array_equal(np.asarray(seen["located"].dataobj), large)
    np.testing.assert_allclose(seen["located"].affine, affine, atol=1e-4)


def test_a_scan_in_which_nothing_is_located_is_left_out_and_named(command: Callable, tmp_path: Path) -> None:
    """The window is 72 mm wide. What fits into it needs no region."""
    (tmp_path / "located.json").write_text(json.dumps({"located_by": str(write_bright_run(tmp_path / "coarse"))}))
    closer = write_bright_run(tmp_path / "closer", (12, 12), tmp_path / "located.json")
    (tmp_path / "new").mkdir()
    voxels = np.zeros((32, 32, 3), dtype=np.float32)
    voxels[4:12, 16:24, 1] = 1
    scans = {"bright": voxels, "dark": np.zeros_like(voxels), "small": np.zeros((8, 8, 3), dtype=np.float32)}
    for name, scan in scans.items():
        nibabel.save(nibabel.Nifti1Image(scan, np.diag([6.0, 6.0, 16.0, 1.0])), tmp_path / "new" / f"{name}.nii.gz")
    result = command("medsize.cli", "predict", closer, tmp_path / "new", "--output", "out", cwd=tmp_path, check=False)
    assert result.returncode == 1
    told = " ".join(result.stderr.split())
    assert f"dark.nii.gz: {tmp_path / 'coarse'}, which locates the structures, found none in this scan. State" in told
    assert "small: found no structure in it; the closer network sees all of it" in result.stdout
    masks = (tmp_path / "out" / "masks").glob("*.nii.gz")
    found = {file.name: int(np.asarray(nibabel.load(file).dataobj).sum()) for file in masks}
    assert found == {"bright_seg.nii.gz": 64, "small_seg.nii.gz": 0}
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv")["image"]) == {"bright.nii.gz", "small.nii.gz"}


@pytest.mark.parametrize("stated", [False, True])
def test_a_scan_that_stops_the_network_that_locates_is_left_out(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    (tmp_path / "located.json").write_text(json.dumps({"located_by": str(write_bright_run(tmp_path / "coarse"))}))
    closer = write_bright_run(tmp_path / "closer", (12, 12), tmp_path / "located.json")
    monkeypatch.setattr(subprocess, "run", Inference("phantom_003", only_located=True))
    table = None
    if stated:  # for all other scans: the only one that is left to locate is the one that stops
        rows = "".join(f"phantom_{n:03},0 0 40,1\n" for n in range(9) if n != 3)
        (tmp_path / "sizes.csv").write_text(f"image,roi_mm,liver volume_ml\n{rows}")
        table = read_size_table(tmp_path / "sizes.csv")
    (problem,) = predict(closer, phantoms / "images", tmp_path / "out", table)
    assert "phantom_003.nii.gz" in problem
    cause = "failed; its message is above. Mend it. Or" if stated else "stopped at this scan"
    assert f"coarse, which locates the structures, {cause}{':' * stated}" in problem
    assert "State its roi" in problem
    segmented = set(pd.read_csv(tmp_path / "out" / "predictions.csv")["image"])
    assert segmented == {file.name for file in (phantoms / "images").iterdir()} - {"phantom_003.nii.gz"}


def test_a_network_that_locates_nowhere_has_failed_though_a_region_is_stated(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "located.json").write_text(json.dumps({"located_by": str(write_bright_run(tmp_path / "coarse"))}))
    closer = write_bright_run(tmp_path / "closer", (12, 12), tmp_path / "located.json")
    monkeypatch.setattr(subprocess, "run", Inference("", only_located=True))
    (tmp_path / "sizes.csv").write_text("image,roi_mm,liver volume_ml\nphantom_000,0 0 40,1\n")
    table = read_size_table(tmp_path / "sizes.csv")
    problems = predict(closer, phantoms / "images", tmp_path / "out", table)
    assert sum("which locates the structures, failed; its message is above" in problem for problem in problems) == 8
    assert not any("stopped at this scan" in problem for problem in problems)


def test_scans_without_a_region_are_left_out_and_named(
    trained_with_roi: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    rows = "phantom_001,1,100,1 2 3,\nphantom_001,2,100,3 4 5,\nphantom_002,1,100,1 2 3,0 0 0 to 9 9 9\n"
    (tmp_path / "sizes.csv").write_text(f"image,lesion,liver volume_ml,liver click_mm,roi_mm\n{rows}")
    table = read_size_table(tmp_path / "sizes.csv")
    problems = predict(trained_with_roi, phantoms / "images", tmp_path / "out", table)
    assert len(problems) == 7
    assert all("found neither a roi nor clicks" in problem for problem in problems)
    assert json.loads((tmp_path / "out" / "regions.json").read_text())["training"] == [
        {"image": "phantom_001.nii.gz", "roi": {"center_mm": [2, 3, 4]}},
        {"image": "phantom_002.nii.gz", "roi": {"box_mm": [[0, 0, 0], [9, 9, 9]]}},
    ]


def test_runs_on_regions_without_any_and_folders_in_use_are_refused(
    trained_with_roi: Path, run: Path, phantoms: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"found none of the new scans. Name a data list .*--data-list"):
        predict(trained_with_roi, phantoms / "images", tmp_path / "out")
    with pytest.raises(ValueError, match=r"sees whole scans, so that .* has no effect"):
        predict(run, phantoms / "images", tmp_path / "out", data_list=phantoms / "datalist.json")
    (tmp_path / "other.json").write_text('{"labels": {}, "training": [{"image": "elsewhere.nii"}]}')
    with pytest.raises(ValueError, match=r"no item is of a scan, .* but the first one is 'elsewhere.nii'"):
        predict(trained_with_roi, phantoms / "images", tmp_path / "out", data_list=tmp_path / "other.json")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        predict(run, phantoms / "images", tmp_path)
    with pytest.raises(ValueError, match="is not a finished run"):
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


def test_a_dicom_seg_of_nifti_is_refused_before_anything_is_segmented(
    run: Path, phantoms: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"phantom_000.nii.gz and 8 more: found other files, expected DICOM .* Leave --dicom-seg out"
    ):
        predict(run, phantoms / "images", tmp_path / "out", dicom_seg=True)
    assert not (tmp_path / "out").exists()


def test_a_size_table_of_other_scans_is_refused(run: Path, phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("image,liver volume_ml\nimages/phantom_000.nii.gz,100\n")
    table = read_size_table(tmp_path / "sizes.csv")
    with pytest.raises(
        ValueError, match=r"no row is of a scan in .*such as 'phantom_000.nii.gz', but its first row is"
    ):
        predict(run, phantoms / "images", tmp_path / "out", table)
    assert not (tmp_path / "out").exists()


def test_sizes_that_nothing_is_compared_with_are_told(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    rows = "phantom_000.nii.gz,100,3\nelsewhere.nii.gz,90,\n"
    (tmp_path / "sizes.csv").write_text(f"image,Liver volume_ml,livr volume_ml\n{rows}")
    said: list[str] = []
    predict(run, phantoms / "images", tmp_path / "out", read_size_table(tmp_path / "sizes.csv"), report=said.append)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(["image", "structure"])
    assert table.loc[("phantom_000.nii.gz", "liver"), "low_ml"] == pytest.approx(100)
    told = "\n".join(said)
    assert "the network does not know 'livr': its sizes are left out. Did you mean 'liver'?" in told
    assert "row 3, column 'image' (A): there is no scan 'elsewhere.nii.gz'." in told


def test_a_size_table_of_other_structures_is_refused(run: Path, phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("image,heart volume_ml\nphantom_000.nii.gz,100\n")
    table = read_size_table(tmp_path / "sizes.csv")
    with pytest.raises(ValueError, match=r"found sizes of heart, expected some of liver, .*which the network knows"):
        predict(run, phantoms / "images", tmp_path / "out", table)


def test_fractions_of_scans_in_other_formats_than_nifti_are_compared(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    scan = SimpleITK.ReadImage(phantoms / "images" / "phantom_000.nii.gz")
    (tmp_path / "scans").mkdir()
    SimpleITK.WriteImage(scan, tmp_path / "scans" / "a.nrrd")
    SimpleITK.WriteImage(scan[:, :, 3:4], tmp_path / "scans" / "slice.nrrd")
    (tmp_path / "sizes.csv").write_text("image,liver fraction\na.nrrd,0.25\nslice.nrrd,0.25\n")
    assert predict(run, tmp_path / "scans", tmp_path / "out", read_size_table(tmp_path / "sizes.csv")) == []
    ml = 0.25 * math.prod(scan.GetSize()) * math.prod(scan.GetSpacing()) / 1000
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    of_liver = table[table["structure"] == "liver"].set_index("image")
    for image, slices in (("a.nrrd", scan.GetSize()[2]), ("slice.nrrd", 1)):
        expected = ml * slices / scan.GetSize()[2]
        assert of_liver.loc[image, ["low_ml", "high_ml"]].tolist() == pytest.approx([expected] * 2, rel=1e-4)


class Inference:
    """Replacement of MONAI's: it writes random masks with turned axes, in order, until a scan of a given name."""

    def __init__(self, bad: str, only_located: bool = False, classes: int = 4) -> None:
        self.bad = bad
        self.classes = classes
        self.only_located = only_located

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess:
        masks = Path(command[command.index("--output_dir") + 1])
        masks.mkdir(exist_ok=True)
        locates = "--dataset_dir" not in command
        if locates:
            files = [Path(file) for file in json.loads((masks.parent / "images.json").read_text())["images"]]
        else:
            files = sorted(Path(command[command.index("--dataset_dir") + 1]).iterdir())
        for file in files:
            if self.bad in file.name and (locates or not self.only_located):
                return subprocess.CompletedProcess(command, 9)
            scan = nibabel.load(file)
            labels = np.random.default_rng(0).integers(0, self.classes, scan.shape).astype(np.uint8)
            mask = nibabel.as_closest_canonical(nibabel.Nifti1Image(labels, scan.affine))
            nibabel.save(mask, masks / file.name.replace(".nii.gz", "_seg.nii.gz"))
        return subprocess.CompletedProcess(command, 0)


def test_dicom_scans_get_a_dicom_seg_each_and_faults_of_one_lose_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    scans = tmp_path / "new scans"
    write_series(scans / "Doe^Jane" / "CT größer")
    write_series(scans / "no study", lambda header, _: delattr(header, "StudyInstanceUID"))
    write_enhanced(scans, [9.0, 6.0, 3.0, 0.0])
    (problem,) = predict(run, scans, tmp_path / "out", dicom_seg=True)
    assert f"{scans}/no study (6 files from 0.dcm): no DICOM SEG can be written for it" in problem
    written = sorted(file.name for file in (tmp_path / "out" / "dicom_seg").iterdir())
    assert written == ["Doe^Jane_CT größer.dcm", "enhanced.dcm.dcm"]
    by_kind = {scan.kind: scan for scan in find_scans(scans) if "no study" not in scan.source}
    for name, kind in zip(written, (ScanKind.SERIES, ScanKind.MULTIFRAME), strict=True):
        image = read_scan(by_kind[kind])
        mask = SimpleITK.ReadImage(tmp_path / "out" / "masks" / f"{name.removesuffix('.dcm')}_seg.nii.gz")
        found = place_masks(tmp_path / "out" / "dicom_seg" / name, image, ["liver", "kidney", "lesion"]).labels
        placed = SimpleITK.Resample(mask, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(placed))
        assert SimpleITK.GetArrayFromImage(found).max() == 3
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv")["image"]) == {
        "Doe^Jane/CT größer",
        "no study",
        "enhanced.dcm",
    }


class SureInference(Inference):
    """Inference that says how sure it is of the scans that it has segmented since it was started."""

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess:
        result = super().__call__(command, **options)
        masks = Path(command[command.index("--output_dir") + 1])
        names = [file.name.removesuffix("_seg.nii.gz") for file in masks.glob("*_seg.nii.gz")]
        lines = [{"image": f"{name}.nii.gz", "structures": {"liver": {"confidence": 0.5}}} for name in names]
        (masks / "volumes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return result


@pytest.mark.parametrize("bad", ["phantom_000", "phantom_004"])
def test_a_scan_that_stops_the_inference_is_left_out(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr(subprocess, "run", SureInference(bad))
    (problem,) = predict(run, phantoms / "images", tmp_path / "out")
    assert f"{bad}.nii.gz: the inference stopped at this scan" in problem
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(table["image"]) == {file.name for file in (phantoms / "images").iterdir()} - {f"{bad}.nii.gz"}
    assert (table.loc[table["structure"] == "liver", "confidence"] == 0.5).all()  # before and after the stop


def test_an_inference_that_never_works_is_given_up(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference(""))
    with pytest.raises(subprocess.CalledProcessError):
        predict(run, phantoms / "images", tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_sizes_that_cannot_be_told_lose_nothing_else(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    rows = "phantom_000.nii.gz,,nowhere.nii.gz\nphantom_001.nii.gz,100,\n"
    (tmp_path / "sizes.csv").write_text(f"image,liver volume_ml,kidney mask\n{rows}")
    (problem,) = predict(run, phantoms / "images", tmp_path / "out", read_size_table(tmp_path / "sizes.csv"))
    assert "row 2, column 'kidney mask' (C): the mask cannot be measured" in problem
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(["image", "structure"])
    liver = table.loc[("phantom_001.nii.gz", "liver")]
    assert liver["relative_size_error"] == pytest.approx(abs(liver["volume_ml"] - 100) / 100, rel=1e-4)
    assert np.isnan(table.loc[("phantom_000.nii.gz", "kidney"), "relative_size_error"])
