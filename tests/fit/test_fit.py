"""One command leads from a prepared cohort to a bundle that segments new scans, through a kill."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser

from medsize.bundle.run.summary import RunSummary
from medsize.bundle.sharing.export import export_bundle
from medsize.cohort import init_cohort
from medsize.fit import Wishes, fit_cohort
from medsize.fit.ensemble import write_ensemble
from medsize.fit.plan import Plan
from medsize.fit.run import next_command
from medsize.fit.stages import StageFailed
from medsize.inference.where_to_look import coarse_run
from medsize.sizes.table.read import read_size_table
from tests.cohort.cohorts import volumes_ml, write_images
from tests.conftest import BUNDLE_2D, BUNDLE_3D, FEW_WORDS, fit_overrides

OVERRIDES = {"max_epochs": "3", "val_interval": "1", **FEW_WORDS}
QUICK = ["--time-limit", "1s", *fit_overrides(OVERRIDES)]
"""So little time leaves one round and the student."""


@pytest.fixture(scope="module")
def cohort(command: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort as ``medsize init`` prepares it. Not to be changed."""
    folder = tmp_path_factory.mktemp("cohort")
    scans = shutil.copytree(phantoms, folder / "scans", ignore=shutil.ignore_patterns("*.json", "clicks"))
    command("medsize.cli", "init", scans, "--output", folder / "prepared", "--folds", 3, cwd=folder)
    return folder / "prepared"


@pytest.fixture(scope="module")
def finished(command: Callable, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Folder of a fit that was killed once in its first training, and what both of its starts told."""
    folder = tmp_path_factory.mktemp("fit")
    arguments = ["medsize.cli", "fit", cohort, "--output-dir", "out", "--network", "unet", *QUICK]
    run = folder / "out" / "fold_0" / "teacher_1_lean_unet"
    with ThreadPoolExecutor() as pool:
        start = pool.submit(command, *arguments, cwd=folder, check=False)
        while not (run / "checkpoint.pt").is_file():
            assert not start.done(), start.result()
            time.sleep(0.02)
        os.kill(int((folder / "out" / "fit.lock").read_text()), signal.SIGKILL)
    assert not (run / "summary.json").is_file()
    return folder / "out", start.result().stdout, command(*arguments, cwd=folder).stdout


def ends_of_stages(told: str) -> dict[str, str]:
    """Return how each stage ended, by its title."""
    return dict(re.findall(r"^\d+/\d+ (.+): (\w+)(?: in .*)?$", told, re.MULTILINE))


def test_a_killed_fit_goes_on_and_ends_with_a_bundle_and_a_report(finished: tuple[Path, str, str]) -> None:
    out, before, after = finished
    assert ends_of_stages(before)["check"] == "done"
    ends = ends_of_stages(after)
    assert (ends.pop("check"), ends.pop("first labels", "kept")) == ("kept", "kept")
    assert ends == dict.fromkeys(["teacher 1, LeanUNet", "UNet", "export", "report"], "done")
    first, student = out / "fold_0" / "teacher_1_lean_unet", out / "fold_0" / "unet"
    assert "went on from" in (first / "log.txt").read_text()
    with (first / "epochs.csv").open() as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == ["1", "2", "3"]
    assert RunSummary.read(student).supervision == "size"
    assert json.loads((out / "bundle" / "configs" / "metadata.json").read_text())["pred_classes"].startswith(
        "4 channels"
    )
    weights = [torch.load(folder / "model.pt") for folder in (student, out / "bundle" / "models")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    page = (out / "report.html").read_text()
    assert "http" not in re.sub(r'"data:[^"]+"', "", page)
    for part in (
        "Bland–Altman",
        "teacher 1, LeanUNet",
        "structure_1",
        "1 of 2 teachers",
        "Mean size error",
        "Dice",
        "Intervals",
    ):
        assert part in page
    shown = re.findall(r"<figcaption>.*, slice \d+, size error", page)
    assert len(shown) == pd.read_csv(student / "metrics.csv")["image"].nunique()


def test_a_network_that_is_useless_is_not_proposed_to_share(finished: tuple[Path, str, str]) -> None:
    lines = finished[2].splitlines()
    assert any(re.match(r"UNet: size error \d\.\d\d on \d+ scans never trained on, no better than", x) for x in lines)
    assert lines[-1].startswith("Next: ")
    assert "to share" not in finished[2].partition("Run:")[2]
    assert "medsize predict" not in (finished[0] / "report.html").read_text()
    card = (finished[0] / "bundle" / "docs" / "README.md").read_text()
    assert "Do not use or share it as it is" in card.partition("## Performance")[2]


def test_the_next_command_segments_new_scans(
    command: Callable, finished: tuple[Path, str, str], phantoms: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(phantoms / "images" / "phantom_001.nii.gz", tmp_path / "new" / "scan.nii.gz")
    words = next_command(finished[0], locates=False)().replace("NEW_SCANS", "new").split()
    assert words[:3] == ["medsize", "predict", str(finished[0])]
    told = command("medsize.cli", *words[1:], cwd=tmp_path).stdout
    assert len(pd.read_csv(tmp_path / "predictions" / "predictions.csv")) == 3
    for text in (told, (tmp_path / "predictions" / "predictions.html").read_text()):  # the fit has found it useless
        assert "Do not use or share it as it is" in text


def test_hidden_files_and_what_a_kill_has_left_of_a_plan_keep_no_fit_out(cohort: Path, tmp_path: Path) -> None:
    for name in (".DS_Store", ".partial_plan.json"):
        (tmp_path / name).touch()
    assert fit_cohort(cohort, tmp_path, plan_only=True, report=lambda _: None).trainings


def test_another_cohort_or_plan_is_not_mixed_with_a_fit(
    finished: tuple[Path, str, str], cohort: Path, tmp_path: Path
) -> None:
    out = finished[0]
    wishes = Wishes(network="unet", time_limit=1.0, overrides=OVERRIDES)
    with pytest.raises(ValueError, match=r'network was "unet", is "segresnet".* name another --output-dir'):
        fit_cohort(cohort, out, wishes.model_copy(update={"network": "segresnet"}), plan_only=True)
    other = shutil.copytree(cohort, tmp_path / "other")
    (other / "cohort.yaml").write_text((cohort / "cohort.yaml").read_text().replace(str(cohort), str(other)))
    with pytest.raises(ValueError, match="which is another one or has changed"):
        fit_cohort(other, out, wishes, plan_only=True)
    with pytest.raises(ValueError, match="holds other files than those of a fit"):
        fit_cohort(cohort, other, wishes, plan_only=True)
    with (out / "fit.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another fit runs in it, the process \d+"):
            fit_cohort(cohort, out, wishes, report=lambda _: None)
    told: list[str] = []
    fit_cohort(cohort, out, wishes.model_copy(update={"time_limit": 60.0}), plan_only=True, report=told.append)
    assert told[0] == "Plan:"
    assert told[-1].endswith("Finished trainings are kept: for longer ones, take another --output-dir.")


def test_a_fit_whose_scans_were_replaced_is_refused_with_their_names(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(plan: Plan, output_dir: Path, *_: Any) -> None:
        (output_dir / plan.trainings[0].folder).mkdir(parents=True, exist_ok=True)
        raise StageFailed("stopped")

    monkeypatch.setattr("medsize.fit.run.run_stages", stop)
    data = shutil.copytree(phantoms, tmp_path / "data")
    for _ in range(2):  # as it was, it goes on
        with pytest.raises(StageFailed, match="stopped"):
            fit_cohort(data / "datalist.json", tmp_path / "out", report=lambda _: None)
    scan, mask = (data / item for item in ("images/phantom_002.nii.gz", "masks/phantom_003.nii.gz"))
    shutil.copyfile(data / "images" / "phantom_001.nii.gz", scan)
    mask.touch()
    with pytest.raises(ValueError, match=f"changed since, by size or time: {scan}, {mask}. Go on with .* or name an"):
        fit_cohort(data / "datalist.json", tmp_path / "out", report=lambda _: None)


def test_a_fit_that_was_only_checked_starts_anew_with_what_was_mended(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(plan: Plan, output_dir: Path, *_: Any) -> None:
        log = output_dir / plan.stages[0].folder / "log.txt"
        log.parent.mkdir(exist_ok=True)
        assert not log.exists()
        log.write_text("warnings about the cohort as it was")
        raise StageFailed("refused")

    monkeypatch.setattr("medsize.fit.run.run_stages", refuse)
    data = shutil.copytree(phantoms, tmp_path / "data")
    for overrides in ({"max_epochs": "0"}, {"max_epochs": "2"}):
        with pytest.raises(StageFailed, match="refused"):
            fit_cohort(data / "datalist.json", tmp_path / "out", Wishes(overrides=overrides), report=lambda _: None)
        listed = json.loads((data / "datalist.json").read_text())
        listed["training"].pop()
        (data / "datalist.json").write_text(json.dumps(listed))
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["wishes"]["overrides"] == {"max_epochs": "2"}


def test_a_fit_is_refused_until_init_has_read_the_size_table_as_it_is_now(tmp_path: Path) -> None:
    rows = [f"{name},{volumes_ml(i)[0]}" for i, name in enumerate(write_images(tmp_path / "scans", 4))]
    file, output = tmp_path / "my sizes.csv", tmp_path / "out"

    def init() -> None:
        init_cohort(tmp_path / "scans", output, read_size_table(file), report=lambda _: None)

    def plan() -> Any:
        return fit_cohort(output, tmp_path / "fit", plan_only=True, report=lambda _: None)

    file.write_text("\n".join(["image,cube mL", *rows]))
    init()
    file.touch()
    assert plan().trainings, "its content is the same"
    file.write_text("\n".join(["image,cube mL", *rows[1:]]))
    with pytest.raises(ValueError, match=r"changed since medsize init read it. Run medsize init again, with --sizes '"):
        plan()
    init()
    assert plan().trainings
    file.unlink()
    assert plan().trainings, "the cohort can be trained on without the table"


def test_small_organs_are_located_then_looked_at_closer(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    """Masks in place of sizes make it short: one training of each kind."""
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"] = [{key: item[key] for key in ("image", "label", "fold")} for item in content["training"]]
    (tmp_path / "list.json").write_text(json.dumps(content))
    options = ["--look-closer"]
    options += [
        part for value in ("max_epochs=10", "batch_size=4", "val_interval=10") for part in ("--override", value)
    ]
    arguments = ["medsize.cli", "fit", "list.json", "--dataset-dir", phantoms, "--output-dir", "out", *options]
    told = command(*arguments, cwd=tmp_path).stdout
    expected = ["check", "coarse LeanUNet", "locate", "LeanUNet", "export", "report"]
    assert ends_of_stages(told) == dict.fromkeys(expected, "done")
    closer = tmp_path / "out" / "fold_0" / "lean_unet"
    located = json.loads((tmp_path / "out" / "fold_0" / "located" / "datalist.json").read_text())
    assert all(len(item["roi"]["center_mm"]) == 3 for item in located["training"])
    assert RunSummary.read(closer).roi
    again = command(*arguments, cwd=tmp_path).stdout
    assert ends_of_stages(again) == {**dict.fromkeys(expected, "kept"), "report": "done"}
    assert coarse_run(closer) == tmp_path / "out" / "fold_0" / "coarse_lean_unet", "predict looks by it in new scans"


@pytest.mark.parametrize(
    ("roi", "locates"),
    [({}, True), ({"center_mm": [30.0, 30.0, 30.0]}, True), ({"box_mm": [[0, 0, 0], [50, 50, 50]]}, False)],
)
def test_the_plan_finds_small_organs_by_their_sizes_unless_each_scan_has_a_box(
    phantoms: Path, tmp_path: Path, roi: dict[str, Any], locates: bool
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    for item in content["training"]:
        item["size"] = {name: value / 10 for name, value in item["size"].items()}
        item.pop("roi", None)
        item.update({"roi": roi} if roi else {})
        item.pop("slice_size", None)
    (tmp_path / "list.json").write_text(json.dumps(content))
    told: list[str] = []
    made = fit_cohort(
        tmp_path / "list.json", tmp_path / "out", plan_only=True, report=told.append, dataset_dir=phantoms
    )
    assert made.locates == locates
    smallest = re.compile(r"locate, then look closer: lesion fills 0\.\d% of the view")
    assert any(smallest.search(line) for line in told) == locates


@pytest.mark.parametrize("name", ["none", "empty", "text.yaml"])
def test_what_is_no_cohort_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.yaml").write_text("[1, 2\n")
    with pytest.raises(ValueError, match=r"there is no such cohort|found neither cohort.yaml|it cannot be read"):
        fit_cohort(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("fold", "message"), [(0, "found all scans in the fold 0"), (None, "found no folds")])
def test_a_list_without_training_or_validation_is_refused_before_a_plan(
    phantoms: Path, tmp_path: Path, fold: int | None, message: str
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    (tmp_path / "images").symlink_to(phantoms / "images")
    items = [{"image": item["image"], "size": item["size"], "fold": fold} for item in content["training"]]
    (tmp_path / "datalist.json").write_text(json.dumps({**content, "training": items}))
    with pytest.raises(ValueError, match=message):
        fit_cohort(tmp_path / "datalist.json", tmp_path / "out")


def test_a_list_elsewhere_is_planned_from_the_folder_of_its_files(
    phantoms: Path, cohort: Path, command: Callable, tmp_path: Path
) -> None:
    shutil.copy(phantoms / "datalist.json", tmp_path / "listed.json")
    arguments = ["medsize.cli", "fit", tmp_path / "listed.json", "--plan-only"]
    refused = " ".join(command(*arguments, cwd=tmp_path, check=False).stderr.replace("│", " ").split())
    assert "27 files do not exist: " in refused
    assert "and 24 more" in refused
    told = command(*arguments, "--dataset-dir", phantoms, cwd=tmp_path).stdout
    assert f"--dataset_dir {phantoms} --data_list {tmp_path / 'listed.json'}" in told
    with pytest.raises(ValueError, match=r"found the dataset_dir .* as in --dataset-dir"):
        fit_cohort(cohort, tmp_path / "out", plan_only=True, dataset_dir=tmp_path)


def test_a_bundle_of_other_dimensions_than_the_cohort_was_prepared_for_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cohort.yaml: found a spacing for 2D, .* or leave --bundle out"):
        fit_cohort(cohort, tmp_path / "out", Wishes(bundle=BUNDLE_3D))


def test_what_the_check_refuses_stops_a_fit_before_it_trains(command: Callable, cohort: Path, tmp_path: Path) -> None:
    arguments = ["medsize.cli", "fit", cohort, "--output-dir", tmp_path / "out", "--override", "learning_rate=fast"]
    failed = command(*arguments, cwd=tmp_path, check=False)
    assert failed.returncode == 1
    *findings, last = failed.stderr.splitlines()
    assert any("learning_rate is 'fast', expected a number" in line for line in findings)
    assert last.startswith("check failed: ")
    assert str(tmp_path / "out" / "check" / "log.txt") in last
    assert last.endswith("Mend it, and run the command again.")
    assert not (tmp_path / "out" / "fold_0").exists()


def test_an_ensemble_averages_the_softmax_of_its_networks_and_can_be_exported(
    finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    run = finished[0] / "fold_0" / "unet"
    second = shutil.copytree(run, tmp_path / "second")
    weights = torch.load(run / "model.pt")
    torch.save({name: value * 1.1 for name, value in weights.items()}, second / "model.pt")
    cases = pd.read_csv(run / "metrics.csv")
    cases.assign(image="of_fold_1/" + cases["image"], subject=None).to_csv(second / "metrics.csv", index=False)
    write_ensemble([run, second], tmp_path / "ensemble")
    facts = json.loads((tmp_path / "ensemble" / "inference.json").read_text())["cohort_facts"]
    assert facts["least_confidence"] is None  # an average of networks is less sure than each
    export_bundle(BUNDLE_2D, tmp_path / "exported", tmp_path / "ensemble")
    parser = ConfigParser()
    parser.read_config(tmp_path / "exported" / "configs" / "inference.yaml")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(tmp_path / "exported" / "models" / "model.pt"))
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        found = network(image).softmax(1)
        single = [member(image).softmax(1) for member in network.networks]
    torch.testing.assert_close(found, torch.stack(single).mean(0))
    assert not torch.allclose(single[0], single[1])
    joined, single = (RunSummary.read(folder) for folder in (tmp_path / "ensemble", run))
    assert np.isfinite(joined.results.dice.mean or 0)
    for name, pooled in joined.calibration.items():
        assert pooled.scans == 2 * single.calibration[name].scans > 0
        assert dataclasses.asdict(pooled) == parser["calibration"][name]
