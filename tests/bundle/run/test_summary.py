"""``summary.json`` is written and read by one model, whichever version wrote it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch

from medsize.bundle.run.folder import INFERENCE, SUMMARY, WEIGHTS
from medsize.bundle.run.summary import RunSummary, inference_bundle
from tests.conftest import BUNDLE_3D


def test_what_is_not_in_an_older_summary_is_that_of_labels_as_given(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text('{"results": {"dice": {"mean": 0.5}}, "training_scans": 6}')
    summary = RunSummary.read(tmp_path)
    assert summary.results.dice.mean == 0.5
    assert summary.results.hd95_mm.mean is None
    assert (summary.size_detail, summary.size_noise, summary.mask_noise, summary.noise_level) == (
        "given",
        None,
        None,
        0,
    )
    assert summary.size_change == summary.expected_size_change == summary.mask_change == 0
    assert summary.roi is False


def test_a_summary_keeps_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    given = {
        "seed": 3,
        "size_change": None,
        "results": {"dice": {"mean": 0.5, "structures": {"Höhle": {"mean": 0.5, "std": 0.0, "cases": 2}}}},
        "versions": {"monai": "1.6"},
        "of a later version": {"a": [1, 2]},
    }
    RunSummary.model_validate(given).write(tmp_path)
    assert json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8")) == given
    again = RunSummary.read(tmp_path)
    again.write(tmp_path / "copy")
    assert (tmp_path / "copy" / SUMMARY).read_bytes() == (tmp_path / SUMMARY).read_bytes()
    assert again.size_change is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "found [], expected keys with values"),
        ('{"seed": "three"}', "seed is 'three', expected a whole number"),
        ('{"results": {"dice": 0.5}}', "results.dice is 0.5, expected keys with values"),
    ],
)
def test_a_faulty_summary_is_refused_with_what_to_do(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / SUMMARY).write_text(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / SUMMARY}: {found}")) as e:
        RunSummary.read(tmp_path)
    assert "Remove the file" in str(e.value)


def test_the_bundle_of_an_inference_is_that_of_the_run_or_the_one_that_is_named(tmp_path: Path) -> None:
    torch.save({}, tmp_path / WEIGHTS)
    (tmp_path / INFERENCE).write_text(json.dumps({"structures": ["liver"], "spacing": [1, 1], "roi_size": [8, 8]}))
    RunSummary(roi=False, bundle=str(BUNDLE_3D)).write(tmp_path)
    assert inference_bundle(tmp_path, None, on_regions="") == BUNDLE_3D
    with pytest.raises(ValueError, match=r"not a bundle with configs/inference\.yaml"):
        inference_bundle(tmp_path, tmp_path, on_regions="")
    RunSummary(roi=False).write(tmp_path)
    assert inference_bundle(tmp_path, BUNDLE_3D, on_regions="") == BUNDLE_3D
    with pytest.raises(ValueError, match=r"found no bundle.* --bundle FOLDER"):
        inference_bundle(tmp_path, None, on_regions="")


def test_a_folder_around_runs_is_refused_with_the_latest_finished_one(tmp_path: Path) -> None:
    fold = tmp_path / "fold_0"
    for second, (network, files) in enumerate(
        {"teacher": (WEIGHTS, INFERENCE, SUMMARY), "unet": (WEIGHTS, INFERENCE, SUMMARY), "stopped": (SUMMARY,)}.items()
    ):
        for name in files:
            file = fold / network / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
            os.utime(file, (second, second))
    with pytest.raises(ValueError, match=rf"not a finished run: .* Did you mean {re.escape(str(fold / 'unet'))}\?$"):
        inference_bundle(tmp_path, None)
