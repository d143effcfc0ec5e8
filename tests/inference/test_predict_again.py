"""A prediction that was stopped goes on, and knows what has changed since."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsize.bundle.run.folder import INFERENCE
from medsize.bundle.run.inference_settings import own_weights
from medsize.inference.new_scans import find_new_scans
from medsize.inference.output_folder import RECORD
from medsize.inference.predict import predict
from tests.inference.bright_runs import write_bright_run
from tests.inference.test_predict import Inference


@pytest.fixture
def scans(phantoms: Path, tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    for number in range(3):
        shutil.copy(phantoms / "images" / f"phantom_{number:03}.nii.gz", tmp_path / "new" / f"{number}.nii.gz")
    return tmp_path / "new"


@pytest.fixture
def inferences(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the scans that each inference sees; it is a replacement of MONAI's."""
    seen: list[list[str]] = []

    class Noted(Inference):
        def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess:
            folder = Path(command[command.index("--dataset_dir") + 1])
            seen.append(sorted(file.name for file in folder.iterdir()))
            return super().__call__(command, check=False)

    monkeypatch.setattr(subprocess, "run", Noted("none"))
    return seen


def test_files_of_a_prediction_are_no_new_scans(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    for folder in ("", "out/images", "out/.unfinished/images"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        nibabel.save(image, tmp_path / folder / "scan.nii.gz")
    (tmp_path / "out" / RECORD).write_text("{}")
    said: list[str] = []
    assert list(find_new_scans(tmp_path, said.append).paths.values()) == ["scan.nii.gz"]
    assert "files that a prediction wrote" in said[0]
    assert list(find_new_scans(tmp_path / "out" / "images", said.append).named) == ["scan"]


def test_a_run_that_was_copied_uses_its_own_weights(tmp_path: Path) -> None:
    run = write_bright_run(tmp_path / "run")
    assert own_weights(run) == []
    shutil.copytree(run, tmp_path / "copy")
    assert own_weights(tmp_path / "copy") == ["--checkpoint", str(tmp_path / "copy" / "model.pt")]


def test_a_killed_prediction_goes_on_and_ends_with_the_same_files(
    command: Callable, scans: Path, tmp_path: Path
) -> None:
    run, marker = write_bright_run(tmp_path / "run"), str(tmp_path / "deadly")
    settings = json.loads((run / INFERENCE).read_text())
    found = "sorted(glob.glob(os.path.join(@dataset_dir, @image_pattern)))"
    dies = f"os.path.exists('{marker}')"
    # With the marker, the inference kills medsize and itself after the first scan.
    settings["images"] = f"${found}[: 1 if {dies} else None]"
    kill = f"[os.remove('{marker}'), os.kill(os.getppid(), 9), os.kill(os.getpid(), 9)]"
    settings["run"] = ["$@evaluator.run()", f"${kill} if {dies} else None"]
    (run / INFERENCE).write_text(json.dumps(settings))
    Path(marker).touch()

    arguments = ["predict", run, scans, "--output", "out"]
    assert command("medsize.cli", *arguments, cwd=tmp_path, check=False).returncode == -9
    unfinished = tmp_path / "out" / ".unfinished" / "masks"
    first = (unfinished / "0_seg.nii.gz").read_bytes()
    (unfinished / "1_seg.nii.gz").write_bytes(first[: len(first) // 2])  # the kill came while it was written
    assert not (tmp_path / "out" / "masks").exists()
    (scan,) = json.loads((unfinished / "volumes.json").read_text())["scans"]
    (unfinished / "volumes.jsonl").write_text(json.dumps(scan) + '\n{"image": "1.ni')  # as if it came before the end
    (unfinished / "volumes.json").unlink()

    told = command("medsize.cli", *arguments, cwd=tmp_path).stdout
    assert "out: 1 of 3 scans are segmented already" in told
    arguments[-1] = "at once"
    command("medsize.cli", *arguments, cwd=tmp_path)
    resumed, at_once = (
        {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        for folder in (tmp_path / "out", tmp_path / "at once")
    )
    assert resumed.keys() == at_once.keys()
    same = [name for name in resumed if name.endswith((".csv", ".html", ".png")) or name == "predictions.json"]
    assert "predictions.html" in same
    for name in same:
        expected = at_once[name].read_text(errors="replace").replace(str(tmp_path / "at once"), str(tmp_path / "out"))
        assert resumed[name].read_text(errors="replace") == expected, name


def test_changed_and_new_scans_are_segmented_and_others_are_not(
    scans: Path, tmp_path: Path, inferences: list[list[str]], capsys: pytest.CaptureFixture
) -> None:
    run, output = write_bright_run(tmp_path / "run"), tmp_path / "out"
    assert predict(run, scans, output) == []
    assert predict(run, scans, output) == []
    assert len(inferences) == 1
    shutil.copy(scans / "0.nii.gz", scans / "1.nii.gz")
    shutil.copy(scans / "0.nii.gz", scans / "new.nii.gz")
    (scans / "2.nii.gz").unlink()
    assert predict(run, scans, output) == []
    assert inferences[1:] == [["1.nii.gz", "new.nii.gz"]]
    told = capsys.readouterr().out
    assert "1: it has changed since it was segmented, and is segmented again" in told
    assert "1 of its scans are not here any more, their masks stay: " in told
    assert set(pd.read_csv(output / "predictions.csv")["image"]) == {"0.nii.gz", "1.nii.gz", "new.nii.gz"}
    assert {file.name for file in (output / "masks").glob("*.nii.gz")} == {
        f"{name}_seg.nii.gz" for name in ("0", "1", "2", "new")
    }


def test_masks_of_another_network_are_refused_but_a_new_calibration_is_not(
    scans: Path, tmp_path: Path, inferences: list[list[str]]
) -> None:
    run, output = write_bright_run(tmp_path / "run"), tmp_path / "out"
    predict(run, scans, output)
    settings = json.loads((run / INFERENCE).read_text())
    made = {"low": 0.5, "high": 2.0, "least_ml": 1.0, "level": 0.9, "subjects": 9, "scans": 9, "note": ""}
    (run / INFERENCE).write_text(json.dumps(settings | {"calibration": {"liver": made}}))
    predict(run, scans, output)
    assert len(inferences) == 1
    table = pd.read_csv(output / "predictions.csv").set_index(["image", "structure"]).loc[("0.nii.gz", "liver")]
    assert table["interval_low_ml"] == pytest.approx(table["volume_ml"] / 2, rel=1e-4)
    (run / INFERENCE).write_text(json.dumps(settings | {"roi_size": [16, 16]}))
    with pytest.raises(ValueError, match=r"found masks of another network, or of another state of it .* a new folder"):
        predict(run, scans, output)


def test_pictures_go_on_large_ones_too(tmp_path: Path, inferences: list[list[str]]) -> None:
    run, output = write_bright_run(tmp_path / "run"), tmp_path / "out"
    settings = json.loads((run / INFERENCE).read_text())
    (run / INFERENCE).write_text(json.dumps(settings | {"length_unit": "px", "spacing": [1.0, 1.0]}))
    (tmp_path / "pictures").mkdir()
    for side in (20, 60):
        pixels = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{side}.png")
    first = predict(run, tmp_path / "pictures", output, large=1000), (output / "predictions.csv").read_bytes()
    masks = {file: file.stat().st_mtime_ns for file in output.glob("masks/*") if file.suffix in (".tif", ".gz")}
    assert {file.name for file in masks} == {"20_seg.nii.gz", "60_seg.tif"}
    assert (predict(run, tmp_path / "pictures", output, large=1000), (output / "predictions.csv").read_bytes()) == first
    assert inferences == [["20.nii.gz"]]
    assert {file: file.stat().st_mtime_ns for file in masks} == masks
