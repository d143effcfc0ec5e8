"""Whole commands end on broken input with one clear message, a non-zero exit, and nothing half written."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pytest
import torch
import typer
from click.testing import Result
from monai.bundle import ConfigParser
from typer.testing import CliRunner

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from medsize.checks.regions import organ_run_problems  # noqa: E402
from medsize.cli import app  # noqa: E402
from medsize.data import write_phantom_cohort  # noqa: E402
from tests.conftest import BUNDLE_3D, PROJECT  # noqa: E402
from tests.dicom import write_series  # noqa: E402
from tests.scans.test_find_scans import FAULTS as SERIES_FAULTS  # noqa: E402
from tests.scans.test_image_file import FAULTS as IMAGE_FAULTS  # noqa: E402

INVENTORY = PROJECT / "docs" / "broken_inputs.md"


def refused(application: typer.Typer, *arguments: object) -> str:
    """Return a command's output on one line; it must fail, and not by a trace."""
    result: Result = CliRunner().invoke(application, list(map(str, arguments)))
    assert result.exit_code not in (0, None), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    # Refused options stand in a box, whose lines break anywhere.
    return re.sub(r"[\s│╭╮╰╯─]+", "", result.output)


def assert_said(message: str, said: str) -> None:
    assert re.sub(r"[\s│]+", "", message) in said


# Conversion: every broken scan that there is a test of reading for.


@pytest.mark.parametrize(("damage", "message"), IMAGE_FAULTS, ids=[message[:50] for _, message in IMAGE_FAULTS])
def test_conversion_of_a_broken_image_file(tmp_path: Path, damage: Callable, message: str) -> None:
    (tmp_path / "scans").mkdir()
    damage(tmp_path / "scans")
    assert_said(message, refused(app, "convert", tmp_path / "scans", "--output", tmp_path / "out"))
    assert list(tmp_path.glob("out/**/*.*")) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [fault for fault in SERIES_FAULTS if "localizer" not in fault[1]],
    ids=[message[:50] for _, message in SERIES_FAULTS if "localizer" not in message],
)
def test_conversion_of_a_broken_series(tmp_path: Path, damage: Callable, message: str) -> None:
    (tmp_path / "scans").mkdir()
    write_series(tmp_path / "scans")
    damage(tmp_path / "scans")
    assert_said(message, refused(app, "convert", tmp_path / "scans", "--output", tmp_path / "out"))
    assert list(tmp_path.glob("out/**/*.*")) == []


def test_conversion_of_a_zipped_cohort(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cohort.zip", "w") as archive:
        archive.writestr("../../evil.nii", "no scan")
    said = refused(app, "convert", tmp_path / "cohort.zip", "--output", tmp_path / "out")
    assert_said("cohort.zip is a file, expected a folder. Unpack an archive first.", said)
    (tmp_path / "scans").mkdir()
    (tmp_path / "cohort.zip").rename(tmp_path / "scans" / "cohort.zip")
    said = refused(app, "convert", tmp_path / "scans", "--output", tmp_path / "out")
    assert_said("cohort.zip: it is an archive, expected scans. Unpack it first", said)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("evil.nii"))


def test_conversion_of_a_folder_that_links_to_itself(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "again").symlink_to(tmp_path / "scans", target_is_directory=True)
    said = refused(app, "convert", tmp_path / "scans", "--output", tmp_path / "out")
    assert_said("it is the same folder as", said)
    assert not (tmp_path / "out").exists()


def test_conversion_keeps_sound_scans_beside_broken_ones_whatever_their_paths(tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "Ärztin ‘Q’ – CT größer")
    (tmp_path / "scans" / "a b").mkdir()
    (tmp_path / "scans" / "a b" / "ö.nii").write_bytes(b"")
    assert_said("ab/ö.nii:itcannotberead", refused(app, "convert", tmp_path / "scans", "--output", tmp_path / "out"))
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1
    assert len((tmp_path / "out" / "index.csv").read_text().splitlines()) == 2


# The check before a training: data lists and scans.


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    folder = tmp_path / "Kohorte größer"
    write_phantom_cohort(folder, num_scans=2, shape=(16, 16, 4), spacing=(6.0, 6.0, 16.0), num_folds=2, seed=1)
    return folder


def item(**changes: Any) -> Callable[[Path], None]:
    """Change the first item of the data list."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / "datalist.json").read_text())
        content["training"][0] |= changes
        (folder / "datalist.json").write_text(json.dumps(content))

    return damage


def items(**changes: Any) -> Callable[[Path], None]:
    """Change all items of the data list."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / "datalist.json").read_text())
        content["training"] = [{**item, **changes} for item in content["training"]]
        (folder / "datalist.json").write_text(json.dumps(content))

    return damage


def validation_alone(folder: Path) -> None:
    content = json.loads((folder / "datalist.json").read_text())
    (folder / "datalist.json").write_text(
        json.dumps({**content, "validation": content.pop("training"), "training": []})
    )


def top(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "datalist.json").read_text()) | changes
        (folder / "datalist.json").write_text(json.dumps(content))

    return damage


def scan(kind: str, change: Callable[[nibabel.Nifti1Image], nibabel.Nifti1Image]) -> Callable[[Path], None]:
    """Change the first scan, or its mask."""

    def damage(folder: Path) -> None:
        file = sorted((folder / kind).iterdir())[0]
        image = nibabel.load(file)
        nibabel.save(change(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)), file)

    return damage


def with_array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[nibabel.Nifti1Image], nibabel.Nifti1Image]:
    return lambda image: nibabel.Nifti1Image(change(np.asarray(image.dataobj)), image.affine)


def in_metres(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    image.header.set_xyzt_units("meter")
    return image


def nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array[0, 0, 0] = np.nan
    return array


def huge(folder: Path) -> None:
    file = sorted((folder / "images").iterdir())[0]
    content = bytearray(gzip.decompress(file.read_bytes()))
    struct.pack_into("<4h", content, 40, 3, 32767, 32767, 32767)
    file.write_bytes(gzip.compress(bytes(content)))


def cut(folder: Path) -> None:
    file = sorted((folder / "images").iterdir())[0]
    file.write_bytes(file.read_bytes()[:-200])


def repeat(folder: Path) -> None:
    content = json.loads((folder / "datalist.json").read_text())
    content["training"].append(content["training"][0] | {"fold": 1})
    (folder / "datalist.json").write_text(json.dumps(content))


CHECKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no data list": (lambda f: (f / "datalist.json").unlink(), "there is no such file"),
    "empty file": (lambda f: (f / "datalist.json").write_bytes(b""), "it is not JSON"),
    "cut off": (lambda f: (f / "datalist.json").write_text('{"training": ['), "it is not JSON"),
    "binary": (lambda f: (f / "datalist.json").write_bytes(b"\xff\xfe\x00x"), "it is not JSON"),
    "a list": (lambda f: (f / "datalist.json").write_text("[]"), "must be a JSON object"),
    "no items": (top(training=[]), "the list 'training' is empty"),
    "all validate": (items(fold=0), "there is no item to train on: all 2 are to validate on, by val_fold 0"),
    "none validates": (items(fold=None), "there is no item to validate on: found no folds, expected the fold 0"),
    "validation alone": (validation_alone, "by the section 'validation'. Add scans to 'training'."),
    "one class": (top(labels={"0": "background"}), "must number the classes 0, 1, …, with background 0"),
    "unknown unit": (top(size_unit="litres"), "size_unit is 'litres', expected 'mm3', 'mL' or 'fraction'"),
    "no unit": (top(size_unit=None), "the data list has no 'size_unit'"),
    "unit of other size": (top(size_unit="mL"), "above the field of view"),
    "missing scan": (item(image="images/none.nii.gz"), "none.nii.gz does not exist"),
    "path upwards": (item(image="../../etc/passwd"), "the image '../../etc/passwd' is outside the data set's folder"),
    "absolute path": (item(image="/etc/passwd"), "the image '/etc/passwd' is outside the data set's folder"),
    "mask outside": (item(label="images/../../x.nii"), "the label 'images/../../x.nii' is outside the data set's"),
    "unknown key": (item(szie={"liver": 1}), "there is no key 'szie'. Did you mean 'size'?"),
    "unknown structure": (
        item(size={"livr": 1}),
        "'livr', which is not a structure of 'labels'. Did you mean 'liver'?",
    ),
    "negative size": (item(size={"liver": -2}), "a size cannot be negative"),
    "NaN size": (item(size={"liver": float("nan")}), "it must be a finite number"),
    "low above high": (item(size={"liver": [3, 2]}), "the low end is above the high end"),
    "scan twice": (repeat, "is in more than one split"),
    "scan cut off": (cut, "the image cannot be read"),
    "huge header": (huge, "the image cannot be read: its header states 32767 × 32767 × 32767 voxels"),
    "NaN intensities": (scan("images", with_array(nan)), "1 intensities are NaN or infinite"),
    "metres": (scan("images", in_metres), "the image's spacing is in meter, expected mm"),
    "swapped axes": (scan("masks", with_array(lambda a: a.transpose(2, 0, 1))), "the label has the shape (4, 16, 16)"),
    "four axes": (scan("images", with_array(lambda a: np.stack([a, a], -1))), "expected three axes"),
    "foreign class": (scan("masks", with_array(lambda a: a + 9)), "expected the classes 0 to 3"),
    "empty mask": (scan("masks", with_array(np.zeros_like)), "the label is empty, but a size above 0 is stated"),
}


@pytest.mark.parametrize(("damage", "message"), CHECKS.values(), ids=CHECKS)
def test_check_of_a_broken_cohort(cohort: Path, tmp_path: Path, damage: Callable, message: str) -> None:
    damage(cohort)
    window = ["--spacing", "[6.0,6.0,16.0]", "--roi_size", "[16,16,8]"]
    options = ["--dataset_dir", cohort, "--output_dir", tmp_path / "run", "--supervision", "size+mask", *window]
    assert_said(message, refused(app, "check", BUNDLE_3D, *options))
    assert not (tmp_path / "run").exists()


# Prediction: runs, scans and size tables.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make the files of a finished run that predict reads before it starts MONAI."""
    folder = tmp_path / "run"
    folder.mkdir()
    parser = ConfigParser()
    parser.read_config(BUNDLE_3D / "configs" / "inference.yaml")
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
    settings = {"structures": ["liver"], "spacing": [1.0, 1.0, 1.0], "roi_size": [8, 8, 8]}
    (folder / "inference.json").write_text(json.dumps(settings))
    (folder / "summary.json").write_text(json.dumps({"roi": False, "bundle": str(BUNDLE_3D)}))
    return folder


def workbook(file: Path, *rows: list[Any]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(file)


def broken_workbook(file: Path) -> None:
    workbook(file, ["image", "liver volume_ml"], ["a.nii", 3])
    file.write_bytes(file.read_bytes()[:500])


HEADER = "image,liver volume_ml\n"
TABLES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "formula": (
        "s.xlsx",
        lambda f: workbook(f, ["image", "liver volume_ml"], ["a.nii", "=1+1"]),
        "row 2, column 'liver volume_ml' (B) holds the formula =1+1, whose result is not in the file",
    ),
    "broken workbook": ("s.xlsx", broken_workbook, "it cannot be read as XLSX"),
    "empty table": ("s.csv", lambda f: f.write_bytes(b""), "it is empty"),
    "no UTF-8": ("s.csv", lambda f: f.write_bytes((HEADER + "ä,1\n").encode("cp1252")), "it is not UTF-8 text"),
    "other format": ("s.ods", lambda f: f.write_bytes(b"x"), "a '.ods' file cannot be read as a table"),
    "unknown unit": ("s.csv", lambda f: f.write_text("image,liver volume_l\na.nii,1\n"), "has the unknown unit 'l'"),
    "unit in a cell": ("s.csv", lambda f: f.write_text(HEADER + "a.nii,1.2 L\n"), "is '1.2 L': it is not a number"),
    "percentage as fraction": (
        "s.csv",
        lambda f: f.write_text("image,liver fraction\na.nii,12\n"),
        "(B) is '12', expected 1 or less. Write",
    ),
    "row twice": ("s.csv", lambda f: f.write_text(HEADER + "a.nii,1\na.nii,2\n"), "row 2 is of the same scan, 'a.nii'"),
    "path upwards": ("s.csv", lambda f: f.write_text(HEADER + "../a.nii,1\n"), "it is outside the data set's folder"),
    "ambiguous number": ("s.csv", lambda f: f.write_text(HEADER + 'a.nii,"1,510"\n'), "it may mean 1510 or 1.5100"),
    "rows of other scans": ("s.csv", lambda f: f.write_text(HEADER + "b.nii,1\n"), "no row is of a scan in"),
}


@pytest.mark.parametrize(("name", "write", "message"), TABLES.values(), ids=TABLES)
def test_prediction_with_a_broken_size_table(
    run: Path, tmp_path: Path, name: str, write: Callable, message: str
) -> None:
    (tmp_path / "scans").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "scans" / "a.nii")
    write(tmp_path / name)
    arguments = [run, tmp_path / "scans", "--output", tmp_path / "out", "--sizes", tmp_path / name]
    assert_said(message, refused(app, "predict", *arguments))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("scan.nii", "scan.nii: it cannot be read as NIfTI"),
        ("scan.dcm", "scan.dcm: it cannot be read as DICOM (0 bytes)"),
        ("scan.zip", "scan.zip: it is an archive, expected scans. Unpack it first"),
        ("scan.txt", "there is no scan to segment"),
    ],
)
def test_prediction_of_nothing_that_can_be_read(run: Path, tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / file).write_bytes(b"")
    for scans in (tmp_path / "scans", tmp_path / "scans" / file):
        assert_said(message, refused(app, "predict", run, scans, "--output", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_prediction_of_nothing_leaves_what_the_user_has_in_its_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / ".git").mkdir(parents=True)
    broken = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), broken)
    broken.write_bytes(broken.read_bytes()[:400])
    assert_said("Is the file complete?", refused(app, "predict", run, broken, "--output", tmp_path / "out"))
    assert [file.name for file in (tmp_path / "out").rglob("*")] == [".git"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("inference.json", "{", "inference.json: found invalid JSON"),
        ("inference.json", "[1]", "inference.json: found [1], expected an object with keys. Copy it again"),
        ("inference.json", '{"structures": 3}', "inference.json: found 3 as structures, expected a list."),
        ("model.pt", "PK", "model.pt: found a file that is cut off, or no weights of torch. Copy it again."),
    ],
    ids=["cut off", "a list", "no structures", "weights cut off"],
)
def test_prediction_by_a_broken_run(run: Path, tmp_path: Path, name: str, content: str, message: str) -> None:
    (run / name).write_text(content)
    assert_said(message, refused(app, "predict", run, tmp_path, "--output", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_prediction_by_weights_of_another_network(run: Path, tmp_path: Path) -> None:
    torch.save({}, run / "model.pt")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), tmp_path / "scan.nii")
    told = "model.pt: found the weights of a network for liver, expected those of the UNet in network_def: "
    assert_said(told, refused(app, "predict", run, tmp_path / "scan.nii", "--output", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    labels = {"0": "background", "1": "liver"}
    listed = {"labels": labels, "training": [{"image": "scan.nii"}]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    assert_said(told, refused(app, "locate", run, tmp_path / "list.json", "--output", tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()
    assert told in "".join(organ_run_problems(run, ["liver"]))


def test_prediction_by_what_is_no_run(tmp_path: Path) -> None:
    said = refused(app, "predict", tmp_path, tmp_path, "--output", tmp_path / "out")
    assert_said("is not a finished run", said)
    assert not (tmp_path / "out").exists()


# The inventory.


def test_the_inventory_names_at_least_40_inputs_and_tests_that_exist() -> None:
    rows = [line for line in INVENTORY.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!input|---)", line)]
    inputs = [row.split("|")[1].strip() for row in rows]
    assert len(set(inputs)) == len(inputs) >= 40
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py::\w+", row), row
    for file, names in itertools.groupby(
        sorted(re.findall(r"`(tests/[\w/]+\.py)::(\w+)", "".join(rows))), lambda t: t[0]
    ):
        functions = re.findall(r"^def (\w+)", (PROJECT / file).read_text(), re.MULTILINE)
        assert {name for _, name in names} <= set(functions)
