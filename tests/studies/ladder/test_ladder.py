"""A study runs every cell once, tells of each, and writes what it found."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medsize.studies.ladder import LadderCell, LadderStudy, run_ladder
from medsize.studies.ladder.results import LadderResults, paired_gain, summarise_runs
from medsize.studies.ladder.run import _located
from medsize.studies.study import load_study
from tests.conftest import BUNDLE_2D, FEW_WORDS, PROJECT

Finished = tuple[Path, list, list[str]]
"""Folder of a study, the command that ran it, and what it told."""
RUNGS = ["masks", "size", "student", "closer"]


def study(phantoms: Path) -> dict[str, object]:
    return {
        "bundle": str(BUNDLE_2D),
        "table": "ladder",
        "reference": "masks",
        "comparisons": [["size", "masks"]],
        "overrides": {
            **{"spacing": "[6.0, 6.0]", "roi_size": "[32, 32]", "max_epochs": 1, "val_interval": 1},
            **FEW_WORDS,
        },
        "rungs": {
            "masks": {"overlays": ["mask_supervision.yaml"], "overrides": {"epoch_scans": 640, "learning_rate": 0.01}},
            "size": {},
            "student": {"replace_overlays": True, "overlays": ["teacher.yaml"], "teacher": "size"},
            "closer": {"locator": "masks", "overrides": {"use_roi": True, "roi_size": "[32, 32]"}},
        },
        "cohorts": [
            {
                "name": "Phantoms, small",
                "dataset_dir": phantoms.name,
                "data_list": f"{phantoms.name}/datalist.json",
                "overlays": ["imagenet.yaml"],
                "rungs": RUNGS.copy(),
            }
        ],
    }


@pytest.fixture(scope="module")
def finished(command: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The study, run. Not to be changed."""
    folder = tmp_path_factory.mktemp("ladder")
    (folder / "study.yaml").write_text(yaml.safe_dump(study(phantoms)))
    arguments = ["medsize.cli", "ladder", "study.yaml", "--data", phantoms.parent, "--work-dir", "runs"]
    return folder, arguments, command(*arguments, cwd=folder).stdout.splitlines()


def a_copy(folder: Path, copy: Path, change: dict | None = None) -> Path:
    """The finished study in another folder, with other contents of its file."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    if change is not None:
        (copy / "study.yaml").write_text(yaml.safe_dump(change))
    return copy


def test_every_cell_runs_once_with_its_own_settings_and_students_learn_from_their_teacher(finished: Finished) -> None:
    folder, _, told = finished
    assert sorted(told) == [f"Phantoms, small / {rung} / seed 0: done" for rung in sorted(RUNGS)]
    table = pd.read_csv(folder / "ladder.csv").set_index("rung")
    assert list(table.index) == RUNGS
    assert table["dice"].between(0, 1).all()
    assert (table["seconds"] > 0).all()
    teacher = folder / "runs" / "phantoms_small" / "size_seed_0" / "model.pt"
    assert str(teacher) in (folder / "runs" / "phantoms_small" / "student_seed_0" / "log.txt").read_text()
    located = json.loads((folder / "runs" / "phantoms_small" / "located_by_masks_seed_0.json").read_text())
    assert all("center_mm" in item["roi"] for item in located["training"])
    assert "| Phantoms, small | student | 1 |" in (folder / "ladder.md").read_text()
    assert "| Phantoms, small | size | masks | 1 | 3 |" in (folder / "ladder_gains.md").read_text()
    assert (folder / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_dice_of_subjects_is_that_of_their_runs(finished: Finished) -> None:
    folder, *_ = finished
    subjects = pd.read_csv(folder / "ladder_subjects.csv").set_index("rung")
    for rung in RUNGS:
        cases = pd.read_csv(folder / "runs" / "phantoms_small" / f"{rung}_seed_0" / "metrics.csv")
        dice = cases.groupby(["subject", "structure"])["dice"].mean()
        kept = subjects.loc[rung].set_index(["subject", "structure"])["dice"]
        assert kept.to_dict() == pytest.approx(dice.to_dict(), abs=5e-5, nan_ok=True)


def test_the_seeds_of_a_rung_stand_together_however_they_came(phantoms: Path, tmp_path: Path) -> None:
    several = study(phantoms)
    several["cohorts"][0]["seeds"] = [0, 1]  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(several))
    loaded = load_study(tmp_path / "study.yaml", LadderStudy)
    for rung, seed in [("masks", 0), ("size", 1), ("masks", 1)]:
        cell = LadderCell("Phantoms, small", rung, seed=seed)
        finish(cell, tmp_path / "runs", 0.1 * seed + 0.5, {"01": [0.5], "02": [0.7 if rung == "size" else 0.6]})
        tables = LadderResults(loaded, tmp_path / "ladder")
        tables.add(tmp_path / "runs")
        tables.write()
        shutil.rmtree(tmp_path / "runs")
    runs = pd.read_csv(tmp_path / "ladder.csv")
    assert runs[["rung", "seed"]].to_numpy().tolist() == [["masks", 0], ["masks", 1], ["size", 1]]
    assert "| Phantoms, small | masks | 2 | 0.55 | 0.07 |" in (tmp_path / "ladder.md").read_text()
    assert "| Phantoms, small | size | masks | 1 | 2 | 0.05 |" in (tmp_path / "ladder_gains.md").read_text()
    subjects = pd.read_csv(tmp_path / "ladder_subjects.csv", dtype={"subject": str})
    assert set(subjects["subject"]) == {"01", "02"}
    assert tables.has(LadderCell("Phantoms, small", "size", seed=1))
    assert not tables.has(LadderCell("Phantoms, small", "size", seed=0))


def finish(cell: LadderCell, work_dir: Path, dice: float, by_subject: dict[str, list[float]]) -> None:
    """Write the results of a run that never was."""
    folder = cell.folder(work_dir)
    folder.mkdir(parents=True)
    figures = {"mean": dice, "structures": {"liver": {"mean": 0.5}}}
    results = dict.fromkeys(["dice", "hd95_mm", "volume_error_ml", "relative_size_error"], figures)
    facts = {"results": results, "training_scans": 6, "epochs": 1, "training_seconds": 1.0}
    (folder / "summary.json").write_text(json.dumps(facts))
    cases(by_subject).to_csv(folder / "metrics.csv", index=False)


def test_the_mean_over_cohorts_is_of_the_seeds_that_all_of_them_have(phantoms: Path, tmp_path: Path) -> None:
    grouped = study(phantoms)
    [cohort] = grouped["cohorts"]  # type: ignore[misc]
    grouped["cohorts"] = [cohort | {"name": name, "seeds": [0, 1]} for name in ("A", "B")]
    grouped["means"] = {"both": ["A", "B"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(grouped))
    dice = {("A", 0): (0.8, 0.6), ("B", 0): (0.9, 0.8), ("A", 1): (0.5, 0.1)}
    for (name, seed), values in dice.items():
        for rung, value in zip(("masks", "size"), values, strict=True):
            # The subjects of both cohorts have the same names.
            by_subject = {"01": [value], "02": [value + (0.1 if rung == "size" else 0.0)]}
            finish(LadderCell(name, rung, seed=seed), tmp_path / "runs", value, by_subject)
    tables = LadderResults(load_study(tmp_path / "study.yaml", LadderStudy), tmp_path / "ladder")
    tables.add(tmp_path / "runs")
    tables.write()
    assert set(pd.read_csv(tmp_path / "ladder.csv")["cohort"]) == {"A", "B"}
    lines = (tmp_path / "ladder.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| both | size | 1 | 0.70 | – | 0.50 | 0.82 | masks |")]
    gains = tables.gains().set_index("cohort")
    assert gains.loc["both", ["seeds", "subjects", "gain"]].tolist() == [1, 4, pytest.approx(-0.1)]
    assert gains.loc["A", ["seeds", "subjects", "gain"]].tolist() == [2, 2, pytest.approx(-0.25)]


def test_false_findings_and_circumferences_are_shown_where_there_are_any(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(phantoms)))
    cell = LadderCell("Phantoms, small", "masks", seed=0)
    finish(cell, tmp_path / "runs", 0.5, {"01": [0.5]})
    summary = cell.folder(tmp_path / "runs") / "summary.json"
    facts = json.loads(summary.read_text())
    facts["results"]["false_finding"] = {"mean": 0.25}
    summary.write_text(json.dumps(facts))
    tables = LadderResults(load_study(tmp_path / "study.yaml", LadderStudy), tmp_path / "ladder")
    tables.add(tmp_path / "runs")
    tables.write()
    head, _, row = (line.split(" | ") for line in (tmp_path / "ladder.md").read_text().splitlines())
    assert row[head.index("false findings")] == "0.25"
    assert "circumference error mm" not in head


def run_here(folder: Path, phantoms: Path, only: str | None = None, anew: bool = False) -> list[str]:
    """Run a study without a process of its own."""
    told: list[str] = []
    run_ladder(folder / "study.yaml", phantoms.parent, folder / "runs", only=only, anew=anew, report=told.append)
    return [line.removeprefix("Phantoms, small / ") for line in told]


def run_again(command: Callable, folder: Path, phantoms: Path, *options: str) -> list[str]:
    """Run a study by its command."""
    arguments = ["medsize.cli", "ladder", "study.yaml", "--data", phantoms.parent, "--work-dir", "runs", *options]
    told: list[str] = command(*arguments, cwd=folder).stdout.splitlines()
    return [line.removeprefix("Phantoms, small / ") for line in told]


def test_finished_runs_are_not_run_again(finished: Finished, phantoms: Path, tmp_path: Path) -> None:
    folder, *_ = finished
    copy = a_copy(folder, tmp_path)
    assert run_here(copy, phantoms, "masks") == ["masks / seed 0: kept"]
    for name in ("ladder.csv", "ladder_subjects.csv", "ladder.md", "ladder_gains.md"):
        assert (copy / name).read_text() == (folder / name).read_text()


def test_tables_outlive_the_runs_and_teachers_run_again_for_new_students(
    command: Callable, finished: Finished, phantoms: Path, tmp_path: Path
) -> None:
    folder, *_ = finished
    longer = study(phantoms)
    longer["rungs"]["second student"] = {  # type: ignore[index]
        "overlays": ["teacher.yaml"],
        "teacher": "size",
        "overrides": {"init": "imagenet"},
    }
    longer["cohorts"][0]["rungs"].append("second student")  # type: ignore[index]
    copy = a_copy(folder, tmp_path, longer)
    shutil.rmtree(copy / "runs")
    told = run_again(command, copy, phantoms)
    assert told[:4] == [f"{rung} / seed 0: kept in the table" for rung in RUNGS]
    assert told[4:] == ["size / seed 0: done", "second student / seed 0: done"]
    before, now = (pd.read_csv(place / "ladder.csv").set_index("rung") for place in (folder, copy))
    assert list(now.index) == [*RUNGS, "second student"]
    others = [rung for rung in RUNGS if rung != "size"]
    pd.testing.assert_frame_equal(now.loc[others], before.loc[others])
    assert run_again(command, copy, phantoms, "--only", "/ masks", "--anew") == ["masks / seed 0: done"]
    assert run_here(copy, phantoms, "/ masks", anew=True) == ["masks / seed 0: kept"]


def test_runs_of_other_settings_are_refused(
    finished: Finished, phantoms: Path, command: Callable, tmp_path: Path
) -> None:
    folder, arguments, _ = finished
    changed = study(phantoms)
    changed["overrides"]["max_epochs"] = 2  # type: ignore[index]
    copy = a_copy(folder, tmp_path, changed)
    refused = command(*arguments, "--only", "masks", cwd=copy, check=False)
    assert refused.returncode == 2
    told = " ".join(refused.stderr.replace("│", " ").split())
    assert "masks / seed 0: max_epochs was 1, is 2" in told
    assert "student / seed 0: max_epochs was 1, is 2, teacher: max_epochs was 1, is 2" in told

    changed = study(phantoms)
    changed["rungs"]["size"] = {"overrides": {"learning_rate": 0.1}}  # type: ignore[index]
    (copy / "study.yaml").write_text(yaml.safe_dump(changed))
    shutil.rmtree(copy / "runs" / "phantoms_small" / "size_seed_0")
    with pytest.raises(ValueError, match=r"student / seed 0: teacher: learning_rate was None, is 0\.1") as refusal:
        run_here(copy, phantoms, "masks")
    assert "/ size / seed 0" not in str(refusal.value)

    shutil.rmtree(copy / "runs")
    with pytest.raises(ValueError, match=r"ladder\.csv holds runs with other settings") as refusal:
        run_here(copy, phantoms, "masks")
    assert str(refusal.value).splitlines()[1:] == [
        f"- Phantoms, small / {rung} / seed 0" for rung in ("size", "student")
    ]
    assert (copy / "ladder.csv").read_text() == (folder / "ladder.csv").read_text()


def cases(dice: dict[str, list[float]]) -> pd.DataFrame:
    """``metrics.csv`` with some scans of each subject, one structure."""
    rows = [(subject, value) for subject, values in dice.items() for value in values]
    return pd.DataFrame(rows, columns=["subject", "dice"]).assign(structure="liver")


def test_a_gain_is_measured_subject_by_subject() -> None:
    first = cases({"A": [0.8, 0.9], "B": [0.7], "C": [0.65], "D": [0.6], "E": [0.5]})
    second = cases({"A": [0.7, 0.8], "B": [0.6], "C": [0.5], "D": [0.45], "E": [0.42]})
    gain = paired_gain(first, second)
    assert gain["subjects"] == 5
    assert gain["gain"] == pytest.approx((0.1 + 0.1 + 0.15 + 0.15 + 0.08) / 5)
    assert 0.08 < gain["low"] < gain["gain"] < gain["high"] < 0.15
    back = paired_gain(second, first)
    assert (back["low"], back["high"]) == (
        pytest.approx(-gain["high"], abs=0.01),
        pytest.approx(-gain["low"], abs=0.01),
    )


def test_one_subject_has_no_interval() -> None:
    gain = paired_gain(cases({"A": [0.8]}), cases({"A": [0.6]}))
    assert gain["gain"] == pytest.approx(0.2)
    assert math.isnan(gain["low"])


def test_a_run_that_fails_is_told_of_and_does_not_stop_the_others(
    command: Callable, phantoms: Path, tmp_path: Path
) -> None:
    faulty = study(phantoms)
    faulty["rungs"]["masks"] = {"overrides": {"supervision": "organ"}}  # type: ignore[index]
    faulty["cohorts"][0]["rungs"] = ["masks", "size"]  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(faulty))
    result = command(
        *("medsize.cli", "ladder", "study.yaml", "--data", phantoms.parent, "--work-dir", "runs"),
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert "masks / seed 0: failed with exit code 1, see" in result.stdout
    assert "size / seed 0: done" in result.stdout


STAND_IN = """
import json, pathlib, sys, time
run, *needed = map(pathlib.Path, sys.argv[1:3])
assert all(file.is_file() for file in needed if str(file) != ".")
with run.parent.with_name("started.txt").open("a") as file:
    file.write(run.name + "\\n")
time.sleep(0.3)
(run / "model.pt").touch()
(run / "metrics.csv").write_text("image,subject,structure,dice\\na,A,liver,0.5\\nb,B,liver,0.7\\n")
(run / "summary.json").write_text(json.dumps({"training_seconds": 1.0}))
"""
"""Program in place of a training: it records that it starts, and needs the weights of its teacher, if any."""


def test_two_ladders_in_one_work_folder_train_nothing_twice_and_both_tell_of_all(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_three = study(phantoms)
    of_three["cohorts"][0]["rungs"] = ["masks", "size", "student"]  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(of_three))

    def stand_in(self: LadderStudy, cell: LadderCell, _: Path, data_dir: Path, work_dir: Path) -> list[str]:
        teacher = self.values(cell, data_dir, work_dir).get("teacher_checkpoint", "")
        return [sys.executable, "-c", STAND_IN, str(cell.folder(work_dir)), str(teacher)]

    monkeypatch.setattr(LadderStudy, "command", stand_in)
    told: list[list[str]] = [[], []]
    with ThreadPoolExecutor(2) as both:
        arguments = tmp_path / "study.yaml", phantoms.parent, tmp_path / "runs"
        ladders = [both.submit(run_ladder, *arguments, report=lines.append) for lines in told]
        assert all(ladder.result() for ladder in ladders)
    cells = [f"Phantoms, small / {rung} / seed 0" for rung in ("masks", "size", "student")]
    for lines in told:
        assert {line.rpartition(":")[0] for line in lines} == set(cells)
    ended = [line for lines in told for line in lines]
    assert sorted(line for line in ended if line.endswith("done")) == [f"{cell}: done" for cell in cells]
    assert len((tmp_path / "runs" / "started.txt").read_text().split()) == len(cells)
    assert list(pd.read_csv(tmp_path / "ladder.csv")["rung"]) == ["masks", "size", "student"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "mask"}, "there is no rung mask"),
        ({"bundel": "x"}, "bundel"),
        ({"means": {"both": ["Phantoms, small", "hearts"]}}, "means: there is no cohort hearts; there are: Phantoms"),
        ({"means": {"Phantoms, small": ["Phantoms, small"]}}, "means: a cohort has the name Phantoms, small, too"),
        ({"rungs": {"masks": {"overlay": []}}}, "overlay"),
    ],
)
def test_a_faulty_study_is_refused(phantoms: Path, tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(phantoms) | change))
    with pytest.raises(ValueError, match=message):
        load_study(tmp_path / "study.yaml", LadderStudy)


def test_dice_is_divided_by_that_of_the_same_seeds_of_each_rungs_reference() -> None:
    runs = pd.DataFrame(
        [
            ("hearts", "masks", 0, 0.8),
            ("hearts", "masks", 1, 0.9),
            ("hearts", "size", 1, 0.6),
            ("hearts", "UNet", 0, 0.7),
            ("livers", "size", 0, 0.5),
        ],
        columns=["cohort", "rung", "seed", "dice"],
    ).assign(**{"hd95 mm": 1.0, "volume error mL": 1.0, "mRE": 0.1, "seconds": 1.0})
    summary = summarise_runs(runs, {"masks": "masks", "size": "masks", "UNet": "size"})
    of = summary.set_index(["cohort", "rung"])["of reference"]
    assert of["hearts", "masks"] == pytest.approx(1.0)
    assert of["hearts", "size"] == pytest.approx(0.6 / 0.9)  # not by the mean of both seeds
    assert math.isnan(of["hearts", "UNet"])  # no seed in common
    assert math.isnan(of["livers", "size"])  # no reference


@pytest.mark.parametrize(
    "name",
    [
        *("ladder_2d", "ladder_3d", "left_disease_out", "left_disease_out_2mm"),
        *("chaos", "ablation_2d", "pictures", "other_data"),
    ],
)
def test_the_tables_that_come_along_are_of_the_settings_that_their_studies_have(name: str) -> None:
    """Otherwise ``medsize ladder`` would run everything again."""
    file = PROJECT / "benchmarks" / f"{name}.yaml"
    found = load_study(file, LadderStudy)
    tables = LadderResults(found, file.parent / found.table)
    assert sum(tables.has(cell) for cell in found.cells()) == len(tables.runs) > 0


def test_runs_of_a_cohort_share_first_labels(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(phantoms)))
    found = load_study(tmp_path / "study.yaml", LadderStudy)
    commands = [found.command(cell, tmp_path, phantoms.parent, tmp_path / "runs") for cell in found.cells()]
    folders = {command[command.index("--first_labels_dir") + 1] for command in commands}
    assert folders == {str(tmp_path / "runs" / "phantoms_small" / "first_labels")}


def test_each_disease_is_left_out_once_and_every_network_is_compared_with_its_own_masks() -> None:
    found = load_study(PROJECT / "benchmarks" / "left_disease_out.yaml", LadderStudy)
    groups = {"1-20", "21-40", "41-60"}
    by_name = {cohort.name: cohort for cohort in found.cohorts}
    assert len(found.means) == 2
    for cohorts in found.means.values():
        assert {by_name[name].prepare[-1] for name in cohorts} == groups
        assert len({str((by_name[name].overrides, by_name[name].rungs, by_name[name].seeds)) for name in cohorts}) == 1
    for name, rung in found.rungs.items():
        assert (rung.reference == "UNet, masks") == rung.replace_overlays == name.startswith("UNet")
    for cohort in found.cohorts:
        budgets = [found.settings(LadderCell(cohort.name, rung, seed=0))["overrides"] for rung in cohort.rungs]
        assert len({(budget["max_epochs"], budget["epoch_scans"]) for budget in budgets}) == 1


def test_a_scan_in_which_nothing_is_located_is_seen_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "masks_seed_0").mkdir()
    (tmp_path / "masks_seed_0" / "summary.json").touch()

    def locate(command: list[str], **options: object) -> subprocess.CompletedProcess:
        """Find nothing in one scan, as ``medsize locate`` does."""
        Path(command[command.index("--output") + 1]).touch()
        return subprocess.CompletedProcess(command, 0 if "--middle-if-missed" in command else 1)

    monkeypatch.setattr(subprocess, "run", locate)
    assert _located(tmp_path / "masks_seed_0", tmp_path / "list.json", tmp_path, tmp_path / "log.txt")
