"""A folder becomes a training run: scans, masks and sizes are found, and what is wrong with them is named."""

from __future__ import annotations

import gzip
import html.parser
import json
import os
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import yaml
from monai.bundle import ConfigParser
from typer.testing import CliRunner, Result

from medsize.cli import app
from medsize.cohort.conversion import scans as conversion
from medsize.cohort.sizes import items as sized_items
from medsize.data import load_cohort
from medsize.files import alone_in
from medsize.scans import fact_cache
from medsize.scans.image_file import write_nifti
from medsize.sizes.mask_sizes import describe_mask
from tests.cohort.cohorts import SHAPE, SPACING, phantom, save, volumes_ml, write_images
from tests.conftest import BUNDLE_2D, BUNDLE_3D


def init(folder: Path, output: Path, *options: object) -> Result:
    arguments = ["init", str(folder), "--output", str(output), *map(str, options)]
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, arguments)


def prepared(folder: Path, output: Path, *options: object) -> dict[str, Any]:
    """The data list that is written."""
    result = init(folder, output, *options)
    assert result.exit_code == 0, result.output
    return json.loads((output / "datalist.json").read_text())


def write_table(file: Path, header: str, rows: list[str]) -> Path:
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def sizes_in_ml(content: dict[str, Any]) -> list[list[float]]:
    """Sorted, for codes hide which scan is which."""
    return sorted([value / 1000 for value in item["size"].values()] for item in content["training"])


def test_from_a_folder_and_a_table_to_a_checked_run(command: Callable, tmp_path: Path) -> None:
    names = write_images(tmp_path / "my scans", 6, "Übung {:02d}.nii.gz")
    rows = [f'{name.removesuffix(".nii.gz")},"{volumes_ml(i)[0]}",10' for i, name in enumerate(names)]
    write_table(tmp_path / "sizes.csv", "image,cube volume_ml,cube error_percent", rows)
    said = command("medsize.cli", "init", "my scans", "--sizes", "sizes.csv", "--output", "out", cwd=tmp_path).stdout
    next_commands = [line.strip() for line in said.partition("To go on:\n")[2].splitlines()]
    assert next_commands[0].startswith(f"medsize fit {tmp_path / 'out'} ")
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert "\n".join(next_commands) in page
    assert "masks are for evaluation" not in page + (tmp_path / "out" / "cohort.yaml").read_text()
    cohort = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    assert cohort.class_names == ("background", "cube")
    sizes = sorted(tuple(item["volume_mm3"].flatten().tolist()) for item in cohort.items)
    assert sizes == [pytest.approx((900 * v, 1100 * v)) for v in sorted(volumes_ml(i)[0] for i in range(6))]
    overlay = tmp_path / "out" / "cohort.yaml"
    arguments = ["--config", "train.yaml", "--config", overlay, "--output_dir", tmp_path / "run"]
    checked = command("medsize.cli", "check", BUNDLE_2D, *arguments, cwd=tmp_path)
    assert "Nothing was found that would stop this run." in checked.stdout
    assert not (tmp_path / "run").exists()


def test_the_only_table_in_the_folder_of_scans_without_masks_needs_no_option(tmp_path: Path) -> None:
    rows = [f"{name},{20 + n}" for n, name in enumerate(write_images(tmp_path / "scans", 4))]
    file = write_table(tmp_path / "scans" / "sizes.csv", "image,liver mL", rows)
    result = init(tmp_path / "scans", tmp_path / "out")
    assert f"sizes from the only table in the folder: {file}" in result.output
    assert len(json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]) == 4
    file.with_name("patients.tsv").write_text("patient\tage\n1\t60\n")
    result = init(tmp_path / "scans", tmp_path / "two")
    assert "found no mask, but the tables patients.tsv, sizes.csv, expected one" in result.output
    assert not (tmp_path / "two").exists()


def test_a_table_beside_masks_is_named_but_not_used(tmp_path: Path) -> None:
    for number in range(2):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    write_table(tmp_path / "scans" / "sizes.csv", "image,spleen mL", [])
    result = init(tmp_path / "scans", tmp_path / "out")
    assert result.exit_code == 0
    assert "found sizes.csv in the folder. The masks give the sizes; to use a table instead: --sizes" in result.output
    assert "spleen" not in (tmp_path / "out" / "datalist.json").read_text()


def test_no_training_is_proposed_without_scans_to_train_on(tmp_path: Path) -> None:
    (name,) = write_images(tmp_path / "scans", 1)
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", [f"{name},{volumes_ml(0)[0]}"])
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert result.exit_code == 1
    assert "none is left to train on" in result.output
    assert "datalist.json with 1 scan of 1 subject, cohort.yaml, report.html.\n" in result.output
    assert "medsize fit" not in result.output + (tmp_path / "out" / "report.html").read_text()


def test_clicks_of_some_scans_in_a_table_reach_the_training(command: Callable, tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 6)
    clicked = ["14 18 10", "14 18 10", "", "", "", ""]
    rows = [f"{name},{volumes_ml(i)[0]},{click}" for i, (name, click) in enumerate(zip(names, clicked, strict=True))]
    write_table(tmp_path / "sizes.csv", "image,cube volume_ml,cube click_mm", rows)
    output = tmp_path / "out"
    listed = prepared(tmp_path / "scans", output, "--sizes", tmp_path / "sizes.csv")["training"]
    assert sorted(str(item.get("clicks")) for item in listed) == ["None"] * 4 + ["{'cube': [[14.0, 18.0, 10.0]]}"] * 2
    overlay = yaml.safe_load((output / "cohort.yaml").read_text())
    assert overlay["supervision"] == "size+scribble"
    section = (output / "report.html").read_text().partition('id="clicks"')[2].partition("<h2")[0]
    assert re.findall(r'alt="Slice (\d) of \w+ with the clicks of (\w+)"', section) == [("2", "cube")] * 2
    plan = command("medsize.cli", "fit", output, "--plan-only", "--output-dir", "fit", cwd=tmp_path).stdout
    assert "2 have clicks or scribbles" in " ".join(plan.split())


def test_regions_in_a_table_reach_the_run(tmp_path: Path) -> None:
    """A box of 16 × 24 × 40 mm in each scan: the run crops to it. With one outside of its scan, init says so."""
    names = write_images(tmp_path / "scans", 6)
    boxes = ["4 8 0 to 20 32 40"] * 6
    rows = [f"{name},{volumes_ml(i)[0]},{box}" for i, (name, box) in enumerate(zip(names, boxes, strict=True))]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml,roi_mm", rows)
    listed = prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)["training"]
    assert [item["roi"] for item in listed] == [{"box_mm": [[4, 8, 0], [20, 32, 40]]}] * 6
    overlay = yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())
    assert overlay["use_roi"] is True

    rows[0] = rows[0].replace("4 8 0 to 20 32 40", "-4 -8 0 to -20 -32 40")
    result = init(
        tmp_path / "scans", tmp_path / "out", "--sizes", write_table(table, "image,cube volume_ml,roi_mm", rows)
    )
    assert result.exit_code == 1
    assert "the centre of its roi, [-12.0, -20.0, 20.0] mm, lies outside the image. It lies inside as LPS" in " ".join(
        result.output.split()
    )


def label_maps_beside(folder: Path, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    save(folder / f"p{number}" / f"p{number}_frame1.nii.gz", image)
    save(folder / f"p{number}" / f"p{number}_frame1_gt.nii.gz", mask)


def decathlon(folder: Path, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    save(folder / "imagesTr" / f"case_{number}_0000.nii.gz", image)
    save(folder / "labelsTr" / f"case_{number}.nii.gz", mask)
    labels = {"background": 0, "liver": 1, "kidney": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def file_per_structure(folder: Path, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    save(folder / f"s{number}" / "ct.nii.gz", image)
    for index, name in enumerate(("liver", "kidney"), start=1):
        save(folder / f"s{number}" / "segmentations" / f"{name}.nii.gz", (mask == index).astype(np.uint8))


def nrrd_in_folders(folder: Path, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, voxels in (("images", image), ("masks", mask)):
        made = SimpleITK.GetImageFromArray(voxels.T)
        made.SetSpacing(SPACING)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(made, folder / kind / f"{number}.{'mha' if kind == 'masks' else 'nrrd'}")


@pytest.mark.parametrize(
    ("write", "options", "structures"),
    [
        (label_maps_beside, (), ["structure_1", "structure_2"]),
        (label_maps_beside, ("--structure", "left", "--structure", "right"), ["left", "right"]),
        (decathlon, (), ["liver", "kidney"]),
        (file_per_structure, ("--structure", "liver", "--structure", "kidney"), ["liver", "kidney"]),
        (file_per_structure, (), ["kidney", "liver"]),
        (nrrd_in_folders, (), ["structure_1", "structure_2"]),
    ],
    ids=["label maps", "named label maps", "Decathlon", "a file per structure", "as found", "NRRD and MetaImage"],
)
def test_masks_are_found_and_measured(
    tmp_path: Path, write: Callable, options: tuple[str, ...], structures: list[str]
) -> None:
    for number in range(4):
        write(tmp_path / "scans", number, *phantom(number))
    content = prepared(tmp_path / "scans", tmp_path / "out", *options)
    assert list(content["labels"].values()) == ["background", *structures]
    order = [0, 1] if structures != ["kidney", "liver"] else [1, 0]
    expected = sorted([volumes_ml(number)[i] for i in order] for number in range(4))
    np.testing.assert_allclose(sizes_in_ml(content), expected)
    assert all(len(item["slice_size"][structures[0]]) == SHAPE[2] for item in content["training"])
    assert len({item["subject"] for item in content["training"]}) == 4


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"labels": ', "JSONDecodeError: "),
        ('{"name": "hearts"}', "KeyError: 'labels'"),
        ('{"labels": ["liver", "kidney"]}', "AttributeError: "),
        ('{"labels": {"background": 0, "whole": [1, 2]}}', "TypeError: "),
        ('{"labels": {"background": 0, "liver": 1, "kidney": 3}}', "their values are 0, 1, 3"),
        ('{"labels": {"background": 0, "liver": 1, "kidney": 1}}', "their values are 0, 1, 1"),
        ('{"labels": {"0": "background"}}', "their values are 0"),
    ],
    ids=["broken", "no labels", "a list", "regions", "gap", "twice", "background alone"],
)
def test_labels_that_cannot_be_used_are_refused_unless_structures_are_named(
    tmp_path: Path, content: str, found: str
) -> None:
    for number in range(2):
        decathlon(tmp_path / "scans", number, *phantom(number))
    (tmp_path / "scans" / "dataset.json").write_text(content)
    result = init(tmp_path / "scans", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'scans' / 'dataset.json'}: found no usable labels ({found}" in result.output
    assert "--structure NAME" in result.output
    assert not (tmp_path / "out").exists()
    prepared(tmp_path / "scans", tmp_path / "out", "--structure", "liver", "--structure", "kidney")


def test_label_maps_have_the_order_of_their_own_labels_not_that_of_a_table(tmp_path: Path) -> None:
    for number in range(3):
        decathlon(tmp_path / "scans", number, *phantom(number))
    rows = [f"case_{number}_0000,1,2" for number in range(3)]
    table = write_table(tmp_path / "sizes.csv", "image,kidney volume_ml,liver volume_ml", rows)
    content = prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert list(content["labels"].values()) == ["background", "liver", "kidney"]
    write_table(table, "image,kidney volume_ml", [f"case_{number}_0000,1" for number in range(3)])
    result = init(tmp_path / "scans", tmp_path / "out2", "--sizes", table)
    assert "dataset.json: found the structures liver, kidney, expected those of" in result.output
    assert not (tmp_path / "out2").exists()
    named = ("--structure", "liver", "--structure", "kidney")
    content = prepared(tmp_path / "scans", tmp_path / "out2", "--sizes", table, *named)
    assert [item["size"] for item in content["training"]] == [{"kidney": 1000.0}] * 3


def test_a_row_of_a_scan_whose_mask_cannot_be_measured_loses_no_other_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        decathlon(tmp_path / "scans", number, *phantom(number))
    table = write_table(
        tmp_path / "sizes.csv", "image,liver volume_ml,kidney volume_ml", [f"case_{i}_0000,1,2" for i in range(3)]
    )
    measured: list[Path] = []

    def describe(mask: Path, class_names: list[str], ignored: int | None = None) -> dict[str, Any]:
        measured.append(mask)
        if len(measured) == 1:
            raise OSError("truncated")
        return describe_mask(mask, class_names, ignored=ignored)

    monkeypatch.setattr(sized_items, "describe_mask", describe)
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert "1 problem" in result.output
    assert "the mask cannot be measured: truncated" in result.output
    assert sizes_in_ml(json.loads((tmp_path / "out" / "datalist.json").read_text())) == [[1.0, 2.0]] * 2


def test_scans_in_a_folder_of_few_are_of_one_subject_and_fold(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / "scans" / f"patient{number // 2}" / f"frame{number}.nii.gz", phantom(number)[0])
        save(tmp_path / "scans" / f"patient{number // 2}" / f"frame{number}_mask.nii.gz", phantom(number)[1])
    items = prepared(tmp_path / "scans", tmp_path / "out", "--folds", 2)["training"]
    assert len({item["subject"] for item in items}) == 4
    assert len({(item["subject"], item["fold"]) for item in items}) == 4
    assert sorted(item["fold"] for item in items) == [0] * 4 + [1] * 4


def test_a_second_init_at_once_is_told_of_the_first(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 3)
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", [f"scan 0{i},{i + 1}" for i in range(3)])
    with alone_in(tmp_path / "out"):
        result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert result.exit_code != 0
    assert f"{tmp_path / 'out'}: another process writes to it. Wait for its end, or name another" in result.output
    assert not (tmp_path / "out").exists()
    prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_second_run_reads_and_writes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    prepared(tmp_path / "scans", tmp_path / "out")
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.nii.gz")}
    first = (tmp_path / "out" / "datalist.json").read_text()
    fact_cache._known.clear()  # as a new process
    loaded: list[str] = []
    original = nibabel.load
    monkeypatch.setattr(nibabel, "load", lambda file, *a, **o: (loaded.append(str(file)), original(file, *a, **o))[1])
    monkeypatch.setattr("medsize.cohort.init.write_report", lambda file, *a, **o: file)  # it shows pictures
    prepared(tmp_path / "scans", tmp_path / "out")
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert (tmp_path / "out" / "datalist.json").read_text() == first
    assert loaded == []
    label_maps_beside(tmp_path / "scans", 1, *phantom(5))
    assert prepared(tmp_path / "scans", tmp_path / "out") != json.loads(first)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    written: list[Path] = []

    def write_then_die(image: SimpleITK.Image, file: Path) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(file)
        write_nifti(image, file)

    monkeypatch.setattr(conversion, "write_nifti", write_then_die)
    assert init(tmp_path / "scans", tmp_path / "out").exit_code != 0
    assert not (tmp_path / "out" / "datalist.json").exists()
    before = {file: file.stat().st_mtime_ns for file in written[:2]}  # one scan and its mask are whole
    monkeypatch.setattr(conversion, "write_nifti", write_nifti)
    result = init(tmp_path / "scans", tmp_path / "out")
    assert "converted 3 scans, 1 of them by an earlier call" in result.output
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_one_scan_at_a_time_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "scans", 5)
    images: list[weakref.ref[SimpleITK.Image]] = []
    most: list[int] = []
    original = conversion.read_scan

    def read(*arguments: Any) -> SimpleITK.Image:
        image = original(*arguments)
        images.append(weakref.ref(image))
        most.append(sum(reference() is not None for reference in images))
        return image

    monkeypatch.setattr(conversion, "read_scan", read)
    table = write_table(
        tmp_path / "s.csv", "image,cube volume_ml", [f"scan {i:02d},{volumes_ml(i)[0]}" for i in range(5)]
    )
    prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert len(most) == 5
    assert max(most) <= 2  # the last one until the next has come


def test_all_that_is_wrong_is_listed_and_the_rest_prepared(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    names = write_images(scans, 5)
    (scans / names[1]).write_bytes(b"no scan")
    save(scans / "masks" / "scan 77.nii.gz", phantom(0)[1])
    bad = phantom(2)[0]
    bad[0, 0, 0] = np.nan
    save(scans / names[2], bad)
    rows = [f"{name},{volumes_ml(i)[0]}" for i, name in enumerate(names)][:4]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", rows)
    result = init(scans, tmp_path / "out", "--sizes", table)
    assert result.exit_code == 1
    assert "4 problems" in result.output
    assert f"{scans / names[1]}: it cannot be read as NIfTI" in result.output
    assert "scan 77.nii.gz: found 5 scans that this mask may belong to, expected one" in result.output
    assert f"{scans / names[2]}: 1 intensities are NaN" in result.output
    assert re.search(rf"{names[4]} \(images/.*\): found no size: it has no row and no mask", result.output)
    assert len(json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('class="problem"') == 4
    assert "scan 0" not in page  # names of files may tell who it is
    assert "scan 77" not in page
    assert "look it up in out_names.csv" in " ".join(page.split())
    private = tmp_path / "out_names.csv"  # tells what the codes mean, to its owner alone
    assert private.stat().st_mode & 0o777 == 0o600
    told = dict(line.split(",", 1) for line in private.read_text().splitlines())
    for fault, name in (("it cannot be read", names[1]), ("1 intensities are NaN", names[2])):
        assert told[re.findall(rf"source ([0-9a-f]{{8}}): {fault}", page)[0]] == name
    assert told[re.findall(r"images/(\w+)\.nii\.gz: found no size", page)[0]] == names[4]


def test_faults_of_cells_come_with_rows_without_a_scan_and_scans_without_a_row(tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 3)
    rows = [f"{names[0]},many", f"{names[1]},2", "scan 88,3"]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", rows)
    said = init(tmp_path / "scans", tmp_path / "out", "--sizes", table).output
    assert "3 problems" in said
    assert "row 2, column 'cube volume_ml' (B)" in said
    assert "row 4, column 'image' (A): there is no scan 'scan 88'" in said
    assert f"{names[2]}: found no size: it has no row and no mask" in said


def test_a_table_of_many_more_scans_names_the_first_and_proposes_no_other_number(tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 2)
    rows = [f"{name},2" for name in names] + [f"scan {number}.nii.gz,3" for number in range(70, 90)]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", rows)
    said = init(tmp_path / "scans", tmp_path / "out", "--sizes", table).output
    assert "6 problems" in said
    assert "15 more rows are of scans that are not there. Add these, or delete the rows." in said
    assert "there is no scan 'scan 74.nii.gz'. Correct the path, or delete the row." in said
    assert "Did you mean" not in said


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("image,cube volume_ml", ["scan 98,1", "scan 99,2"], "row 3, column 'image' (A): there is no scan 'scan 99'"),
        (
            "image,cube volume_ml",
            ["98,1", "99,2"],
            "no row fits a scan. The scans are 'deep/a.nii.gz', 'deep/b.nii.gz', 'scan 00.nii.gz' and 1 more.",
        ),
        ("image,cube volume_ml", ["scan 00,1", "scan 00.nii.gz,2"], "'scan 00' is the same scan"),
        ("image,cube volume_ml", ["deep,1"], "2 scans fit, 'deep/a.nii.gz', 'deep/b.nii.gz'. Write the path of one."),
        ("image,cube volume_ml", ["scan 00,-1"], "expected 0 or more"),
        ("image,cube volume", ["scan 00,1"], "names no unit"),
        ("image,cube fraction", ["scan 00,4"], "expected 1 or less"),
    ],
)
def test_a_table_that_fits_no_scan_or_a_row_that_fits_several_stops_it_before_anything_is_written(
    tmp_path: Path, header: str, rows: list[str], message: str
) -> None:
    write_images(tmp_path / "scans", 2)
    write_images(tmp_path / "scans" / "deep", 2, "{}.nii.gz")
    for number, name in enumerate("ab"):
        (tmp_path / "scans" / "deep" / f"{number}.nii.gz").rename(tmp_path / "scans" / "deep" / f"{name}.nii.gz")
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", write_table(tmp_path / "sizes.csv", header, rows))
    assert result.exit_code == 1
    assert message in result.output
    assert "No data list was written." in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "found no mask, expected masks or a size table. Give a size table: --sizes FILE."),
        (("--subject-pattern", "("), "unterminated"),
        (("--bundle", "."), "is not a bundle of medsize"),
        (("--window", "250", "-175"), "the window is 250 to -175, expected the lower end first"),
        (
            ("--modality", "XX"),
            "found no scan, expected DICOM, NIfTI, NRRD or MetaImage files, or pictures. Check folder and",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    write_images(tmp_path / "scans", 2)
    result = init(tmp_path / "scans", tmp_path / "out", *options)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "out").exists()
    assert "within" in init(tmp_path / "scans", tmp_path / "scans" / "out").output


def test_masks_of_a_cohort_with_a_table_are_for_evaluation(tmp_path: Path) -> None:
    for number in range(4):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    rows = [f"p{number},{volumes_ml(number)[0] * 1.2},0" for number in range(3)]
    table = write_table(tmp_path / "sizes.csv", "image,first volume_ml,second volume_ml", rows)
    items = prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)["training"]
    assert all("label" in item for item in items)
    stated = [item for item in items if "slice_size" not in item]
    assert sorted(item["size"]["first"] / 1000 for item in stated) == pytest.approx(
        sorted(volumes_ml(number)[0] * 1.2 for number in range(3))
    )
    (measured,) = (item for item in items if "slice_size" in item)  # without a row
    assert measured["size"]["second"] / 1000 == volumes_ml(3)[1]


def test_a_scan_of_unknown_sizes_is_left_out_without_a_fault(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 4)
    rows = ["scan 00,1.5", "scan 01,1.5", "scan 02,", "scan 03,0"]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", rows)
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert result.exit_code == 0, result.output
    assert "left out: 1 scans whose sizes are all unknown" in result.output
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert sizes_in_ml(content) == [[0.0], [1.5], [1.5]]


@pytest.mark.parametrize(("shared", "factor", "is_told"), [("", 1, True), ("1500", 1, False), ("", 5, False)])
def test_two_names_that_may_be_of_one_structure_are_remarked(
    tmp_path: Path, shared: str, factor: float, is_told: bool
) -> None:
    names = write_images(tmp_path / "in", 4)
    sizes = [("14", shared), ("16", ""), ("", f"{15 * factor}"), ("", f"{13 * factor}")]
    rows = [f"{name},{liver},{leber}" for name, (liver, leber) in zip(names, sizes, strict=True)]
    table = write_table(tmp_path / "sizes.csv", "image,liver volume_ml,Leber volume_ml", rows)
    result = init(tmp_path / "in", tmp_path / "out", "--sizes", table, "--folds", 2)
    doubt = "'liver' is known in 2 scans and 'Leber' is known in 2 scans, never both in one, and their sizes are alike"
    assert (doubt in result.output) == is_told
    assert (doubt in html.unescape((tmp_path / "out" / "report.html").read_text())) == is_told


def test_a_table_without_any_size_is_refused(tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 2)
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", [f"{name}," for name in names])
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    assert result.exit_code == 1
    assert "1 problem\n" in result.output
    assert f"{table}: found no size of any scan here, expected some. Fill in sizes" in result.output


def test_options_without_effect_are_told_of(tmp_path: Path) -> None:
    for number in range(4):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    (tmp_path / "scans" / "p3" / "p3_frame1_gt.nii.gz").unlink()
    rows = [f"p{number},{volumes_ml(number)[0]},{volumes_ml(number)[1]}" for number in range(4)]
    table = write_table(tmp_path / "sizes.csv", "image,first volume_ml,second volume_ml", rows)
    told = "no scan is PET by its header, so that --suv changed none", "1 of 4 scans have no mask to crop around"
    plain = init(tmp_path / "scans", tmp_path / "plain", "--sizes", table)
    assert not [line for line in told if line in plain.output]
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table, "--suv", "--roi-margin-mm", 5)
    assert result.exit_code == 0, result.output
    assert [line for line in told if line in result.output] == [*told]
    page = (tmp_path / "out" / "report.html").read_text()
    assert [line for line in told if line in page] == [*told]


class Tables(html.parser.HTMLParser):
    """Cells of a page's tables by the id of the heading above, and the sources of its pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.pictures: list[dict[str, str]] = []
        self.headings: list[str] = []
        self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        assert "http" not in "".join(given.values())
        if tag == "h2":
            self.headings.append(given["id"])
        elif tag == "tr":
            self.tables.setdefault(self.headings[-1], []).append([])
        elif tag in ("td", "th"):
            self.tables[self.headings[-1]][-1].append("")
        elif tag == "img":
            self.pictures.append(given)
        self.in_cell = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = False

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.tables[self.headings[-1]][-1][-1] += data


def test_the_report_holds_the_cohort_s_figures_and_needs_nothing_else(tmp_path: Path) -> None:
    for number in range(6):
        label_maps_beside(tmp_path / "scans", number, *phantom(number))
    content = prepared(tmp_path / "scans", tmp_path / "out", "--folds", 3, "--structure", "<b>", "--structure", "two")
    text = (tmp_path / "out" / "report.html").read_text()
    page = Tables(text)
    assert "6 scans of 6 subjects; 6 have a mask. Structures: &lt;b&gt;, two." in text
    first = [volumes_ml(number)[0] for number in range(6)]
    figures = [f"{value:.4g}" for value in (min(first), np.median(first), max(first))]
    assert page.tables["sizes"][1] == ["<b>", "6", "0", "0", *figures]
    assert page.tables["spacing"][1:] == [[axis, *[f"{s:.4g}"] * 3] for axis, s in zip("xyz", SPACING, strict=True)]
    assert page.tables["shape"][1:] == [[axis, *[str(n)] * 3] for axis, n in zip("xyz", SHAPE, strict=True)]
    assert [row[:3] for row in page.tables["folds"][1:]] == [[str(fold), "2", "2"] for fold in range(3)]
    listed = {row[0]: row for row in page.tables["items"][1:]}
    for item in content["training"]:
        row = listed[Path(item["image"]).name.removesuffix(".nii.gz")]
        volumes = [f"{value / 1000:.4g}" for value in item["size"].values()]
        assert row[1:] == [item["subject"], str(item["fold"]), "32 × 32 × 6", "2 × 2 × 5", *volumes]
    assert len(page.pictures) == 6 + 3
    assert all(picture["src"].startswith("data:image/") and picture["alt"] for picture in page.pictures)
    overlay = yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())
    shown = {row[0]: json.loads(row[1]) for row in page.tables["settings"][1:]}
    assert shown == {key: value for key, value in overlay.items() if key not in ("dataset_dir", "data_list")}


@pytest.mark.parametrize(("bundle", "dimensions"), [(BUNDLE_2D, 2), (BUNDLE_3D, 3)], ids=["2D", "3D"])
def test_the_overlay_has_keys_of_its_bundle_and_a_window_that_holds_the_scans(
    tmp_path: Path, bundle: Path, dimensions: int
) -> None:
    for number in range(3):
        label_maps_beside(tmp_path / "scans", number, phantom(number)[0] * 20 - 2950, phantom(number)[1])
    prepared(tmp_path / "scans", tmp_path / "out", "--bundle", bundle, "--roi-margin-mm", 6)
    overlay = yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())
    defaults = yaml.safe_load((bundle / "configs" / "train.yaml").read_text())
    assert overlay.keys() <= defaults.keys()
    assert len(overlay["roi_size"]) == len(overlay["spacing"]) == dimensions
    assert overlay["use_roi"] is True
    (item, *_) = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
    low, high = np.array(item["roi"]["box_mm"])
    np.testing.assert_allclose([low, high], [[1, 1, -3.5], [61, 57, 28.5]])
    extent = np.multiply(overlay["spacing"], overlay["roi_size"])
    assert (extent >= (high - low)[:dimensions]).all()
    assert overlay["intensity_window"] == [-175, 250]  # it looks like CT, and masks have no part in the window

    parser = ConfigParser(defaults)  # without the overlay, the bundle proposes the same
    parser.update({"dataset_dir": str(tmp_path / "out")})
    proposed = {key: parser.get_parsed_content(key) for key in overlay if "@proposal" in str(defaults[key])}
    assert proposed == {key: overlay[key] for key in proposed}
    assert len(proposed) == (6 if dimensions == 2 else 5)  # the level of sizes is a choice in 2D alone


def test_nothing_that_is_written_tells_who_it_is(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "in" / "Doe Jane" / f"Doe Jane 4711 {number}.nii.gz", phantom(number)[0])
        save(tmp_path / "in" / "Doe Jane" / f"Doe Jane 4711 {number} mask.nii.gz", phantom(number)[1])
    (tmp_path / "in" / "Doe Jane" / "Doe Jane 5.nii").write_bytes(b"broken")
    assert init(tmp_path / "in", tmp_path / "out", "--keep-identifiers").exit_code == 1
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(written) == 2 * 3 + 4
    for file in written:
        content = gzip.decompress(file.read_bytes())[:352] if file.suffix == ".gz" else file.read_bytes()
        text = re.sub(rb"data:image/[^\"]*", b"", content)  # pictures may spell anything by chance
        assert b"Doe" not in text
        assert b"Jane" not in text
        assert not re.search(rb"\b4711\b", text)  # codes may hold it by chance
    assert "Doe Jane 4711 0.nii.gz" in (tmp_path / "out_identifiers.csv").read_text()


def test_masks_of_another_resolution_are_measured_as_they_are_and_resampled(tmp_path: Path) -> None:
    fine = np.diag([1.0, 1.0, 5.0, 1.0])
    fine[:2, 3] = -0.5
    for number in range(6):
        image, mask = phantom(number)
        save(tmp_path / "in" / f"p{number}" / "ct.nii.gz", image)
        if number < 4:
            twice = mask.repeat(2, axis=0).repeat(2, axis=1)
            twice[8, 8, 1] = 0  # a quarter of a voxel of the scan
            mask_file = tmp_path / "in" / f"p{number}" / "mask.nii.gz"
            nibabel.save(nibabel.Nifti1Image(twice, fine), mask_file)
        else:
            save(tmp_path / "in" / f"p{number}" / "mask.nii.gz", mask)
    for _ in range(2):  # a second call takes the volumes from the index
        result = init(tmp_path / "in", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "the masks of 4 scans were on other voxels than their scans, and were resampled" in result.output
        content = json.loads((tmp_path / "out" / "datalist.json").read_text())
        expected = sorted([volumes_ml(n)[0] - (0.005 if n < 4 else 0), volumes_ml(n)[1]] for n in range(6))
        np.testing.assert_allclose(sizes_in_ml(content), expected)
    assert "were resampled to these" in (tmp_path / "out" / "report.html").read_text()
    for item in content["training"]:
        resampled = describe_mask(tmp_path / "out" / item["label"], ["background", "1", "2"])
        assert item["slice_size"] == dict(zip(item["slice_size"], resampled["slice_size"].values(), strict=True))
        assert round(sum(resampled["size"].values())) == round(
            sum(v * 5 for s in item["slice_size"].values() for v in s)
        )


def test_masks_of_an_organ_become_the_region_of_what_lies_in_it(command: Callable, tmp_path: Path) -> None:
    """The organ is drawn without its lesion in scans 0 to 3, and not at all in the last."""
    for number in range(5):
        image, mask = phantom(number)
        save(tmp_path / "scans" / f"s{number}" / "ct.nii.gz", image)
        if number < 4:
            segments = tmp_path / "scans" / f"s{number}" / "segmentations"
            save(segments / "liver.nii.gz", (mask == 1).astype(np.uint8))
            save(segments / "lesion.nii.gz", (mask == 2).astype(np.uint8))
    rows = [f"s{number},{number + 1} + 2" for number in range(5)]
    table = write_table(tmp_path / "sizes.csv", "image,lesion diameters_mm", rows)
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table, "--inside", "lesion=liver")
    assert result.exit_code == 0, result.output
    assert "1 of 5 scans have no mask of liver" in result.output
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert content["inside"] == {"lesion": "liver"}
    assert list(content["labels"].values()) == ["background", "lesion"]
    volumes = [
        describe_mask(tmp_path / "out" / i["organs"]["liver"], ["background", "x"])["size"]["x"] / 1000
        for i in content["training"]
        if "organs" in i
    ]
    assert sorted(volumes) == pytest.approx(sorted(sum(volumes_ml(number)) for number in range(4)))
    overlay = tmp_path / "out" / "cohort.yaml"
    assert yaml.safe_load(overlay.read_text())["inside"] == {"lesion": "liver"}
    checked = command(
        "medsize.cli", "check", BUNDLE_2D, "--config", "train.yaml", "--config", overlay, cwd=tmp_path, check=False
    )
    assert "found no mask of 'liver' among its 'organs'" in checked.stdout + checked.stderr


def test_the_mask_of_an_organ_is_that_of_the_file_though_an_older_one_replaces_it(tmp_path: Path) -> None:
    for number in range(2):
        image, mask = phantom(number)
        save(tmp_path / "scans" / f"s{number}" / "ct.nii.gz", image)
        save(tmp_path / "scans" / f"s{number}" / "segmentations" / "liver.nii.gz", (mask == 1).astype(np.uint8))
    table = write_table(tmp_path / "sizes.csv", "image,lesion diameters_mm", ["s0,5", "s1,6"])

    def volumes() -> list[float]:
        result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table, "--inside", "lesion=liver")
        assert result.exit_code == 0, result.output
        masks = (i["organs"]["liver"] for i in json.loads((tmp_path / "out" / "datalist.json").read_text())["training"])
        return sorted(describe_mask(tmp_path / "out" / m, ["background", "x"])["size"]["x"] / 1000 for m in masks)

    assert volumes() == pytest.approx(sorted(volumes_ml(number)[0] for number in range(2)))
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "organs").rglob("*.nii.gz")}
    for number in range(2):
        other = tmp_path / "scans" / f"s{number}" / "segmentations" / "liver.nii.gz"
        save(other, (phantom(number)[1] == 2).astype(np.uint8))
        os.utime(other, (1, 1))
    assert volumes() == pytest.approx(sorted(volumes_ml(number)[1] for number in range(2)))
    changed = {file: file.stat().st_mtime_ns for file in written}
    assert all(changed[file] != written[file] for file in written)
    volumes()
    assert {file: file.stat().st_mtime_ns for file in written} == changed


@pytest.mark.parametrize(
    ("option", "message"),
    [("lesion", "expected STRUCTURE=ORGAN"), ("lesoin=liver", "Did you mean 'lesion'?"), ("lesion=lesion", "circular")],
)
def test_an_inside_that_says_nothing_is_refused(tmp_path: Path, option: str, message: str) -> None:
    names = write_images(tmp_path / "scans", 2)
    table = write_table(tmp_path / "sizes.csv", "image,lesion diameters_mm", [f"{name},12" for name in names])
    result = init(tmp_path / "scans", tmp_path / "out", "--sizes", table, "--inside", option)
    assert result.exit_code != 0
    assert message in result.output
